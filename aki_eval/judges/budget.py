"""What one command may spend on its judge.

A request is admitted only when everything spent, everything promised to requests in flight and its own most expensive
outcome fit under the limit, so that concurrency cannot overdraw it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.errors import UserError
from benchmarks.records import JudgeRequest

from ..chat.prices import Price

LONGEST_REPLY = 2048
"""Output tokens assumed for a request that does not limit them."""
BYTES_A_TOKEN = 3
"""Below the 4 or so of English, and one token for a Chinese character: on the safe side."""


@dataclass(kw_only=True)
class Budget:
    """`limit` in US dollars; None spends freely and only keeps the account."""

    limit: float | None = None
    spent: float = 0.0
    promised: float = field(default=0.0, init=False)
    in_flight: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.limit is not None and not self.limit >= 0:
            raise UserError(f"a judge's budget is a number of dollars of at least 0, not {self.limit}")

    def fits(self, amount: float) -> bool:
        return self.limit is None or self.spent + self.promised + amount <= self.limit

    async def promise(self, amount: float, settled: asyncio.Condition) -> bool:
        """Wait until `amount` fits; False when it does not fit even with nothing else in flight."""
        async with settled:
            await settled.wait_for(lambda: self.fits(amount) or not self.in_flight)
            if not self.fits(amount):
                return False
            self.promised += amount
            self.in_flight += 1
            return True

    async def settle(self, amount: float, cost: float, settled: asyncio.Condition) -> None:
        async with settled:
            self.in_flight -= 1
            self.promised = self.promised - amount if self.in_flight else 0.0
            self.spent += cost
            settled.notify_all()


def most_expensive(price: Price | None, request: JudgeRequest, parameters: Mapping[str, Any]) -> float:
    """An upper estimate of what one request costs, in dollars; 0 without a price."""
    if price is None:
        return 0.0
    text = (request.system or "") + request.prompt
    limit = parameters.get("max_tokens") or parameters.get("max_completion_tokens") or LONGEST_REPLY
    return price.cost(len(text.encode(errors="replace")) // BYTES_A_TOKEN + 16, int(limit))
