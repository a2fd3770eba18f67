"""What goes wrong at the command line: one line, exit code 2, before anything expensive, and the right advice."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from predictor_helpers import write_checkpoint

from aki_eval.cli import main


class Done(NamedTuple):
    """What a command said and returned."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on stderr; exit code 2 and nothing on stdout."""
        (line,) = self.err.splitlines()
        assert (self.code, self.out) == (2, "")
        assert line.startswith("aki-eval: ")
        assert len(line) < 500
        return line


Command = Callable[..., Done]


@pytest.fixture
def aki_eval(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Calls the command line in this process."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["aki-eval", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, *capfd.readouterr())

    return call


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


RUN = {
    "format": 1,
    "model": {"name": "m"},
    "prompts": "aki",
    "subset": None,
    "data": {"source": "toy", "tables": {}},
    "tasks": {},
    "sessions": [],
}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([], "holds a list"),
        (None, "holds a NoneType"),
        ({}, "'model'"),
        (RUN | {"tasks": ["mme"]}, "'tasks'"),
        (RUN | {"data": {"source": "toy"}}, "'data.tables'"),
        ({key: value for key, value in RUN.items() if key != "subset"}, "'subset'"),
    ],
)  # fmt: skip
def test_a_damaged_run_json_is_named(
    aki_eval: Command, checkpoint: Path, tmp_path: Path, content: object, expected: str
) -> None:
    (tmp_path / "run.json").write_text(json.dumps(content))
    for arguments in (
        ["score", tmp_path],
        ["run", "--bench", "mme", "--model", checkpoint, "--data", "toy", "--out", tmp_path],
    ):
        line = aki_eval(*arguments).complaint
        assert expected in line
        assert str(tmp_path / "run.json") in line
