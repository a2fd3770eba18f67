"""Evaluations beside a training: at their steps, whatever becomes of them, and never of torchrun's making."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from train_helpers import machine, parts, sft, write_root

from benchmarks.errors import UserError
from train import evaluating
from train.commands.options import check_evaluation, evaluation
from train.evaluating import own_environment, start_evaluation
from train.run_stage import run_stage
from train.stopping import Stopped


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("data"))


def stand_in(monkeypatch: pytest.MonkeyPatch, code: str) -> list[tuple[str, str, list[str]]]:
    """Runs `code` instead of aki-eval; notes what would have been evaluated, and that it could be loaded."""
    asked: list[tuple[str, str, list[str]]] = []

    def start(checkpoint: Path, place: Path, arguments: Sequence[str], log: Any) -> subprocess.Popen[bytes]:
        assert {"config.json", "stage.json", "model.safetensors"} <= {path.name for path in checkpoint.iterdir()}
        assert any(checkpoint.glob("*processor*.json"))
        asked.append((checkpoint.name, place.name, list(arguments)))
        return subprocess.Popen([sys.executable, "-c", code], stdout=log)

    monkeypatch.setattr(evaluating, "start_evaluation", start)
    monkeypatch.setattr(evaluating, "SECONDS", 0.02)
    return asked


def trained(root: Path, out: Path, **settings: Any) -> list[dict[str, Any]]:
    model, processor = parts()
    setting = machine(2, eval_every=2, eval_arguments=("--bench", "pope"), **settings)
    return run_stage(sft(steps=5), model, processor, data_root=root, out=out, machine=setting)


def test_checkpoints_are_evaluated_at_their_steps_and_the_last(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = stand_in(monkeypatch, "print('as aki-eval would')")
    log = trained(root, tmp_path, keep_checkpoints=1)
    assert [(name, place) for name, place, _ in asked] == [(f"checkpoint-{n}", f"step-{n}") for n in (2, 4, 5)]
    assert asked[0][2] == ["--bench", "pope"]
    assert (tmp_path / "evaluations" / "step-4" / "aki-eval.log").read_text("utf-8") == "as aki-eval would\n"
    assert "checkpoint-5 evaluated in" in capsys.readouterr().err
    assert log[-1]["step"] == 5


def test_an_evaluation_that_fails_takes_nothing_from_the_training(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = stand_in(monkeypatch, "raise SystemExit(3)")
    log = trained(root, tmp_path)
    assert (len(asked), log[-1]["step"]) == (3, 5)
    assert "checkpoint-2 not evaluated: aki-eval run ended with 3" in capsys.readouterr().err

    def no_room(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evaluating, "start_evaluation", no_room)
    assert trained(root, tmp_path / "full")[-1]["step"] == 5
    assert "No space left on device" in capsys.readouterr().err


def test_a_training_told_to_stop_waits_for_none(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = stand_in(monkeypatch, "import time; time.sleep(600)")
    monkeypatch.setattr("train.stopping.StopEarly.told", property(lambda self: bool(asked)))
    end = "train.stopping.StopEarly._anybody_told"
    monkeypatch.setattr(end, lambda self, device: bool(asked))
    with pytest.raises(Stopped):
        trained(root, tmp_path)
    assert [name for name, *_ in asked] == ["checkpoint-2"]
    assert "told to stop" in capsys.readouterr().err


def test_the_command_is_that_of_aki_eval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the real command line says of arguments that are wrong: it was called, and with these."""
    arguments = evaluation("ci", "toy", cpu=True)
    assert arguments[:4] == ("--bench", "all", "--subset", "ci")
    assert evaluation("pope,mme", "official", cpu=False)[:2] == ("--bench", "pope,mme")
    with (tmp_path / "log").open("w") as log:
        code = start_evaluation(tmp_path / "nothing", tmp_path / "out", arguments, log).wait()
    said = (tmp_path / "log").read_text("utf-8")
    assert code == 2
    assert "nothing" in said
    assert said.count("\n") <= 2


def test_the_environment_is_not_that_of_a_group() -> None:
    given = {
        "RANK": "3",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "3",
        "MASTER_ADDR": "x",
        "TORCHELASTIC_RUN_ID": "1",
        "PATH": "/bin",
    }
    assert own_environment(given | {"HF_HOME": "h"}) == {"PATH": "/bin", "HF_HOME": "h"}


def test_what_could_not_be_evaluated_is_refused_before_the_first_step() -> None:
    with pytest.raises(UserError, match="no-such-benchmark"):
        check_evaluation(evaluation("no-such-benchmark", "toy", cpu=True))
