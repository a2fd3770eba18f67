"""`--engine`: admitted by comparison, recorded, refused with a reason; one question takes no other with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from predictor_helpers import write_checkpoint
from run_helpers import TASK, ScriptedPredictor, prompt, results, write_table

from aki_eval.predictors import Generation, Predictor, Unusable, make_predictor
from aki_eval.predictors.base import Answered, EnginePredictor
from aki_eval.predictors.continuous import ContinuousAkiPredictor
from aki_eval.run.batching import BatchSize
from aki_eval.run.inputs import find_tasks, load
from aki_eval.run.loop import GROUP, Loop
from aki_eval.run.preflight import admit_engine
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, RunResult, run
from aki_eval.run.subset import Subset
from benchmarks.errors import UserError
from benchmarks.records import ImageRef, Prediction, Prompt
from benchmarks.results.folder import open_run
from benchmarks.results.pairing import asked_differently, made_differently
from model.continuous import ContinuousBatching


class ScriptedEngine(ScriptedPredictor):
    """Says by its engine what `engine_answer` says, two answers at a time, the last asked first."""

    engine = "continuous"

    def __init__(self, **others: Any) -> None:
        super().__init__()
        self.others: dict[str, list[int] | str] = others
        """By index: other token ids than the reference's, or why there are none."""
        self.prepared: list[list[str]] = []
        self.streamed: list[str] = []
        self.rows: int | None = None

    def describe_engine(self) -> dict[str, str]:
        return {"name": self.engine, "library": "none", "version": "1"}

    def prepare(self, prompts: Sequence[Prompt]) -> list[str]:
        self.prepared.append([each.index for each in prompts])
        if any(each.text == "cannot be prepared" for each in prompts):
            raise OSError("broken picture")
        return self.prepared[-1]

    def predict(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Generation]:
        self.prepare(prompts)
        return super().predict(prompts, max_new_tokens)

    def stream(
        self, groups: Iterator[tuple[Sequence[Prompt], Any]], max_new_tokens: int, rows: int | None = None
    ) -> Iterator[list[Answered]]:
        self.rows = rows
        for prompts, prepared in groups:
            assert prepared == [each.index for each in prompts]
            for start in range(0, len(prompts), 2):
                pair = [(each, self._one(each)) for each in prompts[start : start + 2]]
                self.streamed += [each.index for each, _ in pair]
                yield pair[::-1]

    def _one(self, each: Prompt) -> Generation:
        found = self.others.get(each.index)
        return Generation(None, error=found) if isinstance(found, str) else Generation(self.answer(each), 1, "stop")

    def both_ways(
        self, prompts: Sequence[Prompt], max_new_tokens: int, rows: int | None = None
    ) -> list[tuple[list[int], list[int] | str]]:
        self.prepare(prompts)
        return [([1, 2, 3], self.others.get(each.index, [1, 2, 3])) for each in prompts]


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    return write_table(tmp_path / "tables")


def go(tables: Path, predictor: Predictor, out: str = "run", **options: Any) -> RunResult:
    given: dict[str, Any] = {"tasks": [TASK], "data": str(tables), "out": tables.parent / out} | options
    return run(RunOptions(**given), predictor, Progress(quiet=True))


def record(tables: Path, out: str = "run") -> Any:
    return json.loads((tables.parent / out / "run.json").read_text())


def test_the_engine_answers_and_the_record_says_so(tables: Path) -> None:
    predictor = ScriptedEngine()
    assert go(tables, predictor, batch_size=3).num_predicted == 12
    assert (sorted(predictor.streamed, key=int), predictor.batches) == ([str(n) for n in range(12)], [])
    assert predictor.rows == 3
    assert record(tables)["decoding"] == {"strategy": "greedy", "engine": "continuous"}
    assert record(tables)["engine_check"] == {
        "name": "continuous",
        "library": "none",
        "version": "1",
        "num_questions": 12,
        "num_tokens": 36,
        "longest": 3,
    }
    go(tables, ScriptedPredictor(), out="other")
    assert results(tables.parent / "run")["scores"] == results(tables.parent / "other")["scores"]
    assert record(tables, "other")["decoding"] == {"strategy": "greedy"}
    assert record(tables, "other")["engine_check"] is None


