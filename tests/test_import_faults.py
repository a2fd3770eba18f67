"""An import killed at any of its writes: it goes on to the very same end, and nobody else's answers slip in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fault_helpers import kills

from aki_eval.commands.import_ import command
from benchmarks.data.load import load_samples
from benchmarks.errors import UserError
from benchmarks.results.store import RunStore
from benchmarks.tasks import TASKS
from benchmarks.toy_world import ensure_tables

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def answers(path: Path, task: str, text: str, keep: int | None = None) -> Path:
    """A file in which every question (or the first `keep`) is answered with `text`."""
    samples = load_samples(TASKS[task], ensure_tables())
    path.write_text("".join(json.dumps({"index": s.index, "prediction": text}) + "\n" for s in samples[:keep]))
    return path


def take(path: Path, out: Path, **options: Any) -> int:
    return command(
        bench="real_world_qa", predictions=[path], out=out, data="toy", name=path.stem, allow_partial=True, **options
    )


def content(folder: Path) -> dict[str, str]:
    """Every file but locks and run.json's times, by its path."""
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.glob("*/*.json*") if path.is_file()}
    return {name: text for name, text in files.items() if not name.startswith(".")}


def test_killed_at_every_write_it_goes_on_and_no_other_import_is_let_in(tmp_path: Path) -> None:
    mine = answers(tmp_path / "mine.jsonl", "real_world_qa", "A")
    partial = answers(tmp_path / "other.jsonl", "real_world_qa", "B", keep=3)
    out = tmp_path / "run"
    take(mine, tmp_path / "undisturbed")
    num_kills = num_refused = 0
    for _ in kills(lambda: take(mine, out), tmp_path):
        num_kills += 1
        num_refused += _is_refused(partial, out, tmp_path / "copy")
        take(mine, out)
        assert content(out) == content(tmp_path / "undisturbed")
        for folder in (out, tmp_path / "copy"):
            shutil.rmtree(folder, ignore_errors=True)
    assert num_kills > 15
    assert num_refused > 8


def _is_refused(path: Path, out: Path, copy: Path) -> bool:
    """Whether another import is refused in a copy of `out`; where it is let in, its own answers alone are there."""
    if out.exists():
        shutil.copytree(out, copy)
    owned = (out / "run.json").exists()
    if owned:
        with pytest.raises(UserError, match="holds another run: its model is 'mine'"):
            take(path, copy)
    else:
        take(path, copy)
        assert {found.text for found in RunStore(copy).predictions("real_world_qa").values()} == {"B"}
    return owned


def test_a_full_disk_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = answers(tmp_path / "mine.jsonl", "real_world_qa", "A")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("benchmarks.results.store._to_lines", full)
        with pytest.raises(OSError, match="No space"):
            take(mine, tmp_path / "new")
        assert not (tmp_path / "new").exists()
    take(mine, tmp_path / "run")
    before = content(tmp_path / "run"), (tmp_path / "run/run.json").read_text()
    other = answers(tmp_path / "pope.jsonl", "pope", "Yes")
    with monkeypatch.context() as patch:
        patch.setattr("benchmarks.results.store._to_lines", full)
        with pytest.raises(OSError, match="No space"):
            command(bench="pope", predictions=[other], out=tmp_path / "run", data="toy", name="mine")
    assert (content(tmp_path / "run"), (tmp_path / "run/run.json").read_text()) == before


def test_answers_of_unknown_origin_are_refused(tmp_path: Path) -> None:
    mine = answers(tmp_path / "mine.jsonl", "real_world_qa", "A")
    out = tmp_path / "run"
    take(mine, out)
    lines = (out / "real_world_qa/predictions.jsonl").read_text()
    (out / "pope").mkdir()
    (out / "pope/predictions.jsonl").write_text(lines)
    with pytest.raises(UserError, match=r"pope.predictions\.jsonl holds predictions but run\.json does not say whose"):
        command(
            bench="pope", predictions=[answers(tmp_path / "p.jsonl", "pope", "Yes")], out=out, data="toy", name="mine"
        )
    shutil.rmtree(out / "pope")
    (out / "real_world_qa/predictions.rank1.jsonl").write_text(lines.replace('"run": "', '"run": "0'))
    with pytest.raises(UserError, match=r"rank1\.jsonl, line 1, is an answer of another run"):
        RunStore(out).predictions("real_world_qa")
    (out / "run.json").unlink()
    with pytest.raises(UserError, match=r"holds predictions but no run\.json says whose"):
        take(mine, out)
    with pytest.raises(UserError, match=r"is no run folder .* nothing in it is deleted"):
        take(mine, out, fresh=True)
    assert (out / "real_world_qa/scores.jsonl").exists()
