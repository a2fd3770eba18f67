"""The committed toy model: today's code gives its scores to the letter, and broken code does not get through the gate.

After a change that is meant to move them, `make toy-baseline` writes the scores anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aki_eval.commands.score import score
from aki_eval.predictors.aki import AkiPredictor
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from aki_eval.run.score import JudgeOptions
from benchmarks import kit
from benchmarks.results.baseline import open_baseline
from benchmarks.results.folder import open_run
from benchmarks.results.gate import Decision, decide
from benchmarks.results.gate_policy import Policy, read_policy
from benchmarks.tasks import TASKS
from model import attention

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "tests" / "data" / "toy_model"
BASELINE = ROOT / ".github" / "toy-baseline.json.gz"
POLICY = ROOT / ".github" / "toy-gate.toml"


def evaluate(out: Path, tasks: Iterable[str]) -> Path:
    options = RunOptions(
        tasks=[TASKS[name] for name in tasks],
        data="toy",
        out=out,
        judge=JudgeOptions(name="offline"),
        batch_size=32,
    )
    run(options, AkiPredictor(MODEL, device="cpu"), Progress(quiet=True))
    return out


def gate(folder: Path, tasks: Iterable[str] | None = None) -> Decision:
    """The committed policy, or its part for some tasks."""
    policy = read_policy(POLICY)
    if tasks is not None:
        drops = {metric: drop for metric, drop in policy.allowed_drop.items() if metric[0] in tasks}
        policy = replace(policy, allowed_drop=drops)
    return decide(open_run(folder), open_baseline(BASELINE), policy)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluate(tmp_path_factory.mktemp("frozen") / "eval", TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_the_committed_scores_are_reproduced(evaluated: Path, task: str) -> None:
    found, expected = open_run(evaluated), open_baseline(BASELINE)
    headline = expected.results[task].headline
    assert found.results[task].headline == headline
    scores = {score.index: (score.value, score.answer, score.reason) for score in found.scores(task, headline)}
    assert scores == {
        score.index: (score.value, score.answer, score.reason) for score in expected.scores(task, headline)
    }


def test_the_gate_lets_unchanged_code_through(evaluated: Path) -> None:
    decision = gate(evaluated)
    assert decision.verdict == "GO"
    assert {check.compared.difference for check in decision.checks if check.compared} == {0.0}
    assert {check.task for check in decision.checks} == set(TASKS)


def test_a_causal_mask_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mask self-test would refuse this one before the first question; the gate must see it in the scores too.

    In descriptions, that is: the toy answers most short questions as well without seeing them early.
    """
    causal = attention.find_kind("causal")
    monkeypatch.setattr(attention, "find_kind", lambda kind: causal)
    monkeypatch.setattr(AkiPredictor, "self_test", lambda self: {"passed": True})
    tasks = ("llava_bench", "mm_vet")
    decision = gate(evaluate(tmp_path / "eval", tasks), tasks)
    assert {check.verdict for check in decision.checks} == {"NO-GO"}


@pytest.mark.parametrize(
    ("rule", "broken", "tasks"),
    [
        ("read_choice", lambda answer, options: answer.strip()[:1].lower() or None, ("real_world_qa", "seed_image")),
        ("read_yes_no", lambda answer: "No", ("pope",)),
    ],
)
def test_a_broken_reader_is_stopped(
    evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str, broken: Any, tasks: tuple[str, ...]
) -> None:
    """The same answers, read wrongly: letters in lower case, and every answer a no."""
    shutil.copytree(evaluated, tmp_path / "eval")
    monkeypatch.setattr(kit, rule, broken)
    score(tmp_path / "eval", bench=",".join(tasks), judge="offline", allow_partial=True)
    decision = gate(tmp_path / "eval", tasks)
    assert {check.verdict for check in decision.checks} == {"NO-GO"}


def test_the_policy_knows_two_outcomes() -> None:
    policy: Policy = read_policy(POLICY)
    assert policy.decide_by == "difference"
    assert set(policy.tasks) == set(TASKS)
