"""Where the runs under probes lie, and whose they are: `probes/NAME` inside the folder of the run they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .record import RunRecord

PROBES_FOLDER = "probes"


def probe_folder(run: Path, name: str) -> Path:
    return run / PROBES_FOLDER / name


def is_probe_folder(path: Path, run: Path) -> bool:
    """Whether `path` is where a probe of the run in `run` lies."""
    return path.resolve().parent == (run / PROBES_FOLDER).resolve()


BESIDE_THE_POINT = ("name", "path", "trained_attention", "trained_image_order")
"""Fields of the model's record that decide no answer."""


def not_its_own(run: RunRecord, probe: RunRecord) -> str | None:
    """In what a run under a probe was made otherwise than the run it lies in, apart from the probe; None: in nothing.

    Answers of another model, another prompt style or other tables say nothing about this run's.
    """
    for what, one, other in _made(run, probe):
        if one != other:
            return f"{what} was {other!r:.80}, the run has {one!r:.80}"
    return None


def _made(run: RunRecord, probe: RunRecord) -> Iterator[tuple[str, Any, Any]]:
    first, second = (
        {key: value for key, value in each.model.model_dump().items() if key not in BESIDE_THE_POINT}
        for each in (run, probe)
    )
    for key in dict.fromkeys([*first, *second]):
        yield f"model.{key}", first.get(key), second.get(key)
    yield from ((name, getattr(run, name), getattr(probe, name)) for name in ("dtype", "prompts", "decoding", "subset"))
    for name in run.data.tables.keys() & probe.data.tables.keys():
        yield f"table {name}", run.data.tables[name].sha256, probe.data.tables[name].sha256
    for name in run.tasks.keys() & probe.tasks.keys():
        yield f"max_new_tokens of {name}", run.tasks[name].max_new_tokens, probe.tasks[name].max_new_tokens
