"""The judge behind a server: the real client against one that misbehaves in every way seen in the wild."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judge_server import Cut, Fail, JudgeServer, Raw, Say, Script, Slow

from aki_eval.judges import Budget, Price, make_judge
from aki_eval.judges.judge import ServerJudge
from benchmarks.errors import UserError
from benchmarks.records import JudgeRequest, Verdict

KEY = "sk-proj-averysecretkeythatmustnotleak0123456789"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)  # the client's own back-off, in test time
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.05)


def read_grade(reply: str) -> float | None:
    """MM-Vet's own reading: the first word, within 0..1."""
    found = re.fullmatch(r"[01](\.\d+)?", reply.split(" ")[0].strip())
    return float(found[0]) if found and float(found[0]) <= 1 else None


def read_pair(reply: str) -> tuple[float, float] | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)[ ,]+(\d+(?:\.\d+)?)", reply.split("\n")[0].strip())
    return (float(found[1]), float(found[2])) if found else None


def request(prompt: str = "grade this", kind: str = "mm_vet", **parameters: Any) -> JudgeRequest:
    parse = read_pair if kind == "llava_bench" else read_grade
    parameters = parameters or {"temperature": 0.0, "max_tokens": 3}
    return JudgeRequest(index=prompt, kind=kind, prompt=prompt, parameters=parameters, parse=parse)


def judge_at(server: JudgeServer, cache: Path | None = None, *, model: str = "judge-1", **options: Any) -> ServerJudge:
    judge = make_judge(model, base_url=server.url, cache=cache, **{"timeout": 5.0, **options})
    assert isinstance(judge, ServerJudge)
    return judge


def grade_one(script: Script, *, kind: str = "llava_bench", **options: Any) -> Verdict:
    with JudgeServer(script) as server:
        return judge_at(server, **options).grade([request(kind=kind)])[0]


# One reply, one reading: what comes back becomes a value or an error, never a number that nobody said.


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("8 7\nbecause", (8, 7)),
        ("8, 7", (8, 7)),
        (Say("9 8", model="judge-1-2026"), (9, 8)),
        (Say("8 7", usage=False), (8, 7)),
    ],
)
def test_readable_replies(answer: Any, value: tuple[float, float]) -> None:
    verdict = grade_one(lambda body, nth: answer)
    assert (verdict.value, verdict.error) == (value, None)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("8/10 7/10", "unreadable reply '8/10 7/10'"),
        ("", "unreadable reply ''"),
        (Say(None, finish_reason="length"), r"unreadable reply '': it is not what .* \(finish_reason length\)"),
        (Say(None, refusal="I can't help"), 'unreadable reply "I can\'t help"'),
        (Say("", finish_reason="content_filter"), "finish_reason content_filter"),
        ("I am sorry", "unreadable reply"),
        (Raw(b"<html>proxy error</html>", "text/html"), "not a chat completion"),
        (Raw(b"{broken"), "not a chat completion"),
        (Raw(b'{"choices": []}'), "not a chat completion"),
        (Raw(b'{"object": "something else"}'), "not a chat completion"),
        (Raw(b"[1, 2]"), "not a chat completion"),
        (Fail(400, "content management policy", code="content_filter"), "HTTP 400: .*content management"),
        (Fail(422, "bad"), "HTTP 422"),
    ],
)
def test_unusable_replies_have_no_value(answer: Any, error: str) -> None:
    verdict = grade_one(lambda body, nth: answer)
    assert verdict.value is None
    assert re.search(error, verdict.error or "")


@pytest.mark.parametrize("reply", ["1.5", "-1", "nan", "garbage", "0.5/1"])
def test_mm_vet_out_of_range_after_all_tries(reply: str) -> None:
    verdict = grade_one(lambda body, nth: reply, kind="mm_vet")
    assert (verdict.value, verdict.tries) == (None, 5)


# The client's retries.


@pytest.mark.parametrize(
    "answer", [Fail(429, "slow down"), Fail(500), Fail(503), Fail(409), Fail(408), Cut(), Slow(1.5, "late")]
)
def test_passing_trouble_is_retried(answer: Any) -> None:
    verdict = grade_one(lambda body, nth: "8 7" if nth == 2 else answer, timeout=0.5 if isinstance(answer, Slow) else 5)
    assert verdict.value == (8, 7)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Fail(429, "slow down"), "HTTP 429: .*slow down"), (Fail(500), "HTTP 500"), (Cut(), "connection failed")],
)
def test_lasting_trouble_is_an_error(answer: Any, error: str) -> None:
    verdict = grade_one(lambda body, nth: answer, retries=1)
    assert verdict.value is None
    assert re.search(error, verdict.error or "")


