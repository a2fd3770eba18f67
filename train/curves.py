"""The loss of each stage as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_curves(folder: Path, logs: Mapping[str, Sequence[Mapping[str, Any]]], seconds: Mapping[str, float]) -> None:
    """`loss.json` (all log entries and how long each part took) and `loss.png`."""
    content = {"seconds": dict(seconds), "stages": {name: list(log) for name, log in logs.items()}}
    (folder / "loss.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    _draw(folder / "loss.png", logs)


def _draw(path: Path, logs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(logs), 3), layout="constrained")
    for axes, (name, log) in zip(figure.subplots(1, len(logs), squeeze=False)[0], logs.items(), strict=True):
        points = [(entry["step"], entry["loss"]) for entry in log if "loss" in entry]
        axes.plot(*zip(*points, strict=True)) if points else None
        axes.set(title=name, xlabel="step", ylabel="loss", yscale="log")
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=120)
