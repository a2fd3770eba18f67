"""Any OpenAI-compatible endpoint as a predictor, against a server on this machine."""

from __future__ import annotations

import base64
import copy
import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
from judge_server import Fail, JudgeServer, Raw, Say
from PIL import Image
from run_helpers import picture, prompt

from aki_eval.judges import JudgeOptions
from aki_eval.predictors import Unusable
from aki_eval.predictors.base import NoProbabilities
from aki_eval.predictors.endpoint import EndpointPredictor
from aki_eval.run.likelihood import read_likelihoods
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from aki_eval.run.subset import Subset
from benchmarks.errors import UserError
from benchmarks.records import ImageRef, Prompt
from benchmarks.results.folder import open_run
from benchmarks.results.store import RunStore
from benchmarks.tasks import TASKS


@pytest.fixture
def endpoint() -> Iterator[Callable[..., EndpointPredictor]]:
    """Makes predictors whose connections end with the test."""
    made: list[EndpointPredictor] = []

    def make(model: str, **options: Any) -> EndpointPredictor:
        made.append(EndpointPredictor(model, **options))
        return made[-1]

    yield make
    for predictor in made:
        predictor.close()


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.02)


Endpoint = Callable[..., EndpointPredictor]


class Server(JudgeServer):
    """The judge's server, for messages made of parts: `bodies` has them whole, the script sees their text."""

    def __init__(self, script: Any) -> None:
        super().__init__(script)
        self.bodies: list[dict[str, Any]] = []

    def enter(self, body: dict[str, Any]) -> Any:
        self.bodies.append(copy.deepcopy(body))
        message = body["messages"][-1]
        message["content"] = "".join(part.get("text", "<image>") for part in message["content"])
        return super().enter(body)


def echo(body: dict[str, Any], _: int) -> str:
    return "answer to " + body["messages"][-1]["content"]


def test_prompts_go_out_with_their_pictures_many_at_once(endpoint: Endpoint) -> None:
    together = threading.Barrier(8)

    def wait_for_eight(body: dict[str, Any], nth: int) -> str:
        together.wait(timeout=60)  # raises where fewer than eight are ever on their way at once
        return echo(body, nth)

    prompts = [prompt(str(number), f"question {number}", "red") for number in range(16)]
    with Server(wait_for_eight) as server:
        found = endpoint("some-model", base_url=server.url, concurrency=8).predict(prompts, 32)
    assert [one.text for one in found] == [f"answer to <image>question {number}" for number in range(16)]
    assert server.most_at_once == 8
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("some-model", 0.0, 32)
    url = body["messages"][0]["content"][0]["image_url"]["url"]
    assert base64.b64decode(url.removeprefix("data:image/png;base64,")) == picture()


def test_a_picture_that_lies_on_its_side_is_sent_upright(endpoint: Endpoint) -> None:
    upright = Image.new("RGB", (8, 4), "red")
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(buffer, "JPEG", exif=exif)
    with Server(echo) as server:
        endpoint("m", base_url=server.url).predict([Prompt("1", (ImageRef("x", buffer.getvalue), "?"))], 8)
    url = server.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
    sent = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))
    assert sent.size == (8, 4)


def test_one_failure_is_one_failure(endpoint: Endpoint) -> None:
    def script(body: dict[str, Any], nth: int) -> Any:
        text = body["messages"][-1]["content"]
        return {
            "a": Fail(500, "overloaded"),
            "b": Raw(b"<html>gateway</html>"),
            "c": Say(None, finish_reason="length"),
        }.get(text, "fine")

    with Server(script) as server:
        found = endpoint("m", base_url=server.url).predict([prompt(text, text) for text in "abcd"], 8)
    assert [one.text for one in found] == [None, None, None, "fine"]
    assert "500" in str(found[0].error)
    assert "chat completion" in str(found[1].error)
    assert "length" in str(found[2].error)


def test_a_passing_failure_is_retried_by_the_client(endpoint: Endpoint) -> None:
    with Server(lambda body, nth: Fail(429, "slow down") if nth < 2 else "fine") as server:
        (found,) = endpoint("m", base_url=server.url).predict([prompt("1")], 8)
    assert found.text == "fine"


def test_reasoning_models_get_the_parameters_they_accept(endpoint: Endpoint) -> None:
    def script(body: dict[str, Any], _: int) -> Any:
        if "max_tokens" in body:
            return Fail(400, "Unsupported parameter: 'max_tokens'", param="max_tokens")
        if "temperature" in body:
            return Fail(400, "Unsupported value: 'temperature'", param="temperature")
        return str(body["max_completion_tokens"])

    with Server(script) as server:
        predictor = endpoint("m", base_url=server.url)
        assert predictor.predict([prompt("1")], 8)[0].text == "4096"
        assert predictor.predict([prompt("2", "again")], 8)[0].text == "4096"
    assert len(server.bodies) == 4, "what was refused once is not sent again"