def test_time_out_is_an_error() -> None:
    assert grade_one(lambda body, nth: Slow(1.0), timeout=0.2, retries=1).error == "no reply in time"


def test_retry_after_is_respected() -> None:
    times: list[float] = []

    def script(body: dict[str, Any], nth: int) -> Any:
        times.append(time.monotonic())
        return Fail(429, "slow down", headers={"Retry-After": "1"}) if nth == 0 else "8 7"

    assert grade_one(script).value == (8, 7)
    assert times[1] - times[0] >= 1.0


# The judge protocols.


def test_official_mm_vet_asks_again_in_its_own_way() -> None:
    with JudgeServer(lambda body, nth: "Hm" if len(server.asked) < 4 else "0.4 ") as server:
        verdict = judge_at(server).grade([request(kind="mm_vet_official")])[0]
    assert (verdict.value, verdict.tries) == (0.4, 4)
    assert [body["temperature"] for body in server.asked] == [0.0, 0.0, 0.5, 1.0]
    prompts = [body["messages"][-1]["content"] for body in server.asked]
    assert prompts == ["grade this", *3 * ["grade this\nPredict the correctness of the answer (digit): "]]


def test_kit_mm_vet_raises_the_temperature() -> None:
    with JudgeServer(lambda body, nth: "?") as server:
        judge_at(server).grade([request()])
    assert [body["temperature"] for body in server.asked] == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_llava_is_asked_once_with_its_system_text() -> None:
    asked = JudgeRequest(index="1", kind="llava_bench", prompt="p", system="be helpful", parse=read_pair)
    with JudgeServer(lambda body, nth: "no score") as server:
        assert judge_at(server).grade([asked])[0].value is None
    assert [message["role"] for message in server.asked[0]["messages"]] == ["system", "user"]
    assert len(server.asked) == 1


def test_repeats_are_separate_gradings_in_order() -> None:
    with JudgeServer(lambda body, nth: ["0.1", "0.5", "0.9"][nth]) as server:
        verdicts = judge_at(server, repeats=3, concurrency=1).grade([request("a"), request("b")])
    assert [(v.index, v.repeat, v.value) for v in verdicts] == [
        ("a", 0, 0.1), ("a", 1, 0.5), ("a", 2, 0.9), ("b", 0, 0.1), ("b", 1, 0.5), ("b", 2, 0.9),
    ]  # fmt: skip


def test_slow_answers_under_concurrency_32() -> None:
    requests = [request(f"question {number}") for number in range(64)]
    with JudgeServer(lambda body, nth: Slow(0.2, str(int(body["messages"][0]["content"].split()[1]) % 2))) as server:
        start = time.monotonic()
        verdicts = judge_at(server, concurrency=32).grade(requests)
        elapsed = time.monotonic() - start
    assert [verdict.value for verdict in verdicts] == [float(number % 2) for number in range(64)]
    assert 16 <= server.most_at_once <= 32
    assert elapsed < 0.2 * 64 / 4


# Preflight: told before the first sample is paid for.


