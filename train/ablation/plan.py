"""The experiment as a file, `OUT/ablation.json`: what every worker reads, and what a second start is held against."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from benchmarks.files import write_atomically

from ..toy.plan import ToyPlan

TOY = "toy"
FILE = "ablation.json"


@dataclass(frozen=True, kw_only=True)
class AblationPlan:
    """What decides numbers. Rows and seeds may grow from one start to the next; the rest may not change.

    data: `toy`, or the folder that `aki-train run` trains on. evaluation: of `aki-eval run --data`. points: scores
    along a row's last stage besides the last, on `curve_subset`. launch: words before `aki-train run` (torchrun ...).
    """

    data: str = TOY
    toy: ToyPlan = field(default_factory=ToyPlan)
    bench: str = "all"
    evaluation: str = TOY
    subset: str | None = None
    points: int = 3
    curve_subset: str = "ci"
    judge: str | None = None
    steps: int | None = None
    launch: str = ""

    @property
    def is_toy(self) -> bool:
        return self.data == TOY


def write_plan(out: Path, plan: AblationPlan) -> None:
    """Writes the plan, or checks that the folder's is the same.

    Raises:
        UserError: the folder holds another experiment; the first setting that differs is named.
    """
    path = out / FILE
    if path.exists():
        stored, wanted = asdict(read_plan(out)), asdict(plan)
        for name, value in wanted.items():
            if stored[name] != value and name != "launch":
                raise UserError(
                    f"{out} holds an ablation with {name} = {stored[name]!r}, now {value!r}; choose another --out"
                )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(asdict(plan), indent=1) + "\n")


def read_plan(out: Path) -> AblationPlan:
    """Raises UserError for a file that is damaged."""
    try:
        content: dict[str, Any] = json.loads((out / FILE).read_text("utf-8"))
        return AblationPlan(**content | {"toy": ToyPlan(**content["toy"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{out / FILE} cannot be read ({error}); remove it if the folder is to be begun anew"
        ) from error
