"""The answer on one screen: 20 lines of 80 columns, and nothing that must be known left out of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reports_helpers import all_metrics, edit_json, metric, write_lines, write_run
from rich.cells import cell_len

from benchmarks.errors import UserError
from benchmarks.results.folder import open_runs
from reports.cli import report
from reports.model_card import results
from reports.notices import notices
from reports.paper_tables import Plan
from reports.summary import HEIGHT, WIDTH, _with_interval, summary
from reports.tables import Cell


def lines_of(*folders: Path, **options: Any) -> list[str]:
    return [line.plain for line in summary(Plan(tuple(open_runs(folders))), **options)]


def line_about(lines: list[str], label: str) -> list[str]:
    (found,) = (line for line in lines if line.startswith(label + " "))
    return found.removeprefix(label).split()


@pytest.fixture(autouse=True)
def short_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def with_metrics(folder: str, change: Callable[[dict[str, dict[str, Any]]], None], **extra: Any) -> Path:
    metrics = all_metrics()
    change(metrics)
    return write_run(Path(folder), metrics, **extra)


def test_one_run_is_twelve_columns_beside_the_paper_in_twenty_lines() -> None:
    lines = lines_of(write_run(Path("ours")))
    assert len(lines) <= HEIGHT
    assert max(map(cell_len, lines)) <= WIDTH
    # value, interval, reading, unscored, unread (not counted in this folder), the paper's number, the difference
    assert line_about(lines, "POPE") == ["50.0", "48.0", "to", "52.0", "kit", "0", "–", "86.9", "-36.9▼"]
    assert line_about(lines, "CV-Bench 2D")[4] == "official"
    assert lines[-2:] == ["next: aki-eval view ours", "      aki-eval report ours --all   (or --table 7)"]


@pytest.mark.parametrize("model", [{"kind": "openai"}, {"kind": "mine", "mask": "not verified"}])
def test_a_served_models_mask_is_not_verified_and_every_view_says_so(model: dict[str, str]) -> None:
    folder = write_run(Path("served"))
    assert not any("mask not verified" in line for line in lines_of(folder))
    edit_json(folder / "run.json", model={"name": "served", **model})
    assert "a server answered: mask not verified" in lines_of(folder)
    (run,) = runs = open_runs([folder])
    assert "served: a server answered; its attention mask was not verified, as no request shows it." in notices(runs)
    assert all("mask not verified" in each.notes for each in results(run))


def test_of_several_runs_the_numbers_stand_side_by_side() -> None:
    folders = [write_run(Path(f"run{number}"), all_metrics(50.0 + number)) for number in range(6)]
    lines = lines_of(*folders)
    assert len(lines) <= HEIGHT
    assert line_about(lines, "POPE") == ["50.0", "±2.0", "53.0", "±2.0", "54.0", "±2.0", "55.0", "±2.0", "86.9"]
    assert lines[:4] == ["A run0   (2 more: --all)", "B run3", "C run4", "D run5"]


def test_the_strict_reading_of_cv_bench_says_what_the_kit_reads() -> None:
    folder = with_metrics("chatty", lambda metrics: metrics["cv_bench"].update({"2d": metric(2.3), "3d": metric(1.0)}))
    file = folder / "cv_bench" / "metrics.json"
    official = {name: metric(value) for name, value in (("2d", 2.3), ("3d", 1.0), ("combined", 1.6))}
    kit = {name: metric(value) for name, value in (("2d", 53.0), ("3d", 48.2))}
    edit_json(file, protocols={"official": official, "kit": kit})
    lines = lines_of(folder)
    said = "CV-Bench: official counts an exact letter only; kit reads 2D 53.0, 3D 48.2 of the same answers"
    assert said in " ".join(line.strip() for line in lines)
    assert len(lines) <= HEIGHT


def test_readings_that_agree_within_the_interval_are_not_remarked_upon() -> None:
    folder = write_run(Path("plain"))
    edit_json(folder / "pope" / "metrics.json", protocols={"kit": {"f1": metric(50.0)}, "strict": {"f1": metric(51.9)}})
    assert not any("reads" in line for line in lines_of(folder))


def test_what_is_unscored_and_unread_is_counted_and_incomparable_numbers_get_no_difference() -> None:
    def change(metrics: dict[str, dict[str, Any]]) -> None:
        metrics["pope"]["f1"] = {**metric(50.0, unscored=3), "num_unread": 20}

    lines = lines_of(with_metrics("holes", change, complete=False))
    assert line_about(lines, "POPE")[-4:] == ["3", "20", "86.9", "n.c."]
    assert any(line.startswith("POPE: not comparable: 20 answers need an extractor") for line in lines)
    assert any(line.startswith("incomplete: ") for line in lines)
    assert len(lines) <= HEIGHT


def test_several_incomparable_columns_leave_room_for_the_judge() -> None:
    def change(metrics: dict[str, dict[str, Any]]) -> None:
        for task, name, number in (("pope", "f1", 20), ("mmmu", "val", 26)):
            metrics[task][name] = {**metric(50.0), "num_unread": number}

    folder = with_metrics("chatty", change, source="toy")
    edit_json(folder / "mm_vet" / "metrics.json", judge={"name": "gpt-x", "requests_paid": 2, "cost_usd": 0.1})
    lines = lines_of(folder)
    assert "not comparable: MMMU 26 need an extractor, POPE 20 need an extractor" in lines
    assert "judge: gpt-x, $0.10 for 2 requests" in lines


def test_the_toy_world_has_no_difference_to_the_paper() -> None:
    lines = lines_of(write_run(Path("toy"), source="toy"))
    assert line_about(lines, "MMB")[-1] == "n.c."
    assert "toy world: compare with nothing but runs of the toy world" in lines


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"requests_paid": 164, "cost_usd": 0.43}, "judge: gpt-x, $0.43 for 164 requests"),
        ({"requests_paid": 1, "cost_usd": None}, "judge: gpt-x, 1 request, price not known"),
        ({"requests_paid": 0, "cost_usd": 0.0}, "judge: gpt-x"),
    ],
)
def test_the_judge_has_a_name_and_a_price(record: dict[str, Any], said: str) -> None:
    folder = write_run(Path("judged"))
    edit_json(folder / "mm_vet" / "metrics.json", judge={"name": "gpt-x", **record})
    assert said in lines_of(folder)


def test_remarks_that_do_not_fit_are_counted() -> None:
    folders = [with_metrics(f"run{number}", lambda _: None, complete=False, source="toy") for number in range(4)]
    edit_json(folders[0] / "mm_vet" / "metrics.json", judge={"name": "gpt-x"})
    edit_json(folders[0] / "llava_bench" / "metrics.json", judge={"name": "gpt-y"})
    lines = lines_of(*folders)
    assert len(lines) <= HEIGHT
    assert any("more remark" in line for line in lines)


def test_a_task_whose_scoring_failed_has_a_line() -> None:
    metrics = all_metrics()
    del metrics["pope"]
    lines = lines_of(write_run(Path("broken"), metrics), failed=["pope"])
    assert line_about(lines, "POPE")[2] == "failed"
    assert any(line.startswith("scoring failed: pope") for line in lines)


def test_report_is_one_screen_until_all_or_some_tables_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(Path("ours"))
    report([folder])
    assert len(capsys.readouterr().out.splitlines()) <= HEIGHT
    report([folder], everything=True)
    everything = capsys.readouterr().out
    assert "Table 1." in everything
    assert "Table 15." in everything
    report([folder], numbers="7,15")
    some = capsys.readouterr().out
    assert "Table 7." in some
    assert "Table 15." in some
    assert "Table 1." not in some
    with pytest.raises(UserError, match="--table '3': expected some of 1, 2, 7"):
        report([folder], numbers="3")


def test_report_without_a_run_says_which_tables_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    report([])
    said = capsys.readouterr().out
    assert "Table 12. MathVista by skill and task" in said
    assert len(said.splitlines()) <= HEIGHT


def test_of_a_pattern_what_is_no_run_is_named_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    folders = [write_run(Path(f"runs/{name}"), all_metrics(value)) for name, value in (("a", 50.0), ("b", 60.0))]
    Path("runs/notes").mkdir()
    report([*folders, Path("runs/notes")])
    said = capsys.readouterr()
    assert said.err == "aki-eval: left out, no run folders: runs/notes\n"
    assert said.out.splitlines()[:2] == ["A a", "B b"]
    with pytest.raises(UserError, match="runs/notes is no run folder"):
        report([folders[0], Path("runs/notes")])


def test_bounds_are_set_as_close_as_the_column_is_wide() -> None:
    cell = Cell(value=98.8, ci95=(97.04, 99.42))
    assert _with_interval(cell, 18) == "98.8 97.0..99.4"
    assert _with_interval(cell, 15) == "98.8 97..100"  # never narrower than it is
    assert _with_interval(cell, 10) == "98.8 (--all)"
    marked = Cell(value=98.8, ci95=(97.04, 99.42), suffix=" n.c.")
    assert _with_interval(marked, 20) == "98.8 97..100 n.c."
    assert _with_interval(marked, 15) == "98.8 n.c."


def answered(folder: Path, task: str, cut: int, of: int = 200) -> None:
    lines = [
        {"index": str(at), "prompt": "?", "prediction": "A", "finish_reason": "length" if at < cut else "stop"}
        for at in range(of)
    ]
    write_lines(folder / task / "predictions.jsonl", lines)


def test_answers_cut_at_the_token_limit_are_said_in_summary_and_tables() -> None:
    folder = write_run(Path("ours"))
    answered(folder, "pope", 2)
    assert not any("token limit" in line for line in lines_of(folder))
    answered(folder, "pope", 3)
    (line,) = (line for line in lines_of(folder) if "token limit" in line)
    assert line == "answers cut off at the token limit: POPE 3 of 200"
    for task in ("mme", "mmmu", "mm_vet", "seed_image"):
        answered(folder, task, 200)
    lines = lines_of(folder)
    assert len(lines) <= HEIGHT
    said = "answers cut off at the token limit: 5 benchmarks, most in MME 200 of 200"
    assert said in lines
    assert f"ours: {said}." in notices(open_runs([folder]))


def test_what_many_runs_have_alike_is_said_once() -> None:
    folders = [write_run(Path(f"run{number}")) for number in range(5)]
    for number, folder in enumerate(folders):
        edit_json(folder / "run.json", model={"name": "served", "kind": "openai"})
        answered(folder, "pope", 50 + number)
    served = "a server answered; its attention mask was not verified, as no request shows it."
    cut = "answers cut off at the token limit: POPE"
    few = notices(open_runs(folders[:3]))
    assert [f"run{number}: {cut} {50 + number} of 200." in few for number in range(3)] == [True] * 3
    many = notices(open_runs(folders))
    assert f"all 5 runs: {served}" in many
    assert f"all 5 runs: {cut} 50 to 54 of 200." in many
    assert not any(line.startswith("run") for line in many)
    answered(folders[2], "pope", 0)
    assert f"4 of 5 runs, run0 the first: {cut} 50 to 54 of 200." in notices(open_runs(folders))
    assert not any(
        "token limit" in line for line in notices(open_runs(folders), cuts_shown=["run0", "run1", "run3", "run4"])
    )


def test_runs_side_by_side_bear_the_marks_of_one() -> None:
    def unread(metrics: dict[str, dict[str, Any]]) -> None:
        metrics["pope"]["f1"]["num_unread"] = 50

    first, second = with_metrics("first", unread), with_metrics("second", unread)
    alone = line_about(lines_of(first), "POPE")
    assert alone[-1] == "n.c."
    together = line_about(lines_of(first, second), "POPE")
    assert together.count("n.c.") == 3
    assert "86.9" not in together
    other = write_run(Path("other"))
    assert line_about(lines_of(first, other), "POPE")[-1] == "86.9"