def test_another_engine_is_a_difference_in_the_making_and_not_in_what_was_asked(tables: Path) -> None:
    go(tables, ScriptedEngine())
    go(tables, ScriptedPredictor(), out="other")
    a, b = (open_run(tables.parent / out) for out in ("run", "other"))
    assert ("decoding.engine", "continuous", "none") in made_differently(a, b)
    assert asked_differently("small", a, b) == []


def test_an_engine_that_says_something_else_answers_nothing(tables: Path) -> None:
    predictor = ScriptedEngine(**{"7": [1, 2, 4], "9": [1]})
    with pytest.raises(UserError) as caught:
        go(tables, predictor)
    assert str(caught.value).startswith(
        "--engine continuous does not answer as generate does: 2 of 12 answers differ, first small 9 from token 2 on; "
        "nothing was asked"
    )
    assert predictor.streamed == []
    assert not (tables.parent / "run/run.json").exists()
    go(tables, ScriptedPredictor())  # the folder is free for a run without it


def test_an_engine_that_answers_nothing_is_refused(tables: Path) -> None:
    with pytest.raises(UserError, match=r"it answers none of the questions tried \(too long\)"):
        go(tables, ScriptedEngine(**{str(index): "too long" for index in range(12)}))


def test_a_broken_question_does_not_end_the_comparison(tables: Path) -> None:
    class Broken(ScriptedEngine):
        def both_ways(self, prompts: Sequence[Prompt], *others: Any) -> Any:
            if any(each.index == "5" for each in prompts):
                raise OSError("broken picture")
            return super().both_ways(prompts, *others)

    go(tables, Broken())
    assert record(tables)["engine_check"]["num_questions"] == 11


def test_going_on_with_another_engine_is_refused(tables: Path) -> None:
    go(tables, ScriptedEngine())
    for join in (False, True):
        with pytest.raises(UserError, match=r"decoding\.engine was 'continuous' and would now be none"):
            go(tables, ScriptedPredictor(), join=join)
    go(tables, ScriptedPredictor(), out="other")
    with pytest.raises(UserError, match=r"decoding\.engine was none and would now be 'continuous'"):
        go(tables, ScriptedEngine(), out="other")