def refused(server: JudgeServer, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        judge_at(server, **options).grade([request()])
    assert server.asked == []
    return str(caught.value)


def test_bad_key() -> None:
    with JudgeServer(
        lambda body, nth: "1", probe=lambda body: Fail(401, f"Incorrect API key provided: {KEY}")
    ) as server:
        message = refused(server)
    assert "the key in OPENAI_API_KEY was refused" in message
    assert KEY not in message


def test_unknown_model_names_close_ones() -> None:
    models = [{"id": name, "object": "model", "created": 0, "owned_by": "x"} for name in ("judge-10", "other")]
    with JudgeServer(lambda body, nth: "1", models=models, probe=lambda body: Fail(404, "no such model")) as server:
        assert refused(server) == "the server knows no model 'judge-1' (HTTP 404); it has judge-10"


def test_retired_model() -> None:
    model = {"id": "judge-1", "object": "model", "created": 0, "owned_by": "x", "shutdown_date": "2026-10-23"}
    with JudgeServer(lambda body, nth: "1", models=[model]) as server:
        assert "was shut down on 2026-10-23" in refused(server)
        assert server.probes == []
    with JudgeServer(lambda body, nth: "1", models=[{**model, "shutdown_date": "2126-10-23"}]) as server:
        judge = judge_at(server)
        assert judge.grade([request()])[0].value == 1.0
    assert judge.describe()["shutdown_date"] == "2126-10-23"


@pytest.mark.parametrize(
    "models", [{"data": None}, [1], {"data": [{"id": "judge-1", "shutdown_date": "soon"}]}, Fail(403)]
)
def test_list_of_models_that_cannot_be_read_is_no_obstacle(models: Any) -> None:
    with JudgeServer(lambda body, nth: "1", models=models) as server:
        assert judge_at(server).grade([request()])[0].value == 1.0


def test_retired_model_that_the_server_no_longer_lists() -> None:
    with JudgeServer(lambda body, nth: "1", probe=lambda body: Fail(404, "gone")) as server:
        assert "its shutdown was announced for 2026-10-23" in refused(server, model="gpt-4-0613")


def test_nobody_there() -> None:
    with JudgeServer(lambda body, nth: "1") as server:
        pass
    assert "does not answer: connection failed" in refused(server, retries=0)


def test_other_rejected_parameter_is_named() -> None:
    rejected = Fail(400, "Unknown parameter: 'max_tokens_please'", param="max_tokens_please")
    with JudgeServer(lambda body, nth: "1", probe=lambda body: rejected) as server:
        assert "rejects the parameter 'max_tokens_please'" in refused(server)


def test_no_key_for_openai_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    judge = make_judge("gpt-5-mini")
    assert judge is not None
    with pytest.raises(UserError, match="needs a key in OPENAI_API_KEY"):
        judge.grade([request()])


def reasoning(body: dict[str, Any], nth: int = 0) -> Any:
    """A model that rejects what reasoning models reject."""
    if "max_tokens" in body:
        return Fail(
            400, "Unsupported parameter: 'max_tokens' is not supported with this model.",
            param="max_tokens", code="unsupported_parameter",
        )  # fmt: skip
    if body.get("temperature", 1) != 1:
        return Fail(400, "Unsupported value: 'temperature' does not support 0.0 with this model.", param="temperature")
    return "0.7" if body["max_completion_tokens"] > 1000 else Say("", finish_reason="length")


def test_reasoning_model_is_adapted_to_and_recorded() -> None:
    with JudgeServer(reasoning, probe=reasoning) as server:
        judge = judge_at(server)
        assert [verdict.value for verdict in judge.grade([request("a"), request("b")])] == [0.7, 0.7]
    assert set(judge.describe()["adaptations"]) == {"max_tokens", "temperature"}
    assert len(server.asked) == 2  # the preflight learnt it: no sample was refused


def test_rejected_parameter_without_its_name_in_the_error_field() -> None:
    def script(body: dict[str, Any], nth: int = 0) -> Any:
        return Fail(400, "temperature must be 1 for this model") if "temperature" in body else "0.3"

    with JudgeServer(script, probe=script) as server:
        assert judge_at(server).grade([request()])[0].value == 0.3


def test_parameter_that_stays_rejected_is_not_tried_for_ever() -> None:
    def script(body: dict[str, Any], nth: int = 0) -> Any:
        return Fail(400, "no limits here", param=next(name for name in body if name.startswith("max_")))

    with JudgeServer(script, probe=script) as server:
        assert "rejects the parameter 'max_completion_tokens'" in refused(server)


def test_rejection_in_the_middle_changes_no_other_sample() -> None:
    """A server that takes temperatures up to 1: the fourth and fifth try of an unreadable reply fail, nothing else."""

    def script(body: dict[str, Any], nth: int = 0) -> Any:
        if body["temperature"] > 1:
            return Fail(400, "temperature is at most 1", param="temperature")
        return "?" if body["messages"][-1]["content"] == "bad" else "0.5"

    with JudgeServer(script, probe=script) as server:
        judge = judge_at(server)
        verdicts = judge.grade([request("bad"), request("good")])
    assert [verdict.value for verdict in verdicts] == [None, 0.5]
    assert "temperature is at most 1" in (verdicts[0].error or "")
    assert judge.describe()["adaptations"] == {}


def test_model_that_thinks_within_max_tokens_gets_room() -> None:
    def script(body: dict[str, Any], nth: int = 0) -> Any:
        return "0.3" if body["max_tokens"] > 1000 else Say(None, finish_reason="length")

    with JudgeServer(script, probe=script) as server:
        judge = judge_at(server)
        assert judge.grade([request()])[0].value == 0.3
    assert "token limit raised" in judge.describe()["adaptations"]["room"]


# Trouble in the middle.


@pytest.mark.parametrize(
    "failure", [Fail(401, "revoked"), Fail(403), Fail(404), Fail(429, "quota", code="insufficient_quota")]
)
def test_lost_access_ends_the_asking(failure: Fail) -> None:
    requests = [request(f"question {number}") for number in range(50)]
    with JudgeServer(lambda body, nth: "1" if len(server.asked) <= 10 else failure) as server:
        verdicts = judge_at(server, concurrency=2, retries=0).grade(requests)
    assert [verdict.value for verdict in verdicts].count(1.0) == 10
    assert len(server.asked) <= 13
    assert all("refused an earlier request" in (verdict.error or "") for verdict in verdicts[13:])


def test_dead_server_is_given_up() -> None:
    requests = [request(f"question {number}") for number in range(80)]
    with JudgeServer(lambda body, nth: Fail(500)) as server:
        verdicts = judge_at(server, concurrency=4, retries=0).grade(requests)
    assert {verdict.value for verdict in verdicts} == {None}
    assert len(server.asked) < 30
    assert re.search(r"2\d requests in a row got no reply", verdicts[-1].error or "")


# Nothing is paid twice.


def test_stored_replies_are_not_asked_again(tmp_path: Path) -> None:
    cache = tmp_path / "mm_vet" / "verdicts.jsonl"
    requests = [request("good"), request("unreadable"), request("failing")]

    def script(body: dict[str, Any], nth: int) -> Any:
        prompt = body["messages"][-1]["content"]
        return {"good": "0.5", "unreadable": "?", "failing": Fail(500)}[prompt]

    with JudgeServer(script) as server:
        first = judge_at(server, cache, retries=0).grade(requests)
        asked = len(server.asked)
        again = judge_at(server, cache, retries=0).grade(requests)
        assert [verdict.value for verdict in again] == [verdict.value for verdict in first] == [0.5, None, None]
        assert [body["messages"][0]["content"] for body in server.asked[asked:]] == ["failing"]
    assert [verdict.cached for verdict in again] == [True, True, False]


def test_key_of_the_cache(tmp_path: Path) -> None:
    """Another judge, prompt, parameter or repeat is another question; nothing else is."""
    cache = tmp_path / "verdicts.jsonl"
    with JudgeServer(lambda body, nth: "1") as server:
        for model, asked, repeats in [
            ("judge-1", request("a"), 1),
            ("judge-2", request("a"), 1),
            ("judge-1", request("b"), 1),
            ("judge-1", request("a", kind="llava_bench", max_tokens=9), 1),
            ("judge-1", request("a"), 2),
        ]:
            for _ in range(2):
                judge_at(server, cache, model=model, repeats=repeats).grade([asked])
        assert len(server.asked) == 5


def test_same_words_are_paid_once(tmp_path: Path) -> None:
    """As when an extractor is asked about the same answer to the same question of many pictures."""
    requests = [replace(request("same"), index=str(number)) for number in range(9)] + [request("other")]
    with JudgeServer(lambda body, nth: Slow(0.05, f"0.{nth + 1}")) as server:
        verdicts = judge_at(server, tmp_path / "v.jsonl", repeats=2).grade(requests)
    assert len(server.asked) == 4
    assert [(v.index, v.repeat) for v in verdicts] == [(r.index, repeat) for r in requests for repeat in (0, 1)]
    assert len({(v.repeat, v.value) for v in verdicts[:18]}) == 2
    with JudgeServer(lambda body, nth: Fail(500)) as server:
        verdicts = judge_at(server, retries=0).grade(requests)
    assert [(v.index, v.value) for v in verdicts] == [(r.index, None) for r in requests]


KILLED = """
import os, re, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_judge_openai import request
from aki_eval.judges import make_judge
judge = make_judge("judge-1", base_url={url!r}, cache=Path({cache!r}), concurrency=4, timeout=5)
judge.grade([request("question %d" % number) for number in range(60)])
"""


def test_nothing_is_paid_twice_after_sigkill(tmp_path: Path) -> None:
    cache = tmp_path / "verdicts.jsonl"
    with JudgeServer(lambda body, nth: Slow(0.05, "1")) as server:
        code = KILLED.format(tests=str(Path(__file__).parent), url=server.url, cache=str(cache))
        process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
        deadline = time.monotonic() + 60
        while len(server.delivered) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.2)  # requests in flight end at the server
        stored = {line["index"] for line in map(json.loads, cache.read_text().splitlines())}
        assert len(stored) >= 16
        assert len(set(server.delivered) - stored) <= 4  # at most what was in flight
        before = len(server.asked)
        verdicts = judge_at(server, cache).grade([request(f"question {number}") for number in range(60)])
        asked_again = {body["messages"][0]["content"] for body in server.asked[before:]}
    assert [verdict.value for verdict in verdicts] == [1.0] * 60
    assert not asked_again & stored
    assert len(cache.read_text().splitlines()) == 60


