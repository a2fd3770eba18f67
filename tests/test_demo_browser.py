"""`aki-demo` in a real browser: a question asked, an answer seen, masks switched, and what it refuses. One server."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("gradio") is None:
    pytest.skip("needs Gradio (make install)", allow_module_level=True)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs Chromium and chromedriver (Debian: apt-get install chromium chromium-driver)",
)
START = "import sys; from aki_entry import main_demo; sys.exit(main_demo())"
PAINTED = "document.querySelector('#left .token')"
ASKED = "document.querySelector('#question textarea').value"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address, and the folder in which the demo keeps its files. Ends by Ctrl-C, with code 0 and nothing left."""
    scratch = tmp_path_factory.mktemp("scratch")
    options = ["--port", "0", "--max-megabytes", "1", "--max-megapixels", "2", "--max-new-tokens", "24"]
    process = subprocess.Popen(
        [sys.executable, "-c", START, *options],
        env=os.environ | {"TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"},
        cwd=scratch,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().partition(" ")[0]
    try:
        assert address.startswith("http://127.0.0.1:"), process.stderr and process.stderr.read()
        yield address, next(scratch.glob("aki-demo-*"))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert (process.returncode, err) == (0, "")
    assert list(scratch.glob("aki-demo-*")) == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1440,900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


def wait(browser: Any, script: str) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 30, poll_frequency=0.1).until(
        lambda driver: driver.execute_script(f"return {script}")
    )


def told(browser: Any, place: str) -> str:
    return str(browser.execute_script(f"return document.querySelector('{place}')?.innerText || ''"))


def choose(browser: Any, place: str, title: str) -> None:
    browser.execute_script("window.scrollTo(0, 0)")
    browser.find_element("css selector", f"{place} input").click()
    options = "Array.from(document.querySelectorAll('[role=option]'))"
    wait(browser, f"{options}.find(each => each.innerText.includes({json.dumps(title)}))").click()


def open_page(browser: Any, address: str) -> None:
    browser.get(address)
    wait(browser, "document.querySelectorAll('#examples tbody tr').length === 4")


def ask_example(browser: Any, number: int) -> None:
    row = f"document.querySelectorAll('#examples tbody tr')[{number}]"
    question = wait(browser, f"{row}.innerText.trim()")
    script = (
        f"(document.querySelector('#question textarea').value === {json.dumps(question)}) || ({row}.click(), false)"
    )
    wait(browser, script)
    wait(browser, "document.querySelector('#picture img')?.naturalWidth")
    browser.find_element("css selector", "#ask").click()


def test_a_question_is_answered_and_masks_are_set_side_by_side(server: tuple[str, Path], browser: Any) -> None:
    address, _ = server
    open_page(browser, address)
    assert "toy_model" in told(browser, "h1 ~ *, .prose")
    ask_example(browser, 0)
    wait(browser, "document.querySelectorAll('#word input').length")
    chat = told(browser, "#chat-left")
    assert "[picture] what color is the triangle?" in chat
    assert "the triangle is cyan." in chat
    assert "cyan" in told(browser, "#tokens-left")
    assert "%" in told(browser, "#tokens-left")
    assert told(browser, "#chat-right") == ""

    choose(browser, "#other", "causal (Eq. 2)")
    wait(browser, "document.querySelectorAll('#tokens-right .token').length > 3")
    wait(browser, "document.querySelectorAll('.map-from img').length === 2")
    assert "causal (Eq. 2)" in told(browser, "#right")
    assert "the triangle is" in told(browser, "#chat-right")
    assert told(browser, "#tokens-left") != told(browser, "#tokens-right")
    labels = "Array.from(document.querySelectorAll('.map-from')).map(each => each.innerText)"
    left, right = browser.execute_script(f"return {labels}")
    assert "0 %, it cannot see the word" in right
    assert "of the image tokens' attention" in left
    pictures = "Array.from(document.querySelectorAll('.map-from img')).map(each => each.src).join()"
    before = browser.execute_script(f"return {pictures}")
    wait(  # clicked until it holds: an answer that is still being drawn puts back the word it began with
        browser,
        f"({pictures} !== {json.dumps(before)} && {labels}.every(each => each.includes('“what”')))"
        " || (document.querySelector('#word label').click(), false)",
    )

    choose(browser, "#kind", "prefix-LM")
    wait(browser, "document.querySelector('#left').innerText.includes('prefix-LM')")


