"""`aki-eval vlmevalkit`: a checkpoint's partial answers are never another one's."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from aki_eval.cli import main
from benchmarks.errors import UserError

Start = Callable[..., tuple[int, str, Path]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Start:
    """Starts the command with a stand-in for the kit's process, which leaves partial answers and is killed."""
    work = tmp_path / "kit"

    def kit(command: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        folder = Path(command[command.index("--work-dir") + 1])
        assert "MMEVAL_ROOT" not in env, "it leads the kit out of its work directory"
        results = folder / command[command.index("--model") + 1]
        results.mkdir(exist_ok=True)
        seen.append(results)
        (results / "01_MME.pkl").write_text(f"answers of start {len(seen)}")
        return subprocess.CompletedProcess([], -signal.SIGKILL)

    seen: list[Path] = []
    monkeypatch.setattr("aki_eval.commands.vlmevalkit.subprocess.run", kit)
    monkeypatch.setenv("MMEVAL_ROOT", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")  # else a line about it

    def call(weights: str, *arguments: str) -> tuple[int, str, Path]:
        model = tmp_path / "model"
        model.mkdir(exist_ok=True)
        (model / "config.json").write_text("{}")
        (model / "model.safetensors").write_text(weights)
        given = ["--model", f"m={model}", "--data", "MME", "--tables", "toy", "--work-dir", str(work), *arguments]
        monkeypatch.setattr(sys, "argv", ["aki-eval", "vlmevalkit", *given])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().err, seen[-1] if seen else Path()

    return call


def test_a_killed_runs_partial_answers_are_its_checkpoints_alone(start: Start) -> None:
    _, _, first = start("A")
    _, _, second = start("B")
    assert first != second
    assert (first / "01_MME.pkl").read_text() == "answers of start 1"
    assert (first.parents[1] / "m").resolve() == second.resolve(), "WORK_DIR/NAME leads to the latest"
    _, _, again = start("A")
    assert again == first, "the same checkpoint goes on where it was"
    _, _, longer = start("A", "--max-new-tokens", "7")
    assert longer not in (first, second), "other options are other answers"


def test_the_folder_is_private_and_its_tables_are_gone_afterwards(start: Start) -> None:
    _, _, results = start("A")
    assert stat.S_IMODE(results.parent.stat().st_mode) == 0o700
    assert {path.name for path in results.parent.iterdir()} <= {"owner.json", "m", "lock"}


def test_a_folder_of_somebody_else_is_not_taken_up(start: Start, tmp_path: Path) -> None:
    foreign = tmp_path / "kit/m"
    foreign.mkdir(parents=True)
    (foreign / "01_MME.pkl").write_bytes(b"planted")
    code, said, _ = start("A")
    assert (code, "is there already" in said) == (2, True)
    code, said, _ = start("A", "--reuse")
    assert (code, "01_MME.pkl is a pickle that this command did not make" in said) == (2, True)
    assert (foreign / "01_MME.pkl").read_bytes() == b"planted"


def test_a_planted_fingerprint_is_refused(start: Start) -> None:
    _, _, results = start("A")
    (results.parent / "owner.json").write_text("{}")
    code, said, _ = start("A")
    assert (code, "was not made by this command for this model" in said) == (2, True)


def test_a_second_start_is_one_line(start: Start) -> None:
    _, _, results = start("A")
    with FileLock(results.parent / "lock"):
        code, said, _ = start("A")
    assert (code, "another aki-eval vlmevalkit is at work" in said, said.count("\n")) == (2, True, 1)


@pytest.mark.parametrize("name", ["../m", "a/b", ".m"])
def test_a_name_is_no_path(start: Start, tmp_path: Path, name: str) -> None:
    from aki_eval.vlmevalkit.work import work_folder

    with pytest.raises(UserError, match="names a folder of results"):
        work_folder(tmp_path / "kit", name, {})
    assert not os.path.exists(tmp_path / "kit")
