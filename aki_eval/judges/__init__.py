"""Judges: what grades open answers, and which of them a command was asked for.

offline             deterministic token overlap; toy world and CI; never comparable to GPT-4
none                nothing is judged: those samples stay unscored
replay[:NAME]       stored verdicts only, of the judge NAME where the store holds several
FILE.py[:NAME]      the JUDGE (or NAME) of a file: what makes a judge of a store of verdicts
NAME                the same of an installed plug-in, where one has that name
any other name      a model of OpenAI, or of the compatible server at `base_url`; the key is read from OPENAI_API_KEY
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks import plugins
from benchmarks.data.root import is_toy
from benchmarks.errors import UserError
from benchmarks.records import Judge

from ..chat.prices import Price
from ..chat.server import ChatServer
from .budget import Budget
from .cache import VerdictStore
from .judge import ServedJudge, ServerJudge
from .offline import OfflineJudge
from .replay import replay

__all__ = ["Budget", "JudgeOptions", "Price", "make_judge"]

OFFLINE, NONE, REPLAY = "offline", "none", "replay"
BASE_URL = "--judge-base-url"


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """Which judge, and what it may cost.

    One for a whole command, so that its server is looked at once and its budget is one.
    `auto` is the offline judge for the toy world and none for real tables.

    Raises:
        UserError: a price or a budget that is none (on `check` or first use).
    """

    name: str = "auto"
    base_url: str | None = None
    budget: float | None = None
    price: str | None = None
    repeats: int = 1
    concurrency: int = 16
    protocols: tuple[str, ...] = ()
    """Scored beside the usual ones, such as MM-Vet's and LLaVA-Bench's `official`."""

    def resolve(self, source: str) -> str:
        """The judge's name for tables from `source`.

        Raises:
            UserError: an address is given and nobody would be asked there.
        """
        name = self.name
        if name == "auto":
            name = OFFLINE if is_toy(source) else NONE
        if self.base_url is not None and not _is_served(name):
            raise UserError(f"{BASE_URL}: the judge {name!r} asks no server; name a model as --judge")
        return name

    @property
    def is_served(self) -> bool:
        """Whether a server is asked."""
        return self.name != "auto" and _is_served(self.name)

    @cached_property
    def account(self) -> Budget:
        return Budget(limit=self.budget)

    @cached_property
    def served(self) -> ServedJudge:
        server = ChatServer(self.name, self.base_url, option=BASE_URL)
        return ServedJudge(server, Price.parse(self.price) if self.price else None)

    def check(self) -> None:
        """That what was said of price, budget and server means something, though no judge may be needed.

        Raises:
            UserError: it does not.
        """
        if self.price is not None:
            Price.parse(self.price)
        _ = self.account
        if self.is_served:
            _ = self.served

    def make(self, source: str, cache: Path) -> Judge | None:
        """The judge for one task; `cache` is where its replies are kept.

        Raises:
            UserError: as `make_judge`.
        """
        return make_judge(
            self.resolve(source),
            served=self.served if self.is_served else None,
            cache=cache,
            budget=self.account,
            repeats=self.repeats,
            concurrency=self.concurrency,
        )

    def check_ahead(self) -> None:
        """What is known to fail at the end is found out first: the judge's server, model, key, price.

        Raises:
            UserError: it would fail.
        """
        if self.is_served:
            make_judge(self.name, served=self.served, budget=self.account)  # refuses a budget without a price
            self.served.check_ahead(self.account)


def make_judge(
    name: str,
    *,
    base_url: str | None = None,
    served: ServedJudge | None = None,
    cache: Path | None = None,
    budget: Budget | float | None = None,
    price: Price | None = None,
    repeats: int = 1,
    concurrency: int = 16,
    timeout: float = 120.0,
    retries: int = 5,
) -> Judge | None:
    """The judge called `name`, or None for `none`.

    `cache` is where its replies are kept (a task's verdicts.jsonl); `budget` in dollars, or a Budget that several
    judges share; `served` the server, where several share it, else it is the one at `base_url`; `price` overrides the
    table's; `timeout` in seconds for one reply, `retries` by the client.

    Raises:
        UserError: a budget without a price, or several judges to replay.
    """
    if name == NONE:
        return None
    store = VerdictStore(cache)
    if name == OFFLINE:
        return OfflineJudge(store)
    if name.partition(":")[0] == REPLAY:
        return replay(store, name.partition(":")[2] or None, repeats=repeats)
    maker = _plugged_in(name)
    if maker is not None:
        return _made(maker, store, name)
    if served is None:
        server = ChatServer(name, base_url, option=BASE_URL, timeout=timeout, retries=retries)
        served = ServedJudge(server, price)
    account = budget if isinstance(budget, Budget) else Budget(limit=budget)
    return ServerJudge(served, store, budget=account, repeats=repeats, concurrency=concurrency)


def _is_served(name: str) -> bool:
    return name not in (NONE, OFFLINE) and name.partition(":")[0] != REPLAY and _plugged_in(name) is None


def _plugged_in(name: str) -> Any | None:
    """What a plug-in has under the name; None where there is none.

    Raises:
        UserError: there is one, and it cannot be used.
    """
    if plugins.names_file(name):
        module, attribute = plugins.load_file(name, "--judge")
        return plugins.attribute(module, attribute or "JUDGE", "--judge")
    found = plugins.installed(plugins.JUDGES).get(name)
    return found.value if found else None


def _made(maker: Any, store: VerdictStore, name: str) -> Judge:
    try:
        judge = maker(store)
    except UserError:
        raise
    except Exception as error:  # somebody else's code
        raise UserError(f"--judge {name} makes no judge: {type(error).__name__}: {error}") from error
    if not all(hasattr(judge, part) for part in ("name", "comparable", "grade", "describe")):
        raise UserError(f"--judge {name} makes a {type(judge).__name__}, which is no judge (benchmarks.records.Judge)")
    made: Judge = judge
    return made