# Money.


def test_tokens_and_dollars_are_counted(tmp_path: Path) -> None:
    with JudgeServer(lambda body, nth: "?" if nth == 0 else "1") as server:
        judge = judge_at(server, tmp_path / "v.jsonl", price=Price(1e6, 2e6))  # a dollar a word, two for the reply's
        verdict = judge.grade([request("two words")])[0]
    assert (verdict.input_tokens, verdict.output_tokens, verdict.cost_usd) == (4, 2, 8.0)
    probe = 8 + 2  # the preflight's eight words and its digit
    assert judge.describe()["cost_usd"] == 8.0 + probe
    assert judge.describe()["requests_paid"] == 3


def test_budget_is_never_overdrawn() -> None:
    requests = [request(f"question {number}", temperature=0.0, max_tokens=8) for number in range(200)]
    with JudgeServer(lambda body, nth: Slow(0.01, "1 indeed")) as server:
        judge = judge_at(server, price=Price(10, 10_000), budget=2.0, concurrency=32)
        verdicts = judge.grade(requests)
    values = [verdict.value for verdict in verdicts]
    assert 0 < values.count(1.0) < 200
    assert values.count(None) == 200 - values.count(1.0)
    assert judge.budget.spent <= 2.0
    assert judge.budget.spent > 1.9  # reservations are given back: what the limit allows is used
    assert {v.error for v in verdicts if v.value is None} == {"the judge's budget of $2 is spent"}


