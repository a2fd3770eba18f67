"""Figures: what is drawn is what was measured, the same way every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from PIL import Image
from reports_helpers import all_metrics, metric, plan, write_run

from benchmarks.results.folder import open_runs
from reports.attention_figures import (
    CAUSAL,
    HIDDEN,
    LOCKED,
    UNLOCKED,
    Heat,
    Span,
    compared,
    heat_figure,
    mask_figure,
    save,
)
from reports.chart_data import breakdown
from reports.chart_plots import bars, profile, radar
from reports.cli import report
from reports.paper_tables import Plan
from reports.styles import STYLES


@pytest.fixture
def one_run(tmp_path: Path) -> Plan:
    metrics = all_metrics()
    metrics["pope"]["f1"], metrics["mme"]["perception"] = metric(88.0), metric(1500.0, unit="points")
    return plan(open_runs([write_run(tmp_path / "mine", metrics)]))


def test_bars_have_the_papers_numbers_and_the_runs(one_run: Plan) -> None:
    figure = bars(one_run)
    panels = {axis.get_title(): axis for axis in figure.axes}
    assert len(panels) == 12
    widths = [patch.get_width() for patch in panels["POPE"].patches]
    assert len(widths) == 12
    assert widths[8] == 86.9
    assert widths[-1] == 88.0
    assert len(panels["MMB dev"].patches) == 12 - 3  # three peers print a dash


def test_radar_is_per_cent_of_the_most_possible(one_run: Plan) -> None:
    lines = radar(one_run).axes[0].lines
    assert len(lines) == 2
    paper_line, run_line = (np.asarray(line.get_ydata(), dtype=float) for line in lines)
    assert paper_line[0] == pytest.approx(1491.9 / 20, abs=0.01)
    assert run_line[0] == pytest.approx(75.0)
    assert run_line[7] == pytest.approx(88.0)
    assert run_line[0] == run_line[-1]


def test_profile_shows_intervals(one_run: Plan) -> None:
    axis = profile(breakdown("14", one_run), "MM-Vet", one_run).axes[0]
    spans = [line.get_xdata() for line in axis.lines if len(line.get_xdata()) == 2]
    assert [tuple(span) for span in spans] == [(48.0, 52.0)] * 7


def test_the_legend_draws_with_the_figures_own_marks(tmp_path: Path) -> None:
    """Runs, the paper's row and its other rows: form, fill and edge of each mark in the plot stand in the legend."""
    runs = open_runs([write_run(tmp_path / "one"), write_run(tmp_path / "two")])
    drawn_plan = plan(runs)
    figure = profile(breakdown("7", drawn_plan), "MME", drawn_plan)
    drawn = {look(line) for line in figure.axes[0].lines}
    (legend,) = figure.legends
    shown = {
        look(line) for line in legend.findobj(Line2D) if line.get_marker() not in ("", "None") or len(line.get_xdata())
    }
    assert drawn <= shown
    assert [text.get_text() for text in legend.get_texts()] == [
        "one",
        "two",
        "AKI-4B, as printed",
        "other rows of the paper",
    ]


def look(line: Line2D) -> tuple[object, ...]:
    return (
        line.get_marker(),
        to_hex(line.get_color()),
        to_hex(line.get_markeredgecolor()),
        line.get_linestyle(),
        line.get_alpha(),
    )


def test_a_venues_style_has_its_width_its_fonts_and_no_title(tmp_path: Path) -> None:
    plan_ = plan(open_runs([write_run(tmp_path / "mine")]))
    for name, width in (("neurips", 5.5), ("cvpr", 6.875)):
        figure = profile(breakdown("7", plan_), "MME", plan_, STYLES[name])
        assert figure.get_size_inches()[0] == pytest.approx(width)
        assert figure.get_suptitle() == ""
        sizes = [label.get_fontsize() for label in figure.axes[0].get_yticklabels()]
        assert min(sizes) >= 5.5
    assert profile(breakdown("7", plan_), "MME", plan_).get_suptitle() == "MME"


def test_toy_figures_carry_the_warning(tmp_path: Path) -> None:
    figure = radar(plan(open_runs([write_run(tmp_path / "demo", source="toy")])))
    assert "not comparable" in figure.get_suptitle()


def test_figures_are_written_and_stay_the_same(one_run: Plan, tmp_path: Path) -> None:
    drawn = profile(breakdown("10", one_run), "LLaVA-Bench", one_run)
    first = {path.name: path.read_bytes() for path in save(drawn, tmp_path / "first", "profile")}
    second = {path.name: path.read_bytes() for path in save(drawn, tmp_path / "second", "profile")}
    assert set(first) == {"profile.png", "profile.svg", "profile.pdf"}
    assert first == second


def test_figures_are_a_format(tmp_path: Path) -> None:
    run = write_run(tmp_path / "mine", {"mm_vet": {"overall": metric(40.0)}})
    report([run], formats="figures", out=tmp_path / "out")
    names = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert names == {
        f"{name}.{kind}"
        for name in ("table2_bars", "table2_radar", "table14_profile")
        for kind in ("png", "svg", "pdf")
    }


def test_mask_is_told_apart_from_causal_order() -> None:
    mask = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 1]], dtype=bool)
    assert compared(mask).tolist() == [[CAUSAL, UNLOCKED, HIDDEN], [LOCKED, CAUSAL, HIDDEN], [CAUSAL, CAUSAL, CAUSAL]]


def test_mask_figure_draws_each_kind_with_its_spans() -> None:
    masks = {"causal": np.tri(6, dtype=bool), "mma": np.tri(6, dtype=bool) | (np.arange(6) == 3)}
    figure = mask_figure(masks, [Span("image", 0, 2), Span("question", 2, 6)])
    assert [axis.get_title() for axis in figure.axes] == ["causal", "mma"]
    drawn = figure.axes[1].images[0].get_array()
    assert drawn is not None
    assert drawn[0, 3] == UNLOCKED
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["image", "question"]


def test_heat_lies_where_the_grid_says() -> None:
    grid = np.zeros((4, 4))
    grid[0, 3] = 1.0
    figure = heat_figure(Image.new("RGB", (40, 20)), [Heat("$red$", 0.125, grid)], "title")
    assert figure.axes[1].get_title() == "$red$\n12.5 %"
    drawn = figure.axes[1].images[1].get_array()
    assert drawn is not None
    assert drawn.shape == (20, 40)
    assert np.unravel_index(int(np.argmax(drawn)), drawn.shape)[0] < 5
    assert drawn[:, :20].max() < 0.01
