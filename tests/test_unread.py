"""Unread is not wrong: answers in which a protocol's rule finds nothing are counted, bounded and shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports_helpers import all_metrics, metric, write_run
from rich.console import Console
from run_helpers import TASK, ScriptedPredictor, write_table

from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from aki_eval.run.summary import explain_incomplete, show_results
from benchmarks.data.load import load_samples
from benchmarks.records import JudgeRequest, Metric, Prediction, Sample, Score, Verdict
from benchmarks.results.folder import open_runs
from benchmarks.scoring import metrics_of, no_answer, score_task, why_not_comparable, worth_saying
from benchmarks.task import ProtocolRule
from benchmarks.tasks import TASKS
from benchmarks.toy_world import ensure_tables
from reports.model_card import results as card_results
from reports.model_card import unfit
from reports.paper_tables import main_table
from reports.render import flat, markdown
from reports.series import run_cell

HEDGE = "Hmm, that is really hard to tell from here without seeing more of it than the picture has to offer, sorry."


class Extractor:
    """A judge that replies the same to everything."""

    name, comparable = "extractor", True

    def __init__(self, reply: str) -> None:
        self.reply = reply

    def grade(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        return [
            Verdict(
                index=request.index,
                kind=request.kind,
                judge=self.name,
                prompt_hash="",
                raw=self.reply,
                value=request.parse(self.reply),
            )
            for request in requests
        ]

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "comparable": True}


def some(task: str, number: int | None = None) -> list[Sample]:
    return load_samples(TASKS[task], ensure_tables())[:number]


def predictions(samples: Sequence[Sample], text: Callable[[Sample], str], **fields: Any) -> dict[str, Prediction]:
    return {each.index: Prediction(index=each.index, prompt="", text=text(each), **fields) for each in samples}


def of(task: str, protocol: str, scores: Mapping[str, Sequence[Score]], name: str) -> dict[str, Any]:
    found: dict[str, Any] = metrics_of(TASKS[task], scores)["protocols"][protocol][name]
    return found


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if not task.judged])
def test_what_the_rule_cannot_read_is_unread_and_counts_as_wrong(task: str) -> None:
    samples = some(task)
    first, given = samples[0].index, predictions(samples, lambda sample: sample.target)
    given[first] = replace(given[first], text=HEDGE)
    for protocol, scores in score_task(TASKS[task], samples, given, None).items():
        score = scores[0]
        assert (score.value, score.reason, score.unread) == (0.0, "unread", True), protocol
        # The kit reads no list, no text and no 0 of MathVista's without a judge, right as they are.
        assert any(each.unread for each in scores[1:]) == ((task, protocol) == ("mathvista", "kit")), protocol


def test_an_extractor_reads_what_the_rule_cannot() -> None:
    samples = some("seed_image", 4)
    letter = samples[0].target
    given = predictions(samples, lambda sample: HEDGE)
    read = score_task(TASKS["seed_image"], samples, given, Extractor(letter), ["kit"])["kit"]
    assert [score.unread for score in read] == [False] * 4
    assert read[0].value == 1.0


@pytest.mark.parametrize(
    ("text", "finish", "why"),
    [
        ("", "length", "unread_token_limit"),
        (" \n", "length", "unread_token_limit"),
        ("<think>It may be A, or else", "length", "unread_token_limit"),
        ("<think>It may be A, or else", None, "unread_only_reasoning"),
        ("<think>It is A.</think>\n", "stop", "unread_only_reasoning"),
        ("[THINK]It is A", "stop", "unread_only_reasoning"),
        ("<think>It may be A.</think>B", "length", None),
        ("B", "length", None),
        ("", "stop", None),
        (None, None, None),
    ],
)
def test_an_answer_that_never_began(text: str | None, finish: str | None, why: str | None) -> None:
    error = "failed" if text is None else None
    assert no_answer(Prediction(index="1", prompt="", text=text, finish_reason=finish, error=error)) == why


@pytest.mark.parametrize("task", TASKS)
def test_an_answer_that_never_began_is_unread_under_every_protocol(task: str) -> None:
    samples = some(task)
    given = predictions(samples, lambda sample: sample.target)
    given[samples[0].index] = Prediction(index=samples[0].index, prompt="", text="", finish_reason="length")
    reply = {"mm_vet": "0.0", "llava_bench": "8 1"}.get(task, "B")
    for protocol, scores in score_task(TASKS[task], samples, given, Extractor(reply)).items():
        assert (scores[0].reason, scores[0].unread) == ("unread_token_limit", True), protocol
        assert sum(each.unread for each in scores) == 1


def test_groups_count_their_unread_samples_and_the_bounds_are_those_of_groups() -> None:
    samples = some("mmbench")
    clusters = list(dict.fromkeys(sample.cluster for sample in samples))
    first, second = ([s for s in samples if s.cluster == cluster] for cluster in clusters[:2])
    given = predictions(samples, lambda sample: sample.target)
    for each in first:
        given[each.index] = replace(given[each.index], text=HEDGE)
    given[second[0].index] = replace(given[second[0].index], text=HEDGE)
    wrong = next(letter for letter in second[1].choices if letter != second[1].target)
    given[second[1].index] = replace(given[second[1].index], text=wrong)  # read, and wrong: it stays so
    found = of("mmbench", "strict", score_task(TASKS["mmbench"], samples, given, None), "overall")
    share = 100 / len(clusters)
    assert found["num_unread"] == len(first) + 1
    assert found["value"] == pytest.approx(100 - 2 * share)
    assert found["unread_bounds"] == pytest.approx((100 - 2 * share, 100 - share))


def test_bounds_of_f1_take_an_unread_answer_for_the_wrong_and_for_the_right_word() -> None:
    samples = some("pope")
    no = next(sample for sample in samples if sample.target == "No")
    given = predictions(samples, lambda sample: sample.target)
    given[no.index] = replace(given[no.index], text=HEDGE)
    found = of("pope", "kit", score_task(TASKS["pope"], samples, given, None), "f1")
    low, high = found["unread_bounds"]
    assert found["value"] == 100.0  # the kit's F1 takes it for a No
    assert (low < 100.0, high) == (True, 100.0)


def test_without_unread_answers_there_are_no_bounds() -> None:
    samples = some("mme")
    found = of(
        "mme", "kit", score_task(TASKS["mme"], samples, predictions(samples, lambda s: s.target), None), "perception"
    )
    assert (found["num_unread"], found["unread_bounds"]) == (0, None)


def number(unread: int | None, num: int = 1000) -> Metric:
    return Metric(value=50.0, ci95=None, num_samples=num, num_scored=num, num_unscored=0, num_unread=unread)


def test_shares() -> None:
    pope, mathvista = TASKS["pope"], TASKS["mathvista"]
    assert [worth_saying(number(unread)) for unread in (None, 0, 10, 11)] == [False, False, False, True]
    assert [why_not_comparable(pope, "kit", number(unread)) for unread in (None, 0, 50)] == [None] * 3
    assert why_not_comparable(pope, "kit", number(51)) == "not comparable: 51 answers need an extractor"
    assert why_not_comparable(pope, "strict", number(51)) == "not comparable: 51 answers could not be read"
    assert why_not_comparable(mathvista, "kit", number(0)) is None
    assert why_not_comparable(mathvista, "kit", number(1)) == "not comparable: 1 answer needs an extractor"


# --- what is shown


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    metrics = all_metrics()
    metrics["mathvista"]["overall"] = metric(90.0, num=1000) | {"num_unread": 928, "unread_bounds": [0.4, 93.2]}
    metrics["pope"]["f1"] = metric(95.0, num=1000) | {"num_unread": 20, "unread_bounds": [94.0, 96.0]}
    metrics["seed_image"]["overall"] = metric(95.0, num=1000) | {"num_unread": 3, "unread_bounds": [94.9, 95.2]}
    return write_run(tmp_path / "mine", metrics)


def test_tables_say_what_is_unread_and_compare_nothing_with_it(shown: Path) -> None:
    from reports.paper_tables import Plan

    plan = Plan(tuple(open_runs([shown])))
    table = main_table("2", plan)
    cells = {row.label: dict(zip((c.label for c in table.columns), row.cells, strict=True)) for row in table.rows}
    mine, beside = cells["mine"], cells["mine − AKI-4B (Ours)"]
    assert mine["MathV_mini"].number == "90.0 n.c."
    assert mine["MathV_mini"].notes[0] == (
        "N.c.: not comparable: 928 answers need an extractor. 928 of 1000 answers unread, counted as the protocol does"
        "; 0.4 if all were wrong, 93.2 if all were right."
    )
    assert (beside["MathV_mini"].value, beside["MathV_mini"].significant) == (None, None)
    assert "928 answers need an extractor" in beside["MathV_mini"].notes[0]
    assert mine["POPE"].number == "95.0"
    assert "20 of 1000 answers unread" in mine["POPE"].notes[0]
    assert beside["POPE"].significant
    assert mine["SEED_I"].notes == ()
    assert any("928 answers need an extractor" in notice for notice in table.notices)
    assert "n.c." in markdown.render(table)
    row = next(line for line in flat.to_csv([table]).splitlines() if ",mathvista,overall,kit,90.0," in line)
    assert ",1000,1000,928," in row


def test_the_model_card_says_it_and_is_not_published(shown: Path) -> None:
    opened = open_runs([shown])[0]
    notes = {each.entry.task: each.notes for each in card_results(opened)}
    assert "not comparable: 928 answers need an extractor" in notes["mathvista"]
    assert "20 of 1000 answers unread" in notes["pope"]
    assert "unread" not in notes["seed_image"]
    assert list(unfit(opened)) == ["mathvista is not comparable: 928 answers need an extractor"]


def test_folders_from_before_they_were_counted_still_open(tmp_path: Path) -> None:
    opened = open_runs([write_run(tmp_path / "old")])[0]
    found = opened.results["pope"].protocols["kit"]["f1"]
    assert (found.num_unread, found.unread_bounds) == (None, None)
    assert run_cell(opened.results["pope"], "f1").notes == ()


# --- a run


def go(tmp_path: Path, tasks: Sequence[Any], answer: Callable[[Any], str]) -> Any:
    tables = write_table(tmp_path / "tables")
    options = RunOptions(tasks=list(tasks), data=str(tables), out=tmp_path / "run", batch_size=4)
    return run(options, ScriptedPredictor(answer), Progress(quiet=True)).results


def test_scores_list_what_is_unread(tmp_path: Path) -> None:
    go(tmp_path, [TASK], lambda prompt: "<think>never ends" if prompt.index == "3" else f"answer to {prompt.index}")
    lines = [json.loads(line) for line in (tmp_path / "run/small/scores.jsonl").read_text().splitlines()]
    assert [(line["index"], line["value"]) for line in lines if line["reason"] == "unread_only_reasoning"] == [("3", 0)]
    metrics = json.loads((tmp_path / "run/small/metrics.json").read_text())
    found = metrics["protocols"]["kit"]["overall"]
    assert (found["num_unread"], found["num_unscored"], metrics["complete"]) == (1, 0, True)
    assert found["unread_bounds"] == pytest.approx([100 * 11 / 12, 100.0])


def test_the_terminal_says_it(tmp_path: Path) -> None:
    results = go(tmp_path, [TASK], lambda prompt: "<think>" if prompt.index == "3" else f"answer to {prompt.index}")
    console = Console(width=150, record=True)
    show_results(console, tmp_path, results)
    assert "not comparable: 1 answer could not be read" in console.export_text()


def test_a_task_whose_scoring_fails_takes_no_other_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def explode(*_: Any) -> list[Score]:
        raise OverflowError("cannot convert float infinity to integer")

    rule = ProtocolRule(score=explode, estimate=TASK.protocols["kit"].estimate)
    broken = replace(TASK, name="broken", protocols={"kit": rule})
    results = go(tmp_path, [broken, TASK], lambda prompt: f"answer to {prompt.index}")
    assert [result.failure for result in results] == ["OverflowError: cannot convert float infinity to integer", None]
    assert json.loads((tmp_path / "run/small/metrics.json").read_text())["complete"]
    assert not (tmp_path / "run/broken/metrics.json").exists()
    assert "in explode" in (tmp_path / "run/broken/scoring_failure.txt").read_text()
    show_results(Console(quiet=True), tmp_path / "run", results)
    assert explain_incomplete(tmp_path / "run", results, allow_partial=True) == 1
    said = capsys.readouterr().err
    assert "broken: scoring failed (OverflowError: cannot convert float infinity to integer)" in said
    assert "Traceback" not in said
    # Scored again without the fault, nothing of it is left.
    again = go(tmp_path, [replace(TASK, name="broken"), TASK], lambda prompt: f"answer to {prompt.index}")
    assert [result.failure for result in again] == [None, None]
    assert not (tmp_path / "run/broken/scoring_failure.txt").exists()
