"""A report that is cut off while it is written: the earlier one lives until the new one is whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fault_helpers import kills
from html_helpers import write_answered_run
from reports_helpers import plan

from benchmarks.results.folder import open_runs
from reports.pages import write_site


def contents(site: Path) -> dict[str, bytes]:
    return {str(path.relative_to(site)): path.read_bytes() for path in site.rglob("*") if path.is_file()}


def write(run: Path, out: Path) -> Path:
    return write_site(plan(open_runs([run])), out).parent


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [write_answered_run(tmp_path / name, seed) for seed, name in enumerate(("first", "second"))]


def test_killed_at_every_write_the_earlier_report_lives(runs: list[Path], tmp_path: Path) -> None:
    old, new = (contents(write(run, tmp_path / name)) for run, name in zip(runs, ("old", "new"), strict=True))
    folder = tmp_path / "out"
    write(runs[0], folder / "html")
    (folder / "html/notes.txt").write_text("mine")
    mine = {"notes.txt": b"mine"}
    shutil.copytree(folder, tmp_path / "before")
    num_kills = 0
    for _ in kills(lambda: write(runs[1], folder / "html"), folder):
        num_kills += 1
        there = folder / "html" if (folder / "html").is_dir() else folder / ".html.old"
        left = contents(there)
        assert left in (old | mine, new | mine, new), "neither the earlier report nor the new one"
        if num_kills % 10 == 1 or left != old | mine:
            assert contents(write(runs[1], folder / "html")) == new | mine
            assert [path.name for path in folder.iterdir()] == ["html"]
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "before", folder)
    assert num_kills > 20


def test_a_first_report_that_was_cut_off_does_not_lock_its_folder(runs: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for point in kills(lambda: write(runs[0], folder / "html"), folder):
        if point % 8 == 1:
            write(runs[0], folder / "html")
        shutil.rmtree(folder, ignore_errors=True)


def test_an_error_leaves_the_earlier_report(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = write(runs[0], tmp_path / "html")
    before = contents(site)
    monkeypatch.setattr("reports.pages.build._pages", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(runs[1], tmp_path / "html")
    assert contents(site) == before
    assert not list(tmp_path.glob(".html*"))
