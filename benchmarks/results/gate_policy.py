"""What a release must not lose: the gate's policy, from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import UserError

DecideBy = Literal["bounds", "difference"]

DEFAULT = Path(__file__).with_name("gate.toml")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """`allowed_drop`: (task, metric) -> how far the value may fall, in its unit. `confidence` is one-sided.

    `decide_by`: the `bounds` of the paired difference, where the questions are a sample of all that could be asked; or
    the `difference` itself, where they are not: a frozen model that must answer as it did, or an allowance that holds
    all the noise there is. Then nothing is inconclusive: what was not measured or got lost is a NO-GO.

    `allowed_unread`: with `difference`, so many percent of a task's answers may be unread beyond the baseline's.

    `other_tasks`: how far the headline metrics of tasks may fall that are neither the paper's nor named, where run and
    baseline have them; None: they are not looked at.
    """

    confidence: float
    allowed_drop: dict[tuple[str, str], float]
    decide_by: DecideBy = "bounds"
    allowed_unread: float = 0.0
    other_tasks: float | None = None

    def __post_init__(self) -> None:
        if self.decide_by not in ("bounds", "difference"):
            raise UserError(f"the gate's decide_by is {self.decide_by!r}, expected bounds or difference")
        if not isinstance(self.confidence, float) or not 0.5 < self.confidence < 1:
            raise UserError(
                f"the gate's confidence is {self.confidence}, expected a number between 0.5 and 1, such as 0.95"
            )
        share = self.allowed_unread
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 100:
            raise UserError(f"the gate's allowed_unread is {share!r}, expected percent of a task's answers, 0 to 100")
        if self.other_tasks is not None and not _is_drop(self.other_tasks):
            raise UserError(f"the gate's other_tasks is {self.other_tasks!r}; a drop is a number of at least 0")
        if not self.allowed_drop:
            raise UserError("the gate's policy names no metric; expected [allowed_drop.TASK] with METRIC = NUMBER")

    @property
    def family_confidence(self) -> float:
        """Bonferroni's, for the number of metrics: with it the chance of any false NO-GO is 1 - confidence."""
        return 1 - (1 - self.confidence) / len(self.allowed_drop)

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(task for task, _ in self.allowed_drop))


def read_policy(path: Path) -> Policy:
    """The policy in a TOML file.

    Raises:
        UserError: the file is missing, not TOML, or names tasks or values that make no sense.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the gate's policy {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text; the gate's policy is a TOML file") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    unknown = sorted(content.keys() - {"confidence", "allowed_drop", "decide_by", "allowed_unread", "other_tasks"})
    if unknown:
        raise UserError(
            f"{path}: {unknown[0]!r} is no setting of a policy; expected confidence, decide_by, "
            "allowed_unread, other_tasks and [allowed_drop.TASK]"
        )
    allowed = dict(_allowed(path, content.get("allowed_drop", {})))
    return Policy(
        confidence=content.get("confidence", 0.95),
        allowed_drop=allowed,
        decide_by=content.get("decide_by", "bounds"),
        allowed_unread=content.get("allowed_unread", 0.0),
        other_tasks=content.get("other_tasks"),
    )


def _is_drop(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _allowed(path: Path, content: Any) -> Iterator[tuple[tuple[str, str], float]]:
    if not isinstance(content, dict) or not all(isinstance(metrics, dict) for metrics in content.values()):
        raise UserError(f"{path}: expected tables [allowed_drop.TASK] with METRIC = NUMBER")
    for task, metrics in content.items():
        for metric, drop in metrics.items():
            if not _is_drop(drop):
                raise UserError(f"{path}: {task}.{metric} = {drop!r}; an allowed drop is a number of at least 0")
            yield (task, metric), float(drop)