def test_budget_of_nothing_pays_nothing() -> None:
    with JudgeServer(lambda body, nth: "1") as server:
        verdict = judge_at(server, price=Price(1, 1), budget=0.0).grade([request()])[0]
        assert verdict.error == "the judge's budget of $0 is spent"
        assert server.probes == server.asked == []


def test_budget_shared_by_two_judges() -> None:
    budget = Budget(limit=0.075)
    with JudgeServer(lambda body, nth: "1") as server:
        judges = [judge_at(server, price=Price(0, 10_000), budget=budget) for _ in range(2)]
        first, second = ([v.value for v in judge.grade([request("a"), request("b")])] for judge in judges)
    assert first == [1.0, 1.0]
    assert second == [1.0, None]


def test_budget_without_a_price_is_refused() -> None:
    with pytest.raises(UserError, match=r"a budget needs a price.*--judge-price"):
        make_judge("some-model", base_url="http://127.0.0.1:9/v1", budget=1.0)
    assert make_judge("gpt-5-mini", budget=1.0) is not None
    assert make_judge("gpt-5-mini-2025-08-07", budget=1.0) is not None
    for text in ("1", "1/x", "-1/2", "nan/1"):
        with pytest.raises(UserError, match="judge's price"):
            Price.parse(text)
    assert Price.parse("0.15/0.6") == Price(0.15, 0.6)


# Replay.


def test_replay_needs_neither_server_nor_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "verdicts.jsonl"
    with JudgeServer(lambda body, nth: "0.2") as server:
        paid = judge_at(server, cache).grade([request("a")])
    monkeypatch.delenv("OPENAI_API_KEY")
    replay = make_judge("replay", cache=cache)
    assert replay is not None
    verdicts = replay.grade([request("a"), request("never asked")])
    assert [verdict.value for verdict in verdicts] == [0.2, None]
    assert verdicts[1].error == "no stored verdict for this answer"
    assert replay.name == paid[0].judge
    with pytest.raises(UserError, match="another run's answers"):
        replay.grade([request("of another run")])


