"""run.json for tests: a whole one, in which a test changes what it is about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def record(name: str = "scripted", tasks: Iterable[str] = (), **changes: Any) -> dict[str, Any]:
    """As a run writes it before its first answer. `tasks` were asked prompts of one and the same hash."""
    asked = {"prompts_sha256": "f" * 64, "max_new_tokens": 8, "num_samples": 1, "imported": None}
    return {
        "format": 2,
        "created": "2026-11-25T12:00:00+00:00",
        "model": {"name": name, "kind": "scripted"},
        "mask_self_test": None,
        "dtype": None,
        "prompts": "aki",
        "decoding": {"strategy": "greedy"},
        "subset": None,
        "data": {"source": "toy", "tables": {}},
        "tasks": {task: dict(asked) for task in tasks},
        "answers": {},
        "check_batching": None,
        "device": None,
        "versions": None,
        "commit": None,
        "command": None,
        "sessions": [],
    } | changes
