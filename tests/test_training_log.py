"""`aki-eval report TRAINING`: what was logged, of trainings that are done, at work, or cut off."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from html_helpers import HOSTILE, write_answered_run

from benchmarks.errors import UserError
from reports.cli import report
from reports.formats import Output
from reports.pages.training import Scale, paths, ticks
from reports.training_log import is_training, read_training, training_figure, training_table
from reports.training_report import report_trainings


def entries(steps: int = 40) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [{"step": 0, "validation_loss": 5.0, "validation_loss/gqa": 5.5}]
    for step in range(1, steps + 1):
        made.append({"loss": 4.0 / step, "learning_rate": 1e-4, "grad_norm": float(step), "step": step, "skipped": 2.0})
        made[-1]["tokens_per_second"] = 1000.0 + step
        if step % 20 == 0:
            made.append({"step": step, "validation_loss": 1.0 + (step - 20) / 100, "answer/gqa/0": "-> red"})
    return made


@pytest.fixture
def training(tmp_path: Path) -> Path:
    folder = tmp_path / "mma" / "sft"
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries()) + '{"loss": 0.')
    return tmp_path / "mma"


def test_the_table(training: Path) -> None:
    assert is_training(training)
    assert is_training(training / "sft")
    (stage,) = read_training(training)
    table = training_table(training, [stage])
    values = [cell.value for cell in table.rows[0].cells]
    losses = [4.0 / step for step in range(1, 41)]
    expected = [40, sum(losses[:10]) / 10, sum(losses[-10:]) / 10, 5.0, 1.0, 1.2, 20, 1e-4, 20.5, 40.0, 1020.5]
    assert values == pytest.approx(expected)
    assert table.rows[0].cells[7].number == "1.0e-04"
    assert "sft: 1 lines are no entries" in table.remarks  # a line half written
    assert "sft: 2 records skipped" in table.remarks


def test_the_curves_show_every_point(training: Path) -> None:
    axes = training_figure(read_training(training)).axes
    assert [axis.get_title() for axis in axes] == ["sft: loss", "sft: learning rate", "sft: gradient norm"]
    training_line, held_out = axes[0].get_lines()
    assert len(training_line.get_xdata()) == 40
    assert list(held_out.get_ydata()) == [5.0, 1.0, 1.2]


def test_the_command(training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([training], "term,md,csv,json,figures", tmp_path / "o")
    assert "held out" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "o").rglob("*") if path.is_file()} == {
        "tables.md",
        "tables.csv",
        "tables.json",
        "training-mma.png",
        "training-mma.pdf",
    }


def test_the_page(training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Curves, evaluated checkpoints and answers; hostile answers are text, and nothing comes from elsewhere."""
    for step in (10, 20):
        shutil.rmtree(write_answered_run(training / "sft" / "evaluations" / f"step-{step}", step) / "pope")
    broken = training / "sft" / "evaluations" / "step-40"
    broken.mkdir()
    more = [{"step": 40, "answer/gqa/0": f"-> {HOSTILE}"}, {"step": 41, "loss": math.nan}, {"step": 42, "loss": 0.1}]
    with (training / "sft" / "log.jsonl").open("a") as file:
        file.write("\n" + "".join(json.dumps(entry) + "\n" for entry in more))
    for _ in range(2):  # a report of trainings may be replaced
        report([training], "html", tmp_path / "o")
    page = (tmp_path / "o" / "html" / "index.html").read_text("utf-8")
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    assert captions[:4] == ["loss", "learning rate", "gradient norm", "tokens a second"]
    assert captions[4:] == ["RealWorldQA"]
    assert (
        'aria-label="loss: training 4 at step 1, 0.1 at step 42; lowest 0.1 (step 40), highest 4 (step 1); held '
        in page
    )
    assert "training 0.1 (step 42), held out 1.2 (step 40)" not in page  # each strip says what was logged in it
    assert "1 values are no numbers" in page
    assert page.count('<polyline class="curve"') == 7  # a loss in two parts, what is held out, three more, a score
    assert len(re.findall(r"<title>step \d\d: [\d.]+ ", page)) == 2
    assert "An evaluation is left out: step-40: " in page
    assert "<script>window.hacked" not in page
    assert html.escape(HOSTILE, quote=False)[:40] in page
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    (tmp_path / "mine" / "html").mkdir(parents=True)
    (tmp_path / "mine" / "html" / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds files that are no report of ours"):
        report([training], "html", tmp_path / "mine")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (1e-4, 1e-3, [0.0, 0.00025, 0.0005, 0.00075, 0.001]),
        (3.0, 3.0, [2.8, 2.9, 3.0, 3.1, 3.2]),
        (-7.0, 12.0, [-10.0, -5.0, 0.0, 5.0, 10.0, 15.0]),
        (0.0, 0.0, [-0.5, -0.25, 0.0, 0.25, 0.5]),
    ],
)
def test_axes_have_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_long_curves_keep_what_can_be_seen() -> None:
    """The first, lowest, highest and last of what shares a pixel: spikes stay."""
    points = [(float(step), 1.0) for step in range(50_000)]
    points[23_456] = (23_456.0, 9.0)
    points[40_000] = (40_000.0, math.inf)
    scale = Scale(0.0, 50_000.0, 0.0, 10.0)
    first, second = (path.split() for path in paths(points, scale))
    assert len(first) + len(second) < 4 * 402
    assert f"{scale.x(23_456):g},{scale.y(9.0):g}" in first
    assert second[-1] == f"{scale.x(49_999):g},{scale.y(1.0):g}"


def test_what_trainings_do_not_have(training: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--format model-card: trainings have term, md, tex, csv, json, html, figures"):
        report_trainings([training], ["model-card"], Output(tmp_path))
    empty = tmp_path / "new" / "sft"
    empty.mkdir(parents=True)
    (empty / "log.jsonl").touch()
    with pytest.raises(UserError, match="nothing was logged yet"):
        read_training(empty.parent)


def test_a_run_is_no_training(training: Path) -> None:
    (training / "run.json").write_text("{}")
    assert not is_training(training)
    assert not is_training(training / "none")


def test_tensorboard_alone_is_read(tmp_path: Path) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path / "sft" / "runs" / "today"))
    for step in range(1, 6):
        values = [Summary.Value(tag=f"train/{name}", simple_value=1.0 / step) for name in ("loss", "grad_norm")]
        writer.add_event(Event(wall_time=step, step=step, summary=Summary(value=values)))
    writer.close()
    (stage,) = read_training(tmp_path)
    assert stage.name == "sft/runs/today"
    assert [step for step, _ in stage.points("loss")] == [1, 2, 3, 4, 5]
    assert stage.points("grad_norm")[3][1] == pytest.approx(0.25)