def test_replay_of_nothing_judges_nothing(tmp_path: Path) -> None:
    """`--judge replay` over all tasks: those that never needed a judge have no verdicts and need none now."""
    replay = make_judge("replay", cache=tmp_path / "verdicts.jsonl")
    assert replay is not None
    assert replay.grade([]) == []
    verdict = replay.grade([request("a")])[0]
    assert verdict.value is None
    assert "no stored verdicts" in (verdict.error or "")


def test_replay_of_several_judges_needs_a_name(tmp_path: Path) -> None:
    cache = tmp_path / "verdicts.jsonl"
    with JudgeServer(lambda body, nth: "0.2") as server:
        for model in ("judge-1", "judge-2"):
            judge_at(server, cache, model=model).grade([request("a")])
        address = server.url.split("/")[2]
    with pytest.raises(UserError, match=f"judge-1 at {address}, judge-2 at {address}"):
        make_judge("replay", cache=cache)
    chosen = make_judge(f"replay:judge-2 at {address}", cache=cache)
    assert chosen is not None
    assert chosen.grade([request("a")])[0].value == 0.2


# The key is nowhere.


def test_key_leaves_no_trace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    answers: list[Any] = [
        KEY, Fail(400, f"your key {KEY}"), Raw(f"<b>{KEY}</b>".encode(), "text/html"), Fail(401, f"bad key {KEY}"),
    ]  # fmt: skip
    texts: list[str] = []
    for number, answer in enumerate(answers):
        cache = tmp_path / str(number) / "verdicts.jsonl"
        with JudgeServer(lambda body, nth, answer=answer: answer) as server:
            judge = judge_at(server, cache, retries=0)
            texts += [repr(judge.grade([request()])), repr(judge.describe()), cache.read_text()]
            assert server.authorizations == {f"Bearer {KEY}"}
        with JudgeServer(lambda body, nth: "1", probe=lambda body, answer=answer: answer) as server:
            try:
                judge_at(server, cache, retries=0).grade([request()])
            except UserError as error:
                texts += [repr(error), repr(error.__cause__), str(error.__suppress_context__)]
    out, err = capfd.readouterr()
    for text in (*texts, out, err, caplog.text):
        assert KEY not in text
        assert KEY[8:] not in text


def test_record_says_whether_the_judge_is_the_published_numbers_one() -> None:
    def published(name: str, base_url: str | None = None) -> object:
        judge = make_judge(name, base_url=base_url)
        assert isinstance(judge, ServerJudge)
        return judge.describe()["judge_of_published_numbers"]

    assert all(published(name) for name in ("gpt-4", "gpt-4-0613", "gpt-4-1106-preview", "gpt-4-turbo-2024-04-09"))
    assert not any(published(name) for name in ("gpt-4o", "gpt-4.1", "gpt-5", "qwen2.5-72b"))
    assert not published("gpt-4-0613", "http://127.0.0.1:9/v1")


def test_spread_of_repeats() -> None:
    with JudgeServer(lambda body, nth: ["0.2", "0.4"][nth]) as server:
        judge = judge_at(server, repeats=2, concurrency=1)
        judge.grade([request("a"), request("b")])
    assert judge.describe()["spread"] == {
        "mm_vet": {"scores": pytest.approx([20, 40]), "sd": pytest.approx(10), "num_samples": 2}
    }

    def script(body: dict[str, Any], nth: int) -> str:
        return ["8 4", "10 10"][nth] if body["messages"][0]["content"] == "a" else "unreadable"

    with JudgeServer(script) as server:
        judge = judge_at(server, repeats=2, concurrency=1)
        judge.grade([request("a", kind="llava_bench"), request("b", kind="llava_bench")])
    assert judge.describe()["spread"]["llava_bench"]["scores"] == pytest.approx([50, 100])
    assert judge.describe()["spread"]["llava_bench"]["num_samples"] == 1  # b could not be read


def test_secrets_in_the_servers_address_stay_out(tmp_path: Path) -> None:
    cache = tmp_path / "verdicts.jsonl"
    with JudgeServer(lambda body, nth: "1") as server:
        address = server.url.replace("http://", "http://me:hidden@")
        judge = make_judge("judge-1", base_url=address, cache=cache)
        assert isinstance(judge, ServerJudge)
        verdict = judge.grade([request()])[0]
    assert "hidden" not in cache.read_text() + repr(judge.describe()) + repr(verdict)
    with pytest.raises(UserError, match="expected one like http://localhost"):
        make_judge("judge-1", base_url="localhost:8000")
