"""A judge that favors a place: found, told by how much, and taken out; one that does not: no difference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from run_helpers import ScriptedPredictor

from aki_eval.commands.judge_position import command, position_table
from aki_eval.judges import JudgeOptions
from aki_eval.judges.cache import Reply, verdict_of
from aki_eval.judges.offline import reply_to
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from benchmarks.errors import UserError
from benchmarks.records import JudgeRequest, Verdict
from benchmarks.results.folder import open_run
from benchmarks.results.position import position
from benchmarks.tasks import TASKS
from benchmarks.tasks.llava_bench import SWAPPED

FIRST, SECOND = "[Assistant 1]", "[Assistant 2]"


class Leaning:
    """Grades an answer by its length and the reference 8, and what stands first `lean` higher; reads the prompt."""

    name = "leaning"
    comparable = True

    def __init__(self, lean: int) -> None:
        self.lean = lean
        self.kinds: set[str] = set()

    def grade(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        self.kinds |= {request.kind for request in requests}
        return [verdict_of(each, Reply(model="m", raw=self.reply(each)), judge=self.name) for each in requests]

    def reply(self, request: JudgeRequest) -> str:
        first, second = request.prompt.split(FIRST)[1].split(SECOND)
        grades = [8 if text.strip() == request.facts["reference"] else 3 + len(text) % 4 for text in (first, second)]
        return f"{grades[0] + self.lean} {grades[1]}"

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "comparable": True}


@pytest.fixture
def plain_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(row: Mapping[str, str], answer: str) -> str:
        return f"{row['question']}{FIRST}{row['gpt4_ans']}{SECOND}{answer}"

    monkeypatch.setattr("benchmarks.kit.llava_bench_prompt", build)


def judged(out: Path, judge: Any, monkeypatch: pytest.MonkeyPatch, protocols: tuple[str, ...] = (SWAPPED,)) -> Path:
    monkeypatch.setattr(JudgeOptions, "make", lambda self, source, cache: judge)
    options = RunOptions(tasks=[TASKS["llava_bench"]], data="toy", out=out, judge=JudgeOptions(protocols=protocols))
    run(options, ScriptedPredictor(lambda prompt: "x" * (len(prompt.text) % 7)), Progress(quiet=True))
    return out


@pytest.mark.usefixtures("plain_prompt")
def test_what_a_place_is_worth_is_found_and_cancels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = Leaning(2)
    out = judged(tmp_path / "leaning", judge, monkeypatch)
    fair = position(open_run(judged(tmp_path / "fair", Leaning(0), monkeypatch)))
    found = position(open_run(out))
    assert judge.kinds == {"llava_bench", "llava_bench_swapped"}
    assert (found.first_place.value, found.answer_first.value, found.reference_first.value) == (2.0, 2.0, 2.0)
    overall = found.metrics[0]
    assert overall.metric == "overall"
    assert overall.ci95 is not None
    assert 0 < overall.ci95[0] < (overall.difference or 0) < overall.ci95[1]
    assert {metric.metric for metric in found.metrics} > {"category/conv"}
    # 8 + 1 and the grade + 1 on both sides: what each place adds stands in both sums alike
    scores = open_run(out).scores("llava_bench", "kit")
    grades = [score.value or 0.0 for score in scores]
    assert found.both_orders["overall"][0] == pytest.approx(100 * (sum(grades) / len(grades) + 1) / 9)
    assert (fair.first_place.value, fair.metrics[0].difference, fair.num_turned) == (0.0, 0.0, 0)
    assert fair.both_orders["overall"][0] == pytest.approx(fair.metrics[0].a)
    command(out)
    shown = capsys.readouterr().out
    assert "worth +2.00" in shown
    assert "reference second" in shown
    command(out, format="json")
    assert json.loads(capsys.readouterr().out)["first_place"]["value"] == 2.0
    assert "answers were not graded" not in " ".join(position_table(found).remarks)


@pytest.mark.usefixtures("plain_prompt")
def test_without_grades_in_the_other_order_there_is_nothing_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = judged(tmp_path / "run", Leaning(0), monkeypatch, protocols=())
    with pytest.raises(UserError, match="--protocols swapped"):
        position(open_run(out))


def test_the_offline_judge_keeps_the_order_it_is_asked_in() -> None:
    def request(kind: str) -> JudgeRequest:
        return JudgeRequest(
            index="0", kind=kind, prompt="", facts={"reference": "four", "candidate": "five"}, parse=str
        )

    assert [reply_to(request(f"llava_bench{end}")) for end in ("", "_swapped")] == ["10 1", "1 10"]