def test_turns_follow_each_other_and_are_forgotten(server: tuple[str, Path], browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page(browser, server[0])
    ask_example(browser, 1)
    wait(browser, PAINTED)
    box = browser.find_element("css selector", "#question textarea")
    wait(browser, f"{ASKED} === ''")
    box.send_keys("<b>is</b> it large?", Keys.ENTER)
    wait(browser, "document.querySelector('#chat-left').innerText.includes('<b>is</b> it large?')")
    wait(browser, "document.querySelectorAll('#word input').length === 3")
    assert told(browser, "#chat-left").count("[picture]") == 1
    assert browser.find_elements("css selector", "#chat-left b") == []
    browser.find_element("css selector", "#anew").click()
    wait(browser, f"!document.querySelector('#chat-left').innerText.includes('large') && !{PAINTED}")


def test_a_picture_beyond_the_limits_is_refused_in_words(
    server: tuple[str, Path], browser: Any, tmp_path: Path
) -> None:
    from PIL import Image

    open_page(browser, server[0])
    Image.new("1", (2000, 1001)).save(tmp_path / "wide.png")
    browser.find_element("css selector", "#picture input[type=file]").send_keys(str(tmp_path / "wide.png"))
    wait(browser, "document.querySelector('#picture img')?.naturalWidth")
    browser.find_element("css selector", "#question textarea").send_keys("what is it?")
    browser.find_element("css selector", "#ask").click()
    wait(browser, "document.body.innerText.includes('2000 x 1001 pixels, more than 2 million')")
    assert "what is it?" not in told(browser, "#chat-left")
    open_page(browser, server[0])
    (tmp_path / "heavy.png").write_bytes(os.urandom(2**20 + 2**17))
    browser.get_log("browser")
    browser.find_element("css selector", "#picture input[type=file]").send_keys(str(tmp_path / "heavy.png"))
    wait(browser, "/too large|exceed|maximum|larger/i.test(document.body.innerText)")


def test_nothing_comes_from_elsewhere(server: tuple[str, Path], browser: Any) -> None:
    browser.get_log("browser")
    open_page(browser, server[0])
    names = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert len(names) > 20
    assert [name for name in names if not name.startswith((server[0], "data:", "blob:"))] == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def request(address: str, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    place = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    connection.request(method, path, body or None, {"Host": place.netloc} | headers)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_files_outside_are_out_of_reach(server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = server
    (folder.parent / "secret.txt").write_text("secret")
    inside = next(folder.glob("scene_0.png"))
    assert request(address, "GET", f"/gradio_api/file={inside}")[0] == 200
    for path in (
        f"/gradio_api/file={folder}/../secret.txt",
        f"/gradio_api/file={folder}/%2e%2e/secret.txt",
        f"/gradio_api/file={folder}/..%2fsecret.txt",
        f"/gradio_api/file={folder.parent}/secret.txt",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=http://127.0.0.1/",
        "/assets/../../../../../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/__init__.py",
    ):
        status, content = request(address, "GET", path)
        assert status in (403, 404), path
        assert b"secret" not in content
        assert b"root:" not in content
    config = json.loads(request(address, "GET", "/config")[1])
    asked = {"data": [None, {"path": str(folder.parent / "secret.txt"), "meta": {"_type": "gradio.FileData"}}, "q"]}
    body = json.dumps(asked | {"fn_index": 0, "session_hash": "x"}).encode()
    assert request(address, "POST", "/gradio_api/queue/join", body, **{"Content-Type": "application/json"})[0] == 403
    assert str(Path(__file__).resolve().parents[1]) not in json.dumps(config)
    assert request(address, "GET", "/", Host="evil.example")[0] == 403
