"""Foreign packages in front of ours are named in one line, before anything of theirs runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import aki_entry

COMMANDS = {"aki-eval": "main_eval", "aki-train": "main_train", "aki-demo": "main_demo"}


def script(folder: Path, command: str) -> Path:
    """As an installer writes it."""
    path = folder / "bin" / command
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        f"#!{sys.executable}\nimport sys\nfrom aki_entry import {COMMANDS[command]}\nsys.exit({COMMANDS[command]}())\n"
    )
    path.chmod(0o755)
    return path


def foreign(folder: Path, name: str) -> Path:
    """Another repository with a module or package of that name, which must not run."""
    place = folder / "theirs" / name
    place.parent.mkdir()
    if name.endswith(".py"):
        place.write_text("raise RuntimeError('theirs ran')\n")
        return place
    place.mkdir()
    for file in ("__init__.py", "cli.py", "kinds.py", "errors.py"):
        (place / file).write_text("raise RuntimeError('theirs ran')\n")
    return place / "__init__.py"


def run(command: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=300)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["model", "train", "reports.py", "benchmarks", "aki_eval", "model.py"])
def test_a_foreign_package_in_front_is_named(command: str, name: str, tmp_path: Path) -> None:
    theirs = foreign(tmp_path, name)
    done = run([str(script(tmp_path, command)), "--help"], tmp_path / "theirs", PYTHONPATH=".")
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    own = aki_entry.HOME / name.removesuffix(".py")
    assert done.stderr == (
        f"{command}: {theirs} hides this project's package {own.name} ({own}), since {tmp_path / 'theirs'} is searched "
        "first; take it out of PYTHONPATH (now '.')\n"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_folders_that_hide_nothing_are_let_through(command: str, tmp_path: Path) -> None:
    """A folder without __init__.py gives way to a package, and so does whatever is not on the path."""
    foreign(tmp_path, "train")
    (tmp_path / "data" / "model").mkdir(parents=True)
    done = run([str(script(tmp_path, command)), "--help"], tmp_path / "theirs", PYTHONPATH=str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_under_torchrun(tmp_path: Path) -> None:
    """Said once, by the first process, before torchrun's own report of the failure."""
    theirs = foreign(tmp_path, "model")
    started = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--nproc-per-node", "2"]
    done = run([*started, str(script(tmp_path, "aki-train")), "--help"], tmp_path / "theirs", PYTHONPATH=".")
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("aki-train: ")]
    assert len(lines) == 1
    assert f"{theirs} hides this project's package model" in lines[0]
    assert "theirs ran" not in done.stderr
    assert "exitcode  : 2" in done.stderr


def test_installed_commands_enter_here() -> None:
    import tomllib

    project = tomllib.loads((aki_entry.HOME / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {name: f"aki_entry:{function}" for name, function in COMMANDS.items()}
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel["only-include"]) == {*aki_entry.PACKAGES, "aki_entry.py"}
    assert wheel["dev-mode-dirs"] == ["."]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_installed_command_starts_from_any_folder(command: str, tmp_path: Path) -> None:
    """The very script that the installation wrote, which must find this checkout and no copy of the entry point."""
    installed = Path(sys.executable).with_name(command)
    done = run([str(installed), "--help"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
