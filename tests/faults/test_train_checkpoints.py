"""A damaged checkpoint never resumes in silence; a second start in one folder is one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from train_helpers import machine, parts, sft, write_root

from benchmarks.errors import UserError
from train.checkpoint import damage
from train.commands.options import alone_in
from train.run_recipe import last_checkpoint
from train.run_stage import run_stage


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stage")
    model, processor = parts()
    root = write_root(tmp_path_factory.mktemp("world"))
    run_stage(sft(steps=4), model, processor, data_root=root, out=out, machine=machine(2, save_steps=2))
    return out


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "a flipped bit": flip,
    "cut short": cut,
    "emptied": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_file_counts(kind: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = trained / "checkpoint-4"
    names = sorted(str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file())
    optimizer = {"optimizer/.metadata", "optimizer/__0_0.distcp"}
    assert {*optimizer, "scheduler.pt", "model.safetensors", "trainer_state.json", "stage.json"} <= set(names)
    for name in names:
        if (name, kind) == ("stage.json", "a flipped bit"):
            continue  # may be whitespace
        shutil.copytree(trained, tmp_path / "copy")
        DAMAGES[kind](tmp_path / "copy" / "checkpoint-4" / name)
        assert last_checkpoint(tmp_path / "copy") == tmp_path / "copy" / "checkpoint-2"
        said = capsys.readouterr().err
        assert "checkpoint-4 is passed over" in said
        assert name in said or "cut off" in said
        shutil.rmtree(tmp_path / "copy")


def test_the_only_checkpoint_damaged_is_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "checkpoint-4", tmp_path / "checkpoint-4")
    assert damage(tmp_path / "checkpoint-4") is None
    flip(tmp_path / "checkpoint-4/optimizer/__0_0.distcp")
    with pytest.raises(UserError, match=r"__0_0\.distcp is not what was written, and there is no earlier one"):
        last_checkpoint(tmp_path)


def test_a_damaged_name_of_the_checksums_is_no_way_around_them(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "checkpoint-4", tmp_path / "checkpoint-4")
    manifest = tmp_path / "checkpoint-4/stage.json"
    manifest.write_text(manifest.read_text().replace('"files"', '"filer"'))
    assert damage(manifest.parent) == "stage.json is not what was written"


def test_a_folder_without_checksums_still_resumes(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "checkpoint-4", tmp_path / "checkpoint-4")
    (tmp_path / "checkpoint-4/stage.json").write_text('{"model": {}, "stage": {}}')
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-4"


def test_a_second_start_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FileLock(tmp_path / ".aki-train.lock"):
        with pytest.raises(UserError, match="another aki-train is at work there"), alone_in(tmp_path):
            pass
        monkeypatch.setenv("RANK", "1")
        with alone_in(tmp_path):  # comes in behind its first
            pass
    monkeypatch.setenv("RANK", "0")
    with alone_in(tmp_path):
        pass
