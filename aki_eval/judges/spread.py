"""How far a judge's repeated gradings of the same answers lie apart: its own noise, beside the sampling error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, pstdev
from typing import Any

from benchmarks.records import Verdict


def spread(verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """By judge protocol: each repeat's score and their population standard deviation, as MM-Vet's authors report it.

    Only samples that every repeat could grade count. Protocols without two repeats, or without numbers, are left out.
    """
    by_kind: dict[str, dict[str, list[Any]]] = {}
    for verdict in verdicts:
        by_kind.setdefault(verdict.kind, {}).setdefault(verdict.index, []).append(verdict.value)
    found = {}
    for kind, samples in by_kind.items():
        graded = [values for values in samples.values() if len(values) > 1 and all(map(_is_number, values))]
        if graded:
            repeats = [total(values) for values in zip(*graded, strict=True)]
            found[kind] = {"scores": repeats, "sd": pstdev(repeats), "num_samples": len(graded)}
    return found


def total(values: Sequence[Any]) -> float:
    """What a judge's numbers add up to: 100 times their mean, of pairs (reference, candidate) the ratio of means."""
    if isinstance(values[0], int | float):
        return 100 * fmean(values)
    references, candidates = zip(*values, strict=True)
    return float(100 * sum(candidates) / sum(references))


def _is_number(value: Any) -> bool:
    numbers = value if isinstance(value, list | tuple) and len(value) == 2 else (value,)
    return all(isinstance(number, int | float) for number in numbers)
