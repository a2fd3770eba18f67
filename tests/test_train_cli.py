"""`aki-train`: whatever is misused ends in one line and exit code 2."""

from __future__ import annotations

import sys

import pytest

from train.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "aki_4b", "--devices", "0"], "'--devices'"),
        (["plan", "aki_4b", "--mfu", "0"], "'--mfu'"),
        (["run", "mma", "--bogus"], "No such option: --bogus"),
        (["run", "nope", "--data", "x", "--out", "y"], "recipe 'nope': neither a file nor one of aki_4b"),
        (["toy"], "Missing option '--out'"),
        (["toy", "--out", "x", "--attention", "MMA"], "expected mma, causal or cca"),
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
