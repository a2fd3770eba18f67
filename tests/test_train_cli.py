"""`aki-train`: whatever is misused ends in one line and exit code 2."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from train_helpers import pretrain, sft, write_root

from benchmarks.errors import UserError
from train.cli import main
from train.commands import options
from train.machine import Machine
from train.plan import check_machine
from train.recipe import ModelChoice, Recipe


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "aki_4b", "--devices", "0"], "'--devices'"),
        (["plan", "aki_4b", "--mfu", "0"], "'--mfu'"),
        (["run", "mma", "--bogus"], "No such option: --bogus"),
        (["run", "nope", "--data", ".", "--out", "y"], "recipe 'nope': neither a file nor one of aki_4b"),
        (["toy"], "Missing option '--out'"),
        (["toy", "--out", "x", "--attention", "MMA"], "'MMA', expected one of mma, causal, cca"),
        (["run", "mma", "--data", ".", "--out", "y", "--log", "paper"], "'paper', expected one of tensorboard, wandb"),
        (["data", "show", "--data", ".", "--out", "y", "--image-order", "both"], "'image_first', 'text_first'"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_misuse_is_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["aki-train", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    shown = capsys.readouterr().err
    assert stop.value.code == 2
    assert shown.startswith("aki-train: ")
    assert message in shown
    assert shown.count("\n") == 1


def test_nothing_foreign_is_printed_as_it_came(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["aki-train", "data", "check", "--data", str(tmp_path / "\x1b[31mred")])
    with pytest.raises(SystemExit):
        main()
    options.say("\x1b[2J")
    shown = capsys.readouterr()
    assert "\x1b" not in shown.err + shown.out
    assert "\\x1b[31mred: no such folder" in shown.err
    assert shown.out == "\\x1b[2J\n"


def test_a_logger_that_is_not_installed_is_found_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(options, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["aki-train", "run", "mma", "--data", ".", "--out", "y", "--log", "wandb"])
    with pytest.raises(SystemExit):
        main()
    assert "wandb is not installed; pip install wandb" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"), [([], None), (["--cpu"], None), (["--no-gradient-checkpointing"], False)]
)
@pytest.mark.parametrize("verb", ["run", "pretrain", "sft"])
def test_the_three_verbs_take_the_same_machine(
    verb: str, arguments: list[str], expected: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[object, ...]] = []
    module = importlib.import_module(f"train.commands.{verb}")
    monkeypatch.setattr(module, "run_stages", lambda *all, only=None: given.append((*all, only)))
    monkeypatch.setattr(sys, "argv", ["aki-train", verb, "mma", "--data", ".", "--out", "o", "--workers=0", *arguments])
    with pytest.raises(SystemExit):
        main()
    machine = Machine(
        micro_batch=8,
        workers=0,
        save_steps=500,
        keep_checkpoints=2,
        gradient_checkpointing=expected,
        peak_flops=312e12,
        cpu="--cpu" in arguments,
    )
    assert given == [("mma", Path("."), Path("o"), machine, None if verb == "run" else verb)]


def test_a_back_end_that_cannot_train_here_is_found_before_anything_loads(tmp_path: Path) -> None:
    """torch's flex_attention has no backward pass on CPUs."""
    stages = (sft(attention_backend="flex_attention"),)
    recipe = Recipe(name="test", title="test", model=ModelChoice(), stages=stages)
    check_machine(recipe, Machine(micro_batch=3), tmp_path)
    with pytest.raises(UserError, match="flex_attention cannot train on CPUs"):
        check_machine(recipe, Machine(micro_batch=3, cpu=True), tmp_path)


@pytest.mark.parametrize(
    ("processes", "changes", "message"),
    [
        ("3", {"streams": 4}, "4 caption streams cannot be divided among 3 processes; set the stage's `streams` to a "),
        (
            "2",
            {"streams": 384, "batch_size": 3, "averaging": "micro_batch"},
            "batch_size 3 is no multiple of 2 processes",
        ),
    ],
)
def test_processes_that_cannot_share_the_work_are_found_before_anything_loads(
    processes: str, changes: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_root(tmp_path)
    stages = (pretrain(**changes),)
    recipe = Recipe(name="test", title="test", model=ModelChoice(), stages=stages)
    check_machine(recipe, Machine(micro_batch=3, workers=5), tmp_path)  # one process has no trouble
    monkeypatch.setenv("WORLD_SIZE", processes)
    with pytest.raises(UserError, match=message) as caught:
        check_machine(recipe, Machine(micro_batch=3, workers=5), tmp_path)
    assert "\n" not in str(caught.value)
