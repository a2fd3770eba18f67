"""Checkpoints of a training as they come, each evaluated once."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CHECKPOINT = re.compile(r"(?:checkpoint|step)[-_]?(\d+)")

OURS, THEIRS = "stage.json", "trainer_state.json"


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of every whole checkpoint below, by step.

    Whole is one with a configuration, a processor, weights, and what its trainer writes last: our `stage.json`, or
    transformers' `trainer_state.json`. Ours have that, too, while threads still write weights: they are told by their
    folder `optimizer`, where theirs have a file.
    """
    found = []
    for path in folder.glob("**/config.json"):
        place = path.parent
        name = CHECKPOINT.fullmatch(place.name)
        whole = any(place.glob("*.safetensors")) and any(place.glob("*processor*.json"))
        theirs = (place / THEIRS).is_file() and not (place / "optimizer").is_dir()
        if name and whole and (theirs or (place / OURS).is_file()):
            found.append((int(name[1]), place))
    return sorted(found)


def is_evaluated(out: Path) -> bool:
    """Whether a run folder holds metrics."""
    return any(out.glob("*/metrics.json"))


def run_folder(checkpoint: Path, root: Path, out: Path) -> Path:
    """Where a checkpoint's run goes: by its place below `root`, so that two stages' step 500 are two runs."""
    stage = checkpoint.parent.relative_to(root)
    step = CHECKPOINT.fullmatch(checkpoint.name)
    name = f"step-{int(step[1])}" if step else checkpoint.name
    return out / stage / name


def evaluate_checkpoint(checkpoint: Path, out: Path, options: Sequence[str]) -> int:
    """`aki-eval run` on one checkpoint, in a process of its own, so that its memory is free afterwards.

    Returns the exit code of `aki-eval run`.
    """
    command = [sys.executable, "-c", "from aki_entry import main_eval; main_eval()"]
    arguments = ["run", "--model", str(checkpoint), "--out", str(out), *options]
    return subprocess.run([*command, *arguments], check=False).returncode
