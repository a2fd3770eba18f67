"""The experiment as files: what every worker reads, and what a second start is held against.

A *training budget* is a number of fine-tuning steps. Each has a folder of its own, `OUT/steps-N`, with its plan in
`ablation.json`, and is complete by itself; what all of them say together goes to `OUT/report`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from benchmarks.files import write_atomically

from ..recipe import load_recipe
from ..toy.plan import ToyPlan

TOY = "toy"
FILE = "ablation.json"


@dataclass(frozen=True, kw_only=True)
class AblationPlan:
    """What decides the numbers of one training budget.

    Rows and seeds may grow from one start to the next; the rest may not change.

    data: `toy`, or the folder that `aki-train run` trains on. evaluation: of `aki-eval run --data`. points: scores
    along a row's last stage besides the last, on `curve_subset` of `curve_bench` (None: `bench`). launch: words before
    `aki-train run` (torchrun ...).
    """

    data: str = TOY
    toy: ToyPlan = field(default_factory=ToyPlan)
    bench: str = "all"
    evaluation: str = TOY
    subset: str | None = None
    points: int = 3
    curve_bench: str | None = None
    curve_subset: str = "ci"
    judge: str | None = None
    steps: int | None = None
    launch: str = ""

    @property
    def is_toy(self) -> bool:
        return self.data == TOY

    @property
    def sft_steps(self) -> int:
        """Of fine-tuning; None of a plan means the paper's."""
        if self.is_toy:
            return self.toy.sft_steps
        return self.steps or next(stage.steps for stage in load_recipe("it_it").stages if stage.kind == "sft")


OF_A_BUDGET = ("toy", "steps")
"""Settings that a second training budget has for itself."""


def folder_of(out: Path, plan: AblationPlan) -> Path:
    return out / f"steps-{plan.sft_steps}"


def budget_folders(out: Path) -> list[Path]:
    """Of all training budgets that were begun, the smallest first."""
    found = [path.parent for path in out.glob(f"steps-*/{FILE}") if path.parent.name.removeprefix("steps-").isdecimal()]
    return sorted(found, key=lambda folder: int(folder.name.removeprefix("steps-")))


def check_plans(out: Path, plans: Sequence[AblationPlan]) -> None:
    """That what the folder holds is the same experiment; further training budgets may come.

    Raises:
        UserError: it is another; the first setting that differs is named.
    """
    if (out / FILE).exists():
        raise UserError(
            f"{out} holds an ablation of an earlier version, with {FILE} beside its runs; choose another --out, or "
            "move what is there into its folder steps-N, N the number of fine-tuning steps"
        )
    for folder in budget_folders(out):
        stored = asdict(read_plan(folder))
        for plan in plans:
            free = {"launch"} if folder == folder_of(out, plan) else {"launch", *OF_A_BUDGET}
            for name, value in asdict(plan).items():
                if stored[name] != value and name not in free:
                    raise UserError(
                        f"{folder} holds an ablation with {name} = {stored[name]!r}, now {value!r}; "
                        "choose another --out"
                    )


def write_plan(folder: Path, plan: AblationPlan) -> None:
    """Writes the plan where none is."""
    path = folder / FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
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
