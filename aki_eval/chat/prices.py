"""What a judge costs: a small dated table of list prices, `IN/OUT` on the command line, and the sums."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError

TABLE = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float

    @classmethod
    def parse(cls, text: str) -> Price:
        """From `IN/OUT`, such as `0.15/0.6`.

        Raises:
            UserError: it is not two numbers of at least 0.
        """
        try:
            given, answered = (float(part) for part in text.split("/"))
        except ValueError as error:
            raise UserError(f"a judge's price is IN/OUT in dollars per million tokens, not {text!r}") from error
        if not (math.isfinite(given) and math.isfinite(answered) and min(given, answered) >= 0):
            raise UserError(f"a judge's price cannot be {text!r}; expected IN/OUT, each a number of at least 0")
        return cls(given, answered)

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        return (input_tokens * self.input + output_tokens * self.output) / 1_000_000


def known_price(model: str) -> Price | None:
    """The table's; a dated model without an entry of its own costs what its alias costs."""
    entry = _table().get(model) or _table().get(re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model))
    return Price(entry["input"], entry["output"]) if entry else None


def known_shutdown(model: str) -> date | None:
    """The day of a model's announced end; the server's own `shutdown_date`, where it gives one, is better knowledge."""
    shutdown: date | None = _table().get(model, {}).get("shutdown")
    return shutdown


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))
