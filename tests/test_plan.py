"""`aki-eval plan`: what it counts is what a run then does."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from run_helpers import TASK, ScriptedPredictor, picture

from aki_eval.chat.prices import Price
from aki_eval.cli import main
from aki_eval.judges import JudgeOptions
from aki_eval.predictors import make_predictor
from aki_eval.run.inputs import find_tasks, load
from aki_eval.run.plan import Accelerator, ModelSize, TokenCounter, answer_steps, computed_time, make_plan, past_rate
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from aki_eval.run.subset import Subset
from benchmarks.records import ImageRef, Prompt
from benchmarks.results.folder import open_run

TOY = Path(__file__).parent / "data" / "toy_model"


def test_prompt_tokens_are_those_that_the_model_reads() -> None:
    predictor = make_predictor(str(TOY))
    image = ImageRef("red", picture)
    prompts = [Prompt("0", (image, "what color is the circle?")), Prompt("1", ("is it red?",))]
    prepared = predictor.prepare(prompts)  # type: ignore[attr-defined]
    assert TokenCounter(predictor).count(prompts) == prepared.attention_mask.sum(-1).tolist()


def test_a_past_run_says_how_long_answers_are_and_what_a_judge_is_asked(tmp_path: Path) -> None:
    tasks = find_tasks("pope,mm_vet")
    options = RunOptions(
        tasks=tasks, data="toy", out=tmp_path / "run", subset=Subset(size=20), judge=JudgeOptions(name="offline")
    )
    odd = ScriptedPredictor(lambda prompt: "neither" if int(prompt.index.split("/")[-1]) % 2 else "Yes")
    run(options, odd, Progress(quiet=True))
    past = open_run(tmp_path / "run")
    inputs = load(tasks, "toy", "aki", Subset(size=20))
    plan = make_plan(inputs, odd, past=past, judge_price=Price(1.0, 2.0), judge_repeats=2)
    pope, mm_vet = plan.tasks
    unread = sum(each.text == "neither" for each in past.predictions("pope").values())
    assert 0 < unread < pope.questions
    assert pope.judge_requests == 2 * unread  # what exact matching does not read
    assert mm_vet.judge_requests == 2 * mm_vet.questions
    assert pope.answer_tokens == mm_vet.answer_tokens == 1.0  # what the scripted predictor says of its answers
    assert plan.judge_cost_usd == pytest.approx(
        (plan.total("judge_input_tokens") + 2 * plan.total("judge_output_tokens")) / 1e6
    )
    assert mm_vet.detectable["overall"] is not None
    assert not plan.exact_tokens
    rate = past_rate(past)
    assert plan.seconds is None if rate is None else plan.seconds == pytest.approx(plan.total("questions") / rate)
    without = make_plan(inputs, odd)
    assert [task.judge_requests for task in without.tasks] == [0, without.tasks[1].questions]
    assert without.tasks[1].detectable == {"overall": None}
    assert without.seconds is None


def test_more_questions_detect_less() -> None:
    few, many = (
        make_plan(load(find_tasks("real_world_qa"), "toy", "aki", subset), ScriptedPredictor()).tasks[0]
        for subset in (Subset(size=50), None)
    )
    assert 0 < many.detectable["overall"] < few.detectable["overall"]  # type: ignore[operator]


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["aki-eval", "plan", "--data", "toy", "--model", str(TOY), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(str(ended.value.code)), said.out, said.err

    return call


def test_the_command(plan: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, said, error = plan("--bench", "pope", "--judge", "gpt-4o", "--rate", "50")
    assert code == 0, error
    said = " ".join(said.split())
    for part in ("by the model's own tokenizer", "50.0 questions a second", "Judge gpt-4o: $", "assumed, 8 tokens"):
        assert part in said
    code, said, _ = plan("--bench", "pope", "--format", "json", "--subset", "50")
    content = json.loads(said)
    assert content["tasks"][0]["questions"] >= 50
    assert content["weight_bytes"] == sum(path.stat().st_size for path in TOY.glob("*.safetensors"))
    code, _, error = plan("--bench", "pope", "--from", str(tmp_path))
    assert (code, error.count("\n")) == (2, 1)
    assert TASK.name not in said


def test_time_on_a_card_is_operations_and_bytes(plan: Callable[..., tuple[int, str, str]]) -> None:
    inputs = load(find_tasks("pope"), "toy", "aki", Subset(size=8))
    (task,) = make_plan(inputs, ScriptedPredictor(), answer_tokens=1.0).tasks
    size = ModelSize(parameters=1e9, cache_bytes=0.0, picture_operations=4e12)
    time = computed_time([task], size, Accelerator(operations=1e13, bandwidth=1e10))
    assert time.pictures == pytest.approx(task.pictures * 4e12 / (0.4 * 1e13))
    assert time.prompts == pytest.approx(task.prompt_tokens * 2e9 / (0.4 * 1e13))
    longest = sum(1 / n for n in range(1, task.questions + 1))
    assert time.answers == pytest.approx(longest * 2e9 / (0.6 * 1e10))
    code, out, _ = plan("--bench", "pope", "--on", "h100")
    assert code == 0
    assert "On one H100: " in out
    assert "on eight" in out
    _, out, _ = plan("--bench", "pope", "--on", "h100", "--format", "json")
    assert json.loads(out)["computed"]["answers"] > 0
    _, out, _ = plan("--bench", "pope", "--on", "h100", "--engine", "continuous")
    assert "for 64 answers by continuous" in " ".join(out.split())


def test_an_engine_takes_as_many_steps_as_its_rows_have_tokens() -> None:
    """Beside batches that wait for their longest. Of few questions there is nothing to refill with."""
    inputs = load(find_tasks("pope"), "toy", "aki", Subset(size=8))
    (task,) = make_plan(inputs, ScriptedPredictor(), answer_tokens=10.0).tasks
    task = replace(task, questions=1000, most_answer_tokens=512)
    harmonic = sum(1 / n for n in range(1, 11))
    assert answer_steps(task, "generate", 10) == (10, pytest.approx(100 * 10 * harmonic), pytest.approx(10 * harmonic))
    rows, steps, _ = answer_steps(task, "continuous", 10)
    assert (rows, steps) == (10, pytest.approx(990 * 10 / (10 * 15 / 16) + 10 * harmonic))
    few = replace(task, questions=5)
    assert answer_steps(few, "continuous", 10)[1] == answer_steps(few, "generate", 10)[1]
    size = ModelSize(parameters=1e9, cache_bytes=1e5, picture_operations=0.0)
    card = Accelerator(operations=1e15, bandwidth=1e12)
    by_engine, by_generate = (computed_time([task], size, card, name).answers for name in ("continuous", "generate"))
    assert by_engine < by_generate / 2
