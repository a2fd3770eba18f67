"""The loop: batches, what does not fit, what fails."""

from __future__ import annotations

from typing import Any

import pytest
from run_helpers import ScriptedPredictor, prompt

from aki_eval.predictors import Generation
from aki_eval.run.batching import BatchSize, ordered
from aki_eval.run.loop import Failures, Loop, TooManyFailures
from benchmarks.records import Prediction, Prompt

PROMPTS = [prompt(str(number), image=f"picture {number % 3}") for number in range(10)]


def answers(predictor: Any, prompts: list[Prompt] = PROMPTS, size: int | None = 4, **options: Any) -> list[Prediction]:
    saved: list[Prediction] = []
    Loop(predictor, 8, BatchSize(size), saved.extend, **options).run(prompts)
    return saved


def test_every_prompt_is_answered_once_with_the_prompt_as_sent() -> None:
    predictor = ScriptedPredictor()
    saved = answers(predictor)
    assert [prediction.text for prediction in saved] == [f"answer to {number}" for number in range(10)]
    assert saved[0].prompt == "<user><image>What is it?"
    assert predictor.batches == [["0", "1", "2", "3"], ["4", "5", "6", "7"], ["8", "9"]]


def test_a_sample_that_raises_is_retried_alone_and_recorded_while_the_others_are_answered() -> None:
    def answer(given: Prompt) -> str:
        if given.index == "5":
            raise OSError("image file is truncated")
        return "fine"

    predictor = ScriptedPredictor(answer)
    saved = {prediction.index: prediction for prediction in answers(predictor)}
    assert saved["5"].error == "OSError: image file is truncated"
    assert saved["5"].text is None
    assert sum(prediction.text == "fine" for prediction in saved.values()) == 9
    assert predictor.asked.count("5") == 2
    assert ["5"] in predictor.batches


def test_a_failure_that_passes_leaves_no_trace() -> None:
    def answer(given: Prompt) -> str:
        if len(predictor.batches[-1]) > 1 and given.index == "1":
            raise RuntimeError("once")
        return "fine"

    predictor = ScriptedPredictor(answer)
    assert [prediction.text for prediction in answers(predictor)] == ["fine"] * 10


def test_one_failed_request_does_not_take_its_batch_with_it() -> None:
    class Endpoint(ScriptedPredictor):
        def predict(self, prompts: Any, max_new_tokens: int) -> list[Generation]:
            given = super().predict(prompts, max_new_tokens)
            failed = Generation(text=None, error="RateLimitError: 429")
            return [failed if one.index == "2" else two for one, two in zip(prompts, given, strict=True)]

    predictor = Endpoint()
    saved = {prediction.index: prediction for prediction in answers(predictor)}
    assert saved["2"].error == "RateLimitError: 429"
    assert predictor.asked.count("2") == 2
    assert predictor.asked.count("1") == 1


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    class OutOfMemoryError(RuntimeError):
        """Named like torch's."""

    def answer(given: Prompt) -> str:
        if len(predictor.batches[-1]) > 2:
            raise OutOfMemoryError("CUDA out of memory")
        return "fine"

    predictor = ScriptedPredictor(answer)
    saved = answers(predictor, size=8)
    assert sorted(prediction.index for prediction in saved) == sorted(given.index for given in PROMPTS)
    assert all(prediction.text == "fine" for prediction in saved)
    assert [len(batch) for batch in predictor.batches] == [8, 2, 4, 2, 2, 2, 2]


def test_a_sample_that_never_fits_is_an_error_and_no_endless_loop() -> None:
    def answer(given: Prompt) -> str:
        raise MemoryError("too large")

    saved = answers(ScriptedPredictor(answer))
    assert {prediction.error for prediction in saved} == {"MemoryError: too large"}
    assert len(saved) == 10


def test_the_run_stops_when_too_much_fails() -> None:
    def answer(given: Prompt) -> str:
        raise RuntimeError("device-side assert")

    prompts = [prompt(str(number)) for number in range(100)]
    failures = Failures(cap=0.5)
    with pytest.raises(TooManyFailures, match=r"20 of 20 samples failed.*device-side assert"):
        answers(ScriptedPredictor(answer), prompts, failures=failures)


def test_preparing_a_batch_overlaps_the_one_before() -> None:
    class Overlapping(ScriptedPredictor):
        prepared: list[str]

        def prepare(self, prompts: list[Prompt]) -> list[Prompt]:
            events.append(f"prepare {prompts[0].index}")
            if prompts[0].index == "4":
                raise OSError("unreadable picture")
            return prompts

        def generate(self, prepared: list[Prompt], max_new_tokens: int) -> list[Generation]:
            events.append(f"generate {prepared[0].index}")
            return self.predict(prepared, max_new_tokens)

    events: list[str] = []
    saved = answers(Overlapping())
    assert sorted(prediction.index for prediction in saved) == sorted(given.index for given in PROMPTS)
    assert events.index("prepare 4") < events.index("prepare 8")
    assert "generate 4" not in events  # its preparation failed: asked one by one


def test_automatic_sizes_grow_while_it_pays() -> None:
    size = BatchSize(None, start=8)
    size.answered(8, 1.0)
    assert size.size == 16
    size.answered(5, 1.0)
    assert size.size == 16, "a batch that was not full says nothing"
    size.answered(16, 1.9)
    size.answered(16, 1.9)
    assert size.size == 16, "twice as many in nearly twice the time is no gain"
    size.out_of_memory(16)
    size.answered(8, 0.1)
    assert size.size == 8, "what did not fit once is not tried again"


def test_order_puts_long_first_and_pictures_together() -> None:
    short = [prompt(f"short {number}", "a" * 10, f"picture {number % 2}") for number in range(4)]
    long = [prompt("long", "a" * 500, "picture 0")]
    assert [given.index for given in ordered([*short, *long])] == ["long", "short 0", "short 2", "short 1", "short 3"]


def test_questions_without_options_do_not_hold_up_letters() -> None:
    prompts = [prompt(str(number), image=f"picture {number}") for number in range(6)]
    order = [each.index for each in ordered(prompts, open_ended={"1", "4"})]
    assert order == ["1", "4", "0", "2", "3", "5"]
    assert ordered(prompts, open_ended={each.index for each in prompts}) == ordered(prompts)