def test_a_refused_key_ends_the_run_and_is_not_repeated(monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-secret")
    with (
        Server(lambda body, _: Fail(401, "Incorrect API key provided: sk-secret-secret")) as server,
        pytest.raises(Unusable) as error,
    ):
        endpoint("m", base_url=server.url).predict([prompt("1")], 8)
    assert "401" in str(error.value)
    assert "secret" not in str(error.value)


def test_openai_itself_needs_a_key(endpoint: Endpoint) -> None:
    with pytest.raises(Unusable, match="OPENAI_API_KEY"):
        endpoint("gpt-5-mini").predict([prompt("1")], 8)


def test_a_model_is_known_by_its_id_and_server(endpoint: Endpoint) -> None:
    assert endpoint("org/m", base_url="http://x/v1").describe() == {
        "kind": "openai",
        "id": "org/m",
        "base_url": "http://x/v1",
        "dtype": None,
        "mask": "not verified",
    }


def told(chosen: str, text: str | None = None, **listed: float) -> Say:
    """A completion as OpenAI and vLLM write it: the token taken, and the most probable ones in its place."""
    top = [{"token": name.replace("_", " "), "bytes": list(name.encode()), "logprob": p} for name, p in listed.items()]
    own = next((each for each in top if each["token"] == chosen), {"token": chosen, "bytes": None, "logprob": -0.5})
    return Say(chosen if text is None else text, logprobs={"content": [{**own, "top_logprobs": top}]})


def test_probabilities_of_letters_are_those_the_server_lists(endpoint: Endpoint) -> None:
    def script(body: dict[str, Any], _: int) -> Any:
        return {
            "spaces": told("A", A=-1.0, _A=-2.0, B=-3.0, The=-4.0),
            "missing": told("The", The=-0.1, B=-3.0),
            "thinks": told("<think>", "", A=-1.0, B=-2.0),
            "silent": Say("A"),
            "broken": Fail(500, "no"),
            "infinite": told("A", A=-1.0, B=float("-inf")),
            "taken only": told("B", A=-1.0),
        }[body["messages"][-1]["content"]]

    asked = ["spaces", "missing", "thinks", "silent", "broken", "infinite", "taken only"]
    with Server(script) as server:
        found = endpoint("m", base_url=server.url).continuation_logprobs(
            [prompt(text, text) for text in asked], [["A", "B"]] * len(asked)
        )
    body = server.bodies[0]
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"], body["temperature"]) == (1, True, 20, 0.0)
    assert found[0] == [(pytest.approx(log(exp(-1) + exp(-2))), 1), (-3.0, 1)]
    assert found[1] == [None, (-3.0, 1)]
    assert found[6] == [(-1.0, 1), (-0.5, 1)]
    errors = [each.error for each in found if isinstance(each, NoProbabilities)]
    assert len(errors) == 4
    assert ["thinks" in errors[0], "log-prob" in errors[1], "500" in errors[2], "log-prob" in errors[3]] == [True] * 4


def test_a_server_that_tells_fewer_is_asked_for_fewer(endpoint: Endpoint) -> None:
    def script(body: dict[str, Any], _: int) -> Any:
        if body["top_logprobs"] > 5:
            return Fail(400, "Requested sample logprobs of 20, which is greater than max allowed: 5")
        return told("A", A=-1.0, B=-2.0)

    with Server(script) as server:
        predictor = endpoint("m", base_url=server.url)
        for _ in range(2):
            assert predictor.continuation_logprobs([prompt("1")], [["A", "B"]]) == [[(-1.0, 1), (-2.0, 1)]]
    assert [body["top_logprobs"] for body in server.bodies] == [20, 5, 5]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Fail(400, "'logprobs' is not supported with this model", param="logprobs"), "not supported"),
        (Say("A"), "tells no log-probabilities"),
    ],
)
def test_a_server_that_tells_none_ends_the_asking(endpoint: Endpoint, answer: Any, reason: str) -> None:
    with Server(lambda body, _: answer) as server, pytest.raises(Unusable, match=reason):
        endpoint("m", base_url=server.url).continuation_logprobs([prompt("1")], [["A", "B"]])


def test_a_run_scores_likelihoods_of_a_server(endpoint: Endpoint, tmp_path: Path) -> None:
    """What the server does not list leaves its question unscored; nothing is asked twice, nothing guessed."""

    def script(body: dict[str, Any], nth: int) -> Any:
        if "logprobs" not in body:
            return "Yes"
        about_circles = "circle" in body["messages"][-1]["content"]
        return told("Yes", Yes=-0.1, The=-4.0) if about_circles else told("No", No=-0.1, yes=-3.0)

    out = tmp_path / "run"
    judge = JudgeOptions(name="none", protocols=("likelihood",))
    options = RunOptions(tasks=[TASKS["pope"]], data="toy", out=out, subset=Subset(size=20), judge=judge)
    with Server(script) as server:
        predictor = endpoint("m", base_url=server.url)
        predictor.reach = lambda timeout: None  # type: ignore[method-assign]
        run(options, predictor, Progress(quiet=True))
        asked = len(server.bodies)
        run(options, predictor, Progress(quiet=True))
        assert len(server.bodies) == asked
    scores = open_run(out).scores("pope", "likelihood")
    lines = read_likelihoods(RunStore(out), "pope")
    known = {index for index, line in lines.items() if line.logprobs and line.logprobs.keys() == {"Yes", "No"}}
    assert 0 < len(known) < len(scores) == len(lines)
    assert {score.index for score in scores if score.value is not None} == known
    assert {score.reason for score in scores if score.value is None} == {"option_without_probability"}
    assert {score.answer for score in scores if score.value is not None} == {"No"}
    asks_texts = replace(options, judge=replace(judge, protocols=("likelihood_text",)))
    with pytest.raises(UserError, match="single tokens only"):
        run(asks_texts, endpoint("m", base_url=server.url), Progress(quiet=True))
