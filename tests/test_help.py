"""Every command explains itself: -h, --version, exit codes and what is passed on."""

from __future__ import annotations

import sys

import pytest

from aki_eval.cli import COMMANDS, main
from train.cli import main as train_main


def said_by(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], train: bool = False
) -> str:
    monkeypatch.setattr(sys, "argv", ["aki-train" if train else "aki-eval", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        (train_main if train else main)()
    assert ended.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_short_help_and_the_exit_codes(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_by([command, "-h"], monkeypatch, capsys)
    assert said.startswith("Usage:")
    assert f" {command} " in said.partition("Options")[0]
    assert "3 INCONCLUSIVE" in said
    assert said == said_by([command, "--help"], monkeypatch, capsys)


@pytest.mark.parametrize("arguments", [["-h"], ["data", "-h"], ["data", "fetch", "-h"]])
def test_groups_too(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert said_by(arguments, monkeypatch, capsys).startswith("Usage:")


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert said_by(["--version"], monkeypatch, capsys).startswith("aki-eval 0.")
    assert said_by(["--version"], monkeypatch, capsys, train=True).startswith("aki-train 0.")
    assert said_by(["plan", "-h"], monkeypatch, capsys, train=True).startswith("Usage:")


def test_vlmevalkit_says_what_it_passes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = said_by(["vlmevalkit", "--help"], monkeypatch, capsys)
    for option in ("--model NAME=CHECKPOINT", "--data TABLE", "--judge MODEL", "--mode all|infer|eval", "--reuse"):
        assert option in said
