"""Finished models looked at again: under another mask than they were trained with, and from inside.

What a mask does while a model learns and what it does while it answers are two things: a model trained with one and
measured under another tells them apart (FutureMask, arXiv 2505.18605, and arXiv 2604.15809 do the latter alone).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from model.kinds import KINDS

from .plan import AblationPlan
from .rows import AblationRow
from .work import aki_eval, measure, run_name

INSIDE = "inside"
"""The folder of `aki-eval inspect` in a run folder; `aki-eval report` looks there."""
METRICS = "*/metrics.json"


def cross_kinds(text: str, rows: Sequence[AblationRow]) -> tuple[str, ...]:
    """`mma,causal`: the masks that models trained with one of them are measured under.

    Raises:
        UserError: fewer than two, an unknown one, or no row that was trained with one of them.
    """
    kinds = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise UserError(f"--cross {text!r}: unknown kind {unknown[0]!r}, expected some of {', '.join(KINDS)}")
    if len(kinds) < 2:
        raise UserError(f"--cross {text!r}: expected at least two kinds, such as mma,causal")
    if not any(own_kind(row) in kinds for row in rows):
        raise UserError(f"--cross {text!r}: none of the rows ends in one of these kinds; take more --rows")
    return kinds


def own_kind(row: AblationRow) -> str | None:
    """The one mask that a row's last stage was trained with; None where it has several, or pictures behind the text."""
    last = row.stages[-1]
    one_order = all(stage.image_order == "image_first" for stage in row.stages)
    return last.attention if one_order and not last.attention_layers else None


def cross_name(row: str, kind: str, seed: int) -> str:
    return f"{row}-as-{kind}-seed{seed}"


def crossed(
    done: Sequence[Mapping[str, Any]], rows: Sequence[AblationRow], kinds: Sequence[str]
) -> list[tuple[Mapping[str, Any], str]]:
    """(what is done, another mask to measure it under), seed by seed."""
    own = {row.name: own_kind(row) for row in rows}
    return [
        (each, kind)
        for each in sorted(done, key=lambda each: each["seed"])
        for kind in kinds
        if own.get(each["row"]) in kinds and kind != own[each["row"]]
    ]


def look_again(
    folder: Path,
    plan: AblationPlan,
    done: Sequence[Mapping[str, Any]],
    rows: Sequence[AblationRow],
    *,
    kinds: Sequence[str],
    inside: str | None,
    num_workers: int,
    until: float,
) -> list[str]:
    """Measures under other masks and looks inside, what is not there yet; returns what there was no time for.

    Args:
        folder: of the training budget.
        plan: its plan.
        done: what is trained.
        rows: those asked for; of others nothing is looked at.
        kinds: of `--cross`.
        inside: data of `aki-eval inspect`; None: nobody looks.
        num_workers: evaluations at once.
        until: `time.monotonic()` behind which none is begun.

    Raises:
        UserError: an evaluation failed.
    """
    work: dict[str, Callable[[], None]] = {}

    def under(each: Mapping[str, Any], kind: str, run: Path) -> Callable[[], None]:
        return lambda: measure(
            plan, folder / each["model"], run, plan.subset, "--attention", kind, num_workers=num_workers
        )

    def look(model: Path, place: Path) -> Callable[[], None]:
        device = ["--device", "cpu"] if plan.is_toy else []
        return lambda: aki_eval(
            "inspect", str(model), "--data", str(inside), "--out", str(place), *device, num_workers=num_workers
        )

    for each, kind in crossed(done, rows, kinds):
        run = folder / "cross" / cross_name(each["row"], kind, each["seed"])
        if not (run.is_dir() and any(run.glob(METRICS))):
            work[run.name] = under(each, kind, run)
    names = {row.name for row in rows}
    for each in done if inside is not None else ():
        if each["row"] not in names:
            continue
        place = folder / "runs" / run_name(each["row"], each["seed"]) / INSIDE
        if not (place / "layers.json").is_file():
            work[f"inside {each['row']} seed {each['seed']}"] = look(folder / each["model"], place)

    def carry_out(name: str) -> str | None:
        if time.monotonic() >= until:
            return name
        work[name]()
        return None

    with ThreadPoolExecutor(num_workers) as pool:
        return [name for name in pool.map(carry_out, work) if name]