def test_a_worker_that_joins_compares_for_itself(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its card may be another one."""
    from aki_eval.run import answering

    late = ScriptedEngine(**{"7": [9]})

    def join_meanwhile(*_: object) -> None:
        monkeypatch.undo()
        with pytest.raises(UserError, match="does not answer as generate does"):
            go(tables, late, join=True)

    real = answering.Working._answer
    monkeypatch.setattr(answering.Working, "_answer", lambda *given: (join_meanwhile(), real(*given))[1])
    assert go(tables, ScriptedEngine(), join=True).num_predicted == 12
    assert late.streamed == []


def loop(predictor: Any, prompts: Sequence[Prompt], size: int | None = None) -> dict[str, Prediction]:
    saved: list[Prediction] = []
    Loop(predictor, 8, BatchSize(size), saved.extend).run(prompts)
    assert len(saved) == len(prompts)
    return {each.index: each for each in saved}


def test_what_the_engine_does_not_answer_is_asked_alone() -> None:
    prompts = [prompt(str(index)) for index in range(40)]
    predictor = ScriptedEngine(**{"3": "too long", "17": "a step failed"})
    found = loop(predictor, prompts)
    assert predictor.batches == [["3"], ["17"]]
    assert all(each.text == f"answer to {index}" for index, each in found.items())


def test_what_an_engine_loses_is_asked_alone() -> None:
    class Forgetful(ScriptedEngine):
        def stream(self, *given: Any, **named: Any) -> Any:
            for ended in super().stream(*given, **named):
                yield [pair for pair in ended if pair[0].index != "4"]

    predictor = Forgetful()
    assert len(loop(predictor, [prompt(str(index)) for index in range(20)])) == 20
    assert predictor.batches == [["4"]]


def test_a_question_that_cannot_be_prepared_takes_no_other_with_it() -> None:
    prompts = [prompt(str(index), "cannot be prepared" if index in (5, 39) else "?") for index in range(40)]
    found = loop(ScriptedEngine(), prompts)
    assert {index for index, each in found.items() if each.error} == {"5", "39"}
    assert found["5"].error == "OSError: broken picture"


def test_prompts_are_taken_as_they_are_needed() -> None:
    taken: list[str] = []

    def source() -> Iterator[Prompt]:
        for index in range(8 * GROUP):
            taken.append(str(index))
            yield prompt(str(index))

    behind: list[int] = []
    Loop(ScriptedEngine(), 8, BatchSize(None), lambda found: behind.append(len(taken))).run(source())
    assert behind[0] == 2 * GROUP


def test_an_interruption_closes_the_engine() -> None:
    closed = []

    class Closing(ScriptedEngine):
        def stream(self, *given: Any, **named: Any) -> Any:
            try:
                yield from super().stream(*given, **named)
            finally:
                closed.append(True)

    def save(found: Sequence[Prediction]) -> None:
        del found
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Loop(Closing(), 8, BatchSize(None), save).run([prompt("1"), prompt("2"), prompt("3")])
    assert closed == [True]


@pytest.mark.parametrize("model", ["openai:gpt-4o", "vlmevalkit:Qwen", "{file}"])
def test_only_a_checkpoint_has_an_engine(model: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class PREDICTOR:\n    def predict(self, prompts):\n        return ['']\n")
    with pytest.raises(UserError, match="--engine continuous: only a checkpoint of AKI can be told so"):
        make_predictor(model.format(file=file), engine="continuous")


def test_an_unknown_engine_and_a_library_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--engine: 'vllm', expected one of generate, continuous"):
        make_predictor(str(tmp_path), engine="vllm")
    monkeypatch.setattr("aki_eval.predictors.continuous.missing", lambda: "this transformers has none")
    with pytest.raises(UserError, match="--engine continuous: this transformers has none; leave it out"):
        make_predictor(str(tmp_path), engine="continuous")


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    """Short and long, with one picture, several, and none; pictures come back."""
    pope, mmmu = load(find_tasks("pope,mmmu"), "toy", "aki", None)
    pictures = list({image.key: image for each in pope.prompts for image in each.images}.values())
    found = [*pope.prompts[:4], *mmmu.prompts[:4]]
    found += [Prompt("", (*pictures[:2], "which is larger?")), Prompt("", ("what is it?", pictures[1], "and why?"))]
    found.append(Prompt("", ("what color is the circle?",)))
    return [Prompt(str(number), each.parts) for number, each in enumerate(found)]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> ContinuousAkiPredictor:
    del one_thread
    return made(write_checkpoint(tmp_path_factory.mktemp("model") / "tiny"))


def made(checkpoint: Path, **options: Any) -> ContinuousAkiPredictor:
    predictor = make_predictor(str(checkpoint), device="cpu", engine="continuous", **options)
    assert isinstance(predictor, EnginePredictor)
    assert isinstance(predictor, ContinuousAkiPredictor)
    return predictor


@pytest.fixture
def predictor(loaded: ContinuousAkiPredictor) -> ContinuousAkiPredictor:
    loaded._engine = loaded._most_rows = None
    loaded._told = frozenset()
    return loaded


@pytest.fixture(scope="module")
def by_generate(loaded: ContinuousAkiPredictor, prompts: list[Prompt]) -> dict[str, Generation]:
    return dict(zip((each.index for each in prompts), loaded.predict(prompts, 12), strict=True))


def streamed(
    predictor: ContinuousAkiPredictor, prompts: Sequence[Prompt], rows: int | None = None
) -> dict[str, Generation]:
    groups = ((group, predictor.prepare(group)) for group in (prompts[:7], prompts[7:]) if group)
    return {each.index: found for ended in predictor.stream(groups, 12, rows) for each, found in ended}


def test_the_checkpoint_says_by_its_engine_what_it_says_by_generate(
    predictor: ContinuousAkiPredictor, prompts: list[Prompt], by_generate: dict[str, Generation]
) -> None:
    assert streamed(predictor, prompts, 4) == by_generate
    assert {found.finish_reason for found in by_generate.values()} == {"stop", "length"}
    assert all(found == reference for reference, found in predictor.both_ways(prompts[:8], 12, 4))


def test_under_another_mask_too(loaded: ContinuousAkiPredictor, prompts: list[Prompt]) -> None:
    predictor = made(loaded.checkpoint, attention="prefix")
    assert all(found == reference for reference, found in predictor.both_ways(prompts[:6], 8))


def test_a_causal_engine_is_not_admitted(predictor: ContinuousAkiPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: it sees what an engine does that knows nothing of our mask."""
    inputs = load(find_tasks("pope"), "toy", "aki", Subset(size=6), 6)
    assert admit_engine(predictor, inputs, 4).num_questions >= 6
    predictor._engine = None
    monkeypatch.setattr(
        "model.continuous.create_masks",
        lambda config, like, *_, **__: torch.full((like.shape[1],) * 2, torch.finfo(like.dtype).min).triu(1)[
            None, None
        ],
    )
    with pytest.raises(UserError, match=r"--engine continuous does not answer as generate does: .* first pope"):
        admit_engine(predictor, inputs, 4)


def test_too_large_a_step_is_tried_with_fewer_rows(
    predictor: ContinuousAkiPredictor,
    prompts: list[Prompt],
    by_generate: dict[str, Generation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step, sizes = ContinuousBatching.step, []

    def small(engine: ContinuousBatching) -> Any:
        if engine.active > 2:
            raise MemoryError
        sizes.append(engine.rows)
        return step(engine)

    monkeypatch.setattr(ContinuousBatching, "step", small)
    assert streamed(predictor, prompts, 8) == by_generate
    assert set(sizes) == {2}


def test_a_step_that_fails_is_told_once_and_no_answer(
    predictor: ContinuousAkiPredictor,
    prompts: list[Prompt],
    by_generate: dict[str, Generation],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step, calls = ContinuousBatching.step, []

    def fails_at_times(engine: ContinuousBatching) -> Any:
        calls.append(engine.active)
        if len(calls) in (2, 5):
            raise RuntimeError("no such kernel")
        return step(engine)

    monkeypatch.setattr(ContinuousBatching, "step", fails_at_times)
    found = streamed(predictor, prompts, 3)
    failed = {index for index, each in found.items() if each.error == "RuntimeError: no such kernel"}
    assert len(failed) == calls[1] + calls[4]
    assert capsys.readouterr().err.count("generate answers what the engine does not") == 1
    assert all(found[index] == by_generate[index] for index in found.keys() - failed)


def test_an_interrupted_stream_leaves_nothing_behind(
    predictor: ContinuousAkiPredictor, prompts: list[Prompt], by_generate: dict[str, Generation]
) -> None:
    next(predictor.stream(iter([(prompts, predictor.prepare(prompts))]), 12, 4))
    assert streamed(predictor, prompts, 4) == by_generate


def test_the_cache_is_what_memory_allows(
    predictor: ContinuousAkiPredictor, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = predictor.model.config.text_config
    assert predictor._tokens(4) == 4 * text.max_position_embeddings
    wide = text.hidden_size // text.num_attention_heads
    each = 4 * (2 * text.num_hidden_layers * text.num_key_value_heads * wide + 2048)
    monkeypatch.setattr("aki_eval.predictors.continuous.free_memory", lambda device: 2 * 300 * each)
    assert predictor._tokens(4) == 300
    monkeypatch.setattr("aki_eval.predictors.continuous.free_memory", lambda device: 0)
    found = streamed(predictor, prompts[:2], 4)
    assert {each.error for each in found.values()} == {"more than 32 tokens, all that the cache holds"}


def test_a_model_that_cannot_be_asked_so_is_refused(
    predictor: ContinuousAkiPredictor, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor.model.generation_config, "repetition_penalty", 1.3)
    with pytest.raises(Unusable, match=r"--engine continuous: .*generation_config.json asks for RepetitionPenalty"):
        streamed(predictor, prompts)


def test_a_picture_that_cannot_be_read_is_an_error_of_its_question(
    predictor: ContinuousAkiPredictor, prompts: list[Prompt]
) -> None:
    def broken() -> bytes:
        return b"no picture"

    given = [*prompts[:5], Prompt("broken", (ImageRef("broken", broken), "what?")), *prompts[5:8]]
    found = loop(predictor, given, size=3)
    assert [index for index, each in found.items() if each.error] == ["broken"]
