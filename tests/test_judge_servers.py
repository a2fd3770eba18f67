"""Judges and models at servers as the world has them: addresses, redirections, dialects, secrets, and servers that do
harm. Everything goes through the real client to a server on this machine.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from judge_server import Drip, Fail, Flood, JudgeServer, Raw, Say, Script

from aki_eval.chat.address import OPENAI, find_address
from aki_eval.chat.completion import read_completion
from aki_eval.judges import JudgeOptions, make_judge
from aki_eval.judges.judge import ServerJudge
from benchmarks.errors import UserError
from benchmarks.judged import Unreadable
from benchmarks.records import JudgeRequest, Verdict
from benchmarks.redaction import redact, redact_command
from benchmarks.tasks.mm_vet import parse_grade

KEY = "sk-proj-averysecretkeythatmustnotleak0123456789"
CLEARED = ("OPENAI_BASE_URL", "OPENAI_API_BASE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*CLEARED, "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.05)


def request(prompt: str = "grade this", kind: str = "mm_vet", system: str | None = None, **wished: Any) -> JudgeRequest:
    wished = wished or {"temperature": 0.0, "max_tokens": 3}
    return JudgeRequest(index=prompt, kind=kind, prompt=prompt, system=system, parameters=wished, parse=parse_grade)


def judge_at(url: str | None, model: str = "judge-1", cache: Path | None = None, **options: Any) -> ServerJudge:
    judge = make_judge(model, base_url=url, cache=cache, **{"timeout": 5.0, "retries": 0, **options})
    assert isinstance(judge, ServerJudge)
    return judge


def grade(script: Script, *, asked: JudgeRequest | None = None, **options: Any) -> tuple[Verdict, ServerJudge]:
    with JudgeServer(script, probe=lambda body: script(body, 0)) as server:
        judge = judge_at(server.url, **options)
        return judge.grade([asked or request()])[0], judge


def refused(server: JudgeServer, url: str | None = None, **options: Any) -> str:
    """What is said before anything is predicted or graded."""
    with pytest.raises(UserError) as caught:
        JudgeOptions(name="judge-1", base_url=url or server.url, **options).check_ahead()
    assert server.asked == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Addresses, and who is named as the judge.


@pytest.mark.parametrize("tail", ["", "/", "/chat/completions", "/chat/completions/"])
def test_any_way_to_write_an_address_is_one_server(tail: str) -> None:
    with JudgeServer(lambda body, nth: "1") as server:
        judge = judge_at(server.url + tail)
        assert judge.grade([request()])[0].value == 1.0
    assert judge.describe()["server"] == server.url


def test_address_without_a_path(capsys: pytest.CaptureFixture[str]) -> None:
    with JudgeServer(lambda body, nth: "1") as server:
        assert judge_at(server.url.removesuffix("/v1")).grade([request()])[0].value == 1.0
    with JudgeServer(lambda body, nth: "1", root="") as server:
        judge = judge_at(server.url)
        assert judge.grade([request()])[0].value == 1.0
        assert judge.describe()["adaptations"] == {"path": "asked under /"}
    assert "asked under /" in capsys.readouterr().err
    with JudgeServer(lambda body, nth: "1", root="/api/v1") as server:
        assert judge_at(server.url.removesuffix("/v1")).grade([request()])[0].value == 1.0


def test_address_where_nobody_chats() -> None:
    with JudgeServer(lambda body, nth: "1", root="/elsewhere") as server:
        url = server.url.replace("/elsewhere", "/v1")
        message = refused(server, url)
    assert "nothing answers chat completions" in message
    assert f"{url}, from --judge-base-url" in message
    with JudgeServer(lambda body, nth: "1", probe=lambda body: Raw(b"<html>Web UI</html>", "text/html")) as server:
        assert "answers with not a chat completion: '<html>Web UI" in refused(server)


@pytest.mark.parametrize("name", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
def test_redirection_by_the_environment_is_recorded(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache = tmp_path / "verdicts.jsonl"
    with JudgeServer(lambda body, nth: "1") as server:
        monkeypatch.setenv(name, server.url + ("/chat/completions" if name == "OPENAI_API_BASE" else ""))
        judge = judge_at(None, "gpt-4-0613", cache)
        assert judge.grade([request()])[0].judge == f"gpt-4-0613 at {server.url.split('/')[2]}"
        record = judge.describe()
    assert (record["server"], record["server_given_by"]) == (server.url, name)
    assert not record["judge_of_published_numbers"]
    assert record["cost_usd"] is None  # OpenAI's prices are not this server's
    assert json.loads(cache.read_text())["server"] == server.url


def test_addresses_and_whose_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_address(None, "--x").server is None
    assert find_address(OPENAI + "/chat/completions", "--x").server is None
    assert find_address("https://eu.api.openai.com/v1", "--x").is_openai
    assert not find_address("http://api.openai.com/v1", "--x").is_openai  # without TLS anybody may answer
    assert not find_address("https://api.openai.com.evil.org/v1", "--x").is_openai
    monkeypatch.setenv("OPENAI_BASE_URL", "http://a/v1")
    monkeypatch.setenv("OPENAI_API_BASE", "http://b/v1/chat/completions")
    with pytest.raises(UserError, match=r"names http://a/v1 and .* http://b/v1; say which is meant with --x"):
        find_address(None, "--x")
    for text in ("localhost", "ftp://x/v1", "http://", "http://x:y/v1", "http://[::1/v1", "http://a b/v1", ""):
        with pytest.raises(UserError, match="expected one like http://localhost:8000/v1"):
            find_address(text, "--x")


def test_redirect_is_not_followed() -> None:
    onwards = Fail(307, headers={"Location": "http://elsewhere:1/v1/chat/completions"})
    with JudgeServer(lambda body, nth: "1", probe=lambda body: onwards) as server:
        assert "sends its callers on to http://elsewhere:1/v1/chat/completions; give that" in refused(server)


def test_misspelt_model() -> None:
    for status in (400, 404, 422):
        rejected = Fail(status, "Invalid model name")
        with JudgeServer(
            lambda body, nth: "1", models=[{"id": "judge-10"}], probe=lambda body, r=rejected: r
        ) as server:
            assert f"knows no model 'judge-1' (HTTP {status}); it has judge-10" in refused(server)


def test_model_that_answers_under_another_name_is_noted() -> None:
    with JudgeServer(lambda body, nth: Say("1", model="qwen"), models=[{"id": "qwen"}]) as server:
        server.probe = lambda body: Say("1", model="qwen")
        judge = judge_at(server.url, "gpt-4")
        judge.grade([request()])
    assert judge.describe()["models_answered"] == ["qwen"]
    assert judge.describe()["adaptations"]["model"] == "not among the server's models; qwen answered"


# Keys and proxies.


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OPENAI_API_KEY", "sk-schlüssel", "OPENAI_API_KEY cannot be sent: its character 8"),
        ("OPENAI_ORG_ID", "firma-ä", "OPENAI_ORG_ID cannot be sent"),
        (
            "ALL_PROXY",
            "socks5://user:hidden@127.0.0.1:9",
            r"proxy socks5://\[key\]@127.0.0.1:9 \(ALL_PROXY\) needs",
        ),
        ("HTTP_PROXY", "gopher://x", "cannot be used"),
        ("HTTP_PROXY", "http://:80", "cannot be used"),
    ],
)
def test_environment_that_cannot_be_used(name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(UserError, match=said) as caught:
        JudgeOptions(name="j", base_url="http://127.0.0.1:9/v1").check_ahead()
    assert "hidden" not in str(caught.value)


def test_proxy_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:hidden@proxy:3128")
    assert judge_at("http://far/v1").describe()["proxy"] == "http://[key]@proxy:3128"
    monkeypatch.setenv("no_proxy", "far")
    assert judge_at("http://far/v1").describe()["proxy"] is None


# Dialects.


def without_temperature(body: dict[str, Any], nth: int) -> Any:
    detail = {"detail": [{"type": "extra_forbidden", "loc": ["body", "temperature"], "msg": "Extra inputs"}]}
    return Raw(json.dumps(detail).encode(), status=422) if "temperature" in body else "1"


def limit_required(body: dict[str, Any], nth: int) -> Any:
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: Field required"}}
    return "1" if "max_tokens" in body else Raw(json.dumps(error).encode(), status=400)


def no_system_role(body: dict[str, Any], nth: int) -> Any:
    roles = [message["role"] for message in body["messages"]]
    return Fail(400, "System role not supported") if "system" in roles else "1"


def test_servers_of_other_dialects_are_adapted_to() -> None:
    verdict, judge = grade(without_temperature)
    assert (verdict.value, judge.describe()["adaptations"]) == (1.0, {"temperature": "left out"})
    verdict, judge = grade(limit_required, asked=request(temperature=0.2))
    assert (verdict.value, set(judge.describe()["adaptations"])) == (1.0, {"limit"})
    verdict, judge = grade(no_system_role, asked=request(system="be fair"))
    assert (verdict.value, set(judge.describe()["adaptations"])) == (1.0, {"system"})


def test_azure_gets_its_header_and_its_version() -> None:
    address = find_address("https://me.openai.azure.com/openai/deployments/x?api-version=2024-06-01", "--x")
    assert address.is_azure
    assert address.query == {"api-version": "2024-06-01"}
    assert address.shown == "https://me.openai.azure.com/openai/deployments/x"


def test_content_in_parts() -> None:
    parts = [{"type": "thinking", "thinking": [{"text": "0.3?"}]}, {"type": "text", "text": "0.5"}]
    assert grade(lambda body, nth: Say(parts))[0].value == 0.5
    assert grade(lambda body, nth: Say(0.5))[0].value == 0.5
    with JudgeServer(lambda body, nth: Say({"a": 1})) as server:
        verdict = judge_at(server.url).grade([request()])[0]
    assert (verdict.value, verdict.raw) == (None, None)
    assert "an answer that is no text" in (verdict.error or "")


def thinking_inline(body: dict[str, Any], nth: int) -> Any:
    if body.get("max_tokens", 0) < 1000:
        return Say("<think>\nOkay, the", finish_reason="length")
    return Say("<think>\nOkay, the user wants 1.\n</think>\n\n1")


def test_judge_that_thinks_inline_gets_room() -> None:
    verdict, judge = grade(thinking_inline)
    assert (verdict.value, verdict.tries) == (1.0, 1)
    assert "it thinks before it answers" in judge.describe()["adaptations"]["room"]


def test_judge_that_never_ends_its_thought_is_stopped_ahead() -> None:
    endless = Say("<think>\nOkay, the", finish_reason="length")
    with JudgeServer(lambda body, nth: endless, probe=lambda body: endless) as server:
        assert "has only thought, and not answered" in refused(server)


def test_judge_that_cannot_be_read_is_given_up() -> None:
    requests = [request(f"question {number}", kind="once") for number in range(80)]
    with JudgeServer(lambda body, nth: "I would rather not say.") as server:
        verdicts = judge_at(server.url, concurrency=2).grade(requests)
        assert len(server.asked) < 25
    assert "unreadable reply 'I would rather not say.': no line is a grade" in (verdicts[0].error or "")
    assert "20 samples in a row could not be read" in (verdicts[-1].error or "")


# Servers that do harm.


@pytest.mark.parametrize("answer", [Drip(), Flood()])
def test_no_server_holds_a_request_for_ever(answer: Any) -> None:
    start = time.monotonic()
    with JudgeServer(lambda body, nth: answer) as server:
        verdict = judge_at(server.url, timeout=1.0).grade([request()])[0]
    assert verdict.value is None
    assert (
        "longer than 16 MB" in (verdict.error or "") if isinstance(answer, Flood) else "in time" in str(verdict.error)
    )
    assert time.monotonic() - start < 30


def test_one_mad_reply_loses_no_other() -> None:
    deep = b"[" * 100_000
    tokens = b'{"choices":[{"message":{"content":"1"}}],"usage":{"prompt_tokens":1e999,"completion_tokens":NaN}}'
    replies = {"deep": Raw(deep), "tokens": Raw(tokens), "minus": Raw(tokens.replace(b"1e999", b"-5"))}

    def script(body: dict[str, Any], nth: int) -> Any:
        return replies.get(body["messages"][-1]["content"], "0.5")

    requests = [request(name) for name in (*replies, *map(str, range(8)))]
    with JudgeServer(script) as server:
        verdicts = {verdict.index: verdict for verdict in judge_at(server.url).grade(requests)}
    assert verdicts["deep"].value is None
    assert (verdicts["tokens"].value, verdicts["tokens"].input_tokens) == (1.0, 0)
    assert [verdicts[str(number)].value for number in range(8)] == [0.5] * 8


def test_full_disk_ends_the_paying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aki_eval.judges.cache._append_line", full)
    with JudgeServer(lambda body, nth: "1") as server:
        with pytest.raises(OSError, match="No space"):
            judge_at(server.url, cache=tmp_path / "v.jsonl", concurrency=2).grade([request(str(n)) for n in range(40)])
        assert len(server.asked) < 6


@pytest.mark.parametrize(
    "body",
    [
        "", "null", "[]", "1", '{"choices": 1}', '{"choices": [null]}', '{"choices": [{"message": "x"}]}',
        '{"choices": [{"message": {"content": {"a": 1}}}]}', '{"choices": [{"message": {"content": [{}]}}]}',
    ],
)  # fmt: skip
def test_what_is_no_completion(body: str) -> None:
    assert read_completion(body).error


def test_stored_reply_that_is_no_text_is_read_or_asked_again(tmp_path: Path) -> None:
    """As earlier versions stored them."""
    cache = tmp_path / "verdicts.jsonl"
    with JudgeServer(lambda body, nth: "0.5") as server:
        judge_at(server.url, cache=cache).grade([request()])
        line = json.loads(cache.read_text())
        for raw, value, asked in ([{"type": "text", "text": "0.2"}], 0.2, 1), ({"a": 1}, 0.5, 2):
            cache.write_text(json.dumps({**line, "raw": raw}) + "\n")
            assert judge_at(server.url, cache=cache).grade([request()])[0].value == value
            assert len(server.asked) == asked


# Secrets.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:p@ss@host:1/v1?api_key=abc&x=1", "http://[key]@host:1/v1?api_key=[key]&x=1"),
        ("https://h/v1?sig=abc#x", "https://h/v1?sig=[key]#x"),
        ('--judge-args={"key": "abc", "max_tokens": 5}', '--judge-args={"key": "[key]", "max_tokens": 5}'),
        ("Authorization: Bearer abcdefgh", "Authorization: Bearer [key]"),
        (f"said {KEY}", "said [key]"),
        ("max_new_tokens=5 in sub-sk-1", "max_new_tokens=5 in sub-sk-1"),
        ("mail me@host about http://host/a@b", "mail me@host about http://host/a@b"),
    ],
)
def test_redaction(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


def test_redaction_of_a_command() -> None:
    given = [
        "aki-eval",
        "run",
        "--judge-key",
        "abc",
        "--judge-ke=abc",
        "--max-new-tokens",
        "5",
        "--base-url",
        "http://u:p@h",
    ]
    assert redact_command(given) == [
        "aki-eval", "run", "--judge-key", "[key]", "--judge-ke=[key]", "--max-new-tokens", "5",
        "--base-url", "http://[key]@h",
    ]  # fmt: skip


def test_credentials_in_an_address_reach_no_record(tmp_path: Path) -> None:
    cache = tmp_path / "v.jsonl"
    with JudgeServer(lambda body, nth: "1") as server:
        url = server.url.replace("http://", "http://me:hidden@") + "?api_key=veryhidden"
        judge = judge_at(url, cache=cache)
        judge.grade([request()])
        assert server.queries == {"api_key=veryhidden"}
    assert "hidden" not in cache.read_text() + repr(judge.describe()) + repr(judge.server.address)
    with JudgeServer(lambda body, nth: "1", probe=lambda body: Fail(401, "no")) as server:
        message = refused(server, server.url.replace("http://", "http://me:hidden@") + "?api_key=veryhidden")
    assert "hidden" not in message


def test_unreadable_is_told_apart_from_wrong() -> None:
    with pytest.raises(Unreadable):
        parse_grade("no grade")
