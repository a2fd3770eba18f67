"""Checkpoints written while the training goes on: what they hold, when they count, and what becomes of faults."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from train_helpers import assert_same, machine, parts, sft, write_root
from transformers import TrainerCallback

from benchmarks.errors import UserError
from train.checkpoint import damage
from train.machine import Machine
from train.recipe import Ema
from train.run_stage import run_stage
from train.trainer import AkiTrainer
from train.writing import Writing

NO_ROOM = "No space left on device"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("world"))


def trained(root: Path, out: Path, trainer: Callable[..., AkiTrainer] = AkiTrainer, **settings: Any) -> None:
    model, processor = parts()
    stage = sft(steps=4, ema=Ema(decay=0.9))
    setting = machine(4, save_steps=1, **settings)
    run_stage(stage, model, processor, data_root=root, out=out, machine=setting, make_trainer=trainer)


@pytest.fixture(scope="module")
def at_once(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("at_once")
    trained(root, out, async_checkpoints=False)
    return out


def same_checkpoint(one: Path, other: Path) -> None:
    assert damage(other) is None
    names = {str(path.relative_to(one)) for path in one.rglob("*") if path.is_file()}
    assert names == {str(path.relative_to(other)) for path in other.rglob("*") if path.is_file()}
    assert_same(load_file(one / "model.safetensors"), load_file(other / "model.safetensors"))
    for name in ("optimizer/__0_0.distcp", "averages/__0_0.distcp", "scheduler.pt"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    first, second = (torch.load(path / "rng_state.pth", weights_only=False)["cpu"] for path in (one, other))
    assert torch.equal(first, second)


class Held(AkiTrainer):
    """Nothing is written before the weights have changed."""

    stepped: threading.Event

    def _write_weights(self, *args: Any) -> None:
        assert self.stepped.wait(60)
        super()._write_weights(*args)


def test_a_checkpoint_is_of_its_step_whenever_it_is_written(
    root: Path, at_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped = threading.Event()
    folders: list[tuple[int, list[str]]] = []
    write_data = FileSystemWriter.write_data

    def waiting(self: Any, *args: Any) -> Any:
        assert stepped.wait(60)
        return write_data(self, *args)

    class Watching(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            stepped.clear()
            folders.append((state.global_step, sorted(path.parent.name for path in tmp_path.glob("*/stage.json"))))

        def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            stepped.set()  # weights, moments and averages are others now, or will be

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == args.max_steps:
                stepped.set()
            else:
                stepped.clear()

    monkeypatch.setattr(FileSystemWriter, "write_data", waiting)

    def make(**kwargs: Any) -> AkiTrainer:
        made = Held(**kwargs)
        made.stepped = stepped
        made.add_callback(Watching())
        return made

    trained(root, tmp_path, make, keep_checkpoints=1)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-4"]
    assert folders[2] == (2, ["checkpoint-1"])  # the only one to keep, until the one that is being written is whole
    same_checkpoint(at_once / "checkpoint-4", tmp_path / "checkpoint-4")


def test_on_gpus_unless_told() -> None:
    assert Machine(micro_batch=1).writes_beside()
    assert not Machine(micro_batch=1, cpu=True).writes_beside()
    assert Machine(micro_batch=1, cpu=True, async_checkpoints=True).writes_beside()
    assert not Machine(micro_batch=1, async_checkpoints=False).writes_beside()


def test_what_is_kept(at_once: Path, tmp_path: Path) -> None:
    """Whole ones count. Those that were cut off go; a later one is another start's."""
    for number, whole in ((2, True), (5, True), (9, False), (10, True), (12, False), (30, False)):
        (tmp_path / f"checkpoint-{number}").mkdir()
        if whole:
            (tmp_path / f"checkpoint-{number}" / "stage.json").touch()
    (tmp_path / "evaluations").mkdir()
    Writing(keep=2).end(tmp_path / "checkpoint-12", {})
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint-10",
        "checkpoint-12",
        "checkpoint-30",
        "evaluations",
    }


def test_a_damaged_one_that_is_written_again_does_not_count_before_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-4" / "stage.json").write_text("{}")
    Writing().begin(tmp_path / "checkpoint-4")
    assert list((tmp_path / "checkpoint-4").iterdir()) == []


class Full(AkiTrainer):
    def _write_weights(self, folder: str, state: Any) -> None:
        if folder.endswith("-2"):
            raise OSError(28, NO_ROOM)
        super()._write_weights(folder, state)


def test_a_disk_that_is_full_ends_the_training_with_one_line(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"checkpoint-2 could not be written: OSError: .*{NO_ROOM}; the check"):
        trained(root, tmp_path, Full)
    assert damage(tmp_path / "checkpoint-1") is None
    assert not (tmp_path / "checkpoint-2" / "stage.json").exists()
    assert not (tmp_path / "checkpoint-4").exists()


def test_what_torch_writes_may_fail_as_well(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, NO_ROOM)

    monkeypatch.setattr(FileSystemWriter, "write_data", full)
    with pytest.raises(UserError, match=rf"checkpoint-1 could not be written: .*{NO_ROOM}") as lost:
        trained(root, tmp_path)
    assert "\n" not in str(lost.value)
    assert not list(tmp_path.glob("*/stage.json"))


def test_an_error_of_the_training_is_not_hidden_by_one_of_writing(capsys: pytest.CaptureFixture[str]) -> None:
    writing = Writing(beside=True)

    def fails() -> None:
        raise OSError(28, NO_ROOM)

    def train() -> None:
        with writing:
            writing.begin(Path("checkpoint-7"))
            writing.run(fails)
            raise FloatingPointError("the gradient's norm is nan")

    with pytest.raises(FloatingPointError, match="nan"):
        train()
    assert "checkpoint-7 could not be written" in capsys.readouterr().err
