"""The live view: partial numbers that say so, of a run that is going on, in a real browser; and who may see it."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from run_helpers import ScriptedPredictor

from aki_eval.live import LiveRun
from aki_eval.predictors import Generation
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from benchmarks.errors import UserError
from benchmarks.records import Prompt
from benchmarks.results.jsonl import to_line
from benchmarks.tasks import TASKS
from reports.asked import in_short
from reports.serving import Answer, make_server
from reports.visitors import new_token

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
NUM_FIRST = 40


class Halting(ScriptedPredictor):
    """Answers the first samples, then waits until the test lets it end; the run goes on all the while."""

    def __init__(self) -> None:
        super().__init__(lambda prompt: HOSTILE if prompt.index.endswith("/0") else "A")
        self.answered, self.go_on = threading.Event(), threading.Event()
        self.number = 0

    def predict(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Generation]:
        if self.number >= NUM_FIRST:
            self.answered.set()
            self.go_on.wait(120)
            raise KeyboardInterrupt
        self.number += len(prompts)
        return super().predict(prompts, max_new_tokens)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """A run of CV-Bench's toy table that has answered some and goes on."""
    predictor = Halting()
    options = RunOptions(tasks=[TASKS["cv_bench"]], data="toy", out=tmp_path / "run", batch_size=4)

    def work() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            run(options, predictor, Progress(quiet=True))

    thread = threading.Thread(target=work)
    thread.start()
    assert predictor.answered.wait(120)
    yield options.out
    predictor.go_on.set()
    thread.join(60)


def state_of(live: LiveRun) -> dict[str, Any]:
    answer = live.answer("live/state.js")
    assert answer is not None
    found = re.fullmatch(r'AKI\.receive\("live/state",(.*)\);\n', answer.content.decode("ascii"))
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


def test_what_is_answered_so_far_is_counted_scored_and_called_partial(running: Path) -> None:
    live = LiveRun(running)
    before = sorted(path.name for path in running.rglob("*"))
    live.look()
    (task,) = state_of(live)["tasks"]
    assert task["done"] >= NUM_FIRST
    assert task["total"] == 450
    assert (task["partial"], task["behind"], task["judged"]) == (True, task["done"], False)
    answered = [json.loads(line) for file in running.glob("cv_bench/*.jsonl") for line in file.read_text().splitlines()]
    (value,) = (each for each in task["values"] if each["metric"] == "2d")
    assert value["num_scored"] == sum(each["index"].startswith("CV-Bench-2D/") for each in answered)
    known = [each for each in task["values"] if each["ci95"]]
    assert known
    assert all(each["ci95"][0] <= each["value"] <= each["ci95"][1] for each in known)
    last = state_of(live)["last"]
    assert last[0]["id"] == answered[-1]["index"]
    assert last[0]["question"] in " ".join(answered[-1]["prompt"].split())
    assert sorted(path.name for path in running.rglob("*")) == before


def test_a_question_is_told_without_what_all_prompts_begin_with() -> None:
    start = "<s><|system|>\nA chat with an assistant. It gives polite answers.<|end|>\n<|user|>\n<image>\n"
    prompts = {str(number): f"{start}is the number {number} shown?<|end|>\n<|assistant|>\n" for number in range(4)}
    assert in_short(prompts) == {str(number): f"is the number {number} shown?" for number in range(4)}


def test_new_answers_are_seen_at_the_next_look(running: Path) -> None:
    live = LiveRun(running)
    live.look()
    before = state_of(live)["tasks"][0]["done"]
    (file,) = running.glob("cv_bench/predictions*.jsonl")
    line = json.loads(file.read_text().splitlines()[0])
    with file.open("a") as appended:
        appended.write(to_line({**line, "index": "CV-Bench-3D/7", "prediction": "B"}) + '{"index": "torn')
    time.sleep(0.05)
    live.look()
    (task,) = state_of(live)["tasks"]
    assert (task["done"], state_of(live)["last"][0]["id"]) == (before + 1, "CV-Bench-3D/7")
    assert task["rate"] is not None


def test_a_folder_without_a_run_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run folder yet: it has no run\.json; begin the run"):
        LiveRun(tmp_path)


@pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs Chromium and chromedriver (Debian: apt-get install chromium chromium-driver)",
)
def test_a_browser_sees_the_run_and_its_answers_as_text(running: Path, tmp_path: Path) -> None:
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    live = LiveRun(running)
    folder = live.write_page(tmp_path / "page")
    live.start()
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    with make_server(folder, 0, answers=live.answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
        try:
            browser.get(f"http://127.0.0.1:{server.server_port}/index.html")
            see = WebDriverWait(browser, 60).until
            see(lambda driver: "partial, n" in driver.find_element("id", "tasks").text)
            row = browser.find_element("css selector", "#tasks tr.working").text
            assert "CV-Bench" in row
            assert "of 450" in row
            assert "of 450 answered" in browser.find_element("id", "status").text
            texts = browser.execute_script(
                "return [...document.querySelectorAll('#last .said')].map(e => e.textContent)"
            )
            assert "A" in texts
            assert browser.execute_script("return window.hacked") is None
            (file,) = running.glob("cv_bench/predictions*.jsonl")
            line = json.loads(file.read_text().splitlines()[0])
            with file.open("a") as appended:
                appended.write(to_line({**line, "index": "CV-Bench-3D/9", "prediction": HOSTILE}))
            see(lambda driver: "CV-Bench-3D/9" in driver.find_element("id", "last").text)
            assert HOSTILE in browser.find_element("id", "last").text
            assert browser.execute_script("return window.hacked") is None
        finally:
            browser.quit()
            server.shutdown()


# Who may see it.


def ask(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def test_a_report_for_others_asks_for_its_token(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("the report")
    token = new_token()

    def answers(address: str) -> Answer | None:
        return Answer(b"made", "text/plain") if address == "live/state.js" else None

    with make_server(tmp_path, 0, token=token, answers=answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        port = server.server_port
        for headers in ({}, {"Cookie": "aki-token=wrong"}, {"Cookie": "\x00;;="}, {"Host": "127.0.0.1"}):
            assert ask(port, "/index.html", **headers)[0] == 403
            assert ask(port, "/live/state.js", **headers)[0] == 403
        assert ask(port, "/index.html?token=wrong")[0] == 403
        status, found, _ = ask(port, f"/index.html?token={token}")
        assert (status, found["Location"]) == (303, "/index.html")
        assert "HttpOnly; SameSite=Strict" in found["Set-Cookie"]
        cookie = found["Set-Cookie"].partition(";")[0]
        assert ask(port, "/index.html", Cookie=cookie)[2] == b"the report"
        assert ask(port, "/live/state.js", Cookie=cookie)[2] == b"made"
        foreign = {"Cookie": cookie, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        assert ask(port, "/live/state.js", **foreign)[0] != 200
        server.shutdown()


def test_made_answers_are_for_this_machine_only_as_files_are(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("the report")
    with make_server(tmp_path, 0, answers=lambda address: Answer(b"made", "text/plain")) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        assert ask(server.server_port, "/x")[2] == b"made"
        assert ask(server.server_port, "/x", Host="evil.example")[0] == 403
        server.shutdown()


def test_nobody_is_served_elsewhere_without_a_token(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="has a token"):
        make_server(tmp_path, 0, host="0.0.0.0")
