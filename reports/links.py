"""Addresses inside the HTML report: by names of runs, tasks and samples, never by their places.

`assets/browser.js` and `assets/compare.js` read what is written here.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from .tables import Cell

VIEW = "http://127.0.0.1:8765"
"""Where `aki-eval view` serves, unless told otherwise."""


def samples_link(task: str, base: str = "", **state: str | None) -> str:
    """The sample browser, filtered: `a` and `b` name runs; `result`, `group`, `protocol`, `id` as in the page."""
    words = {"task": task, **{name: value for name, value in state.items() if value}}
    return f"{base}samples.html#{urlencode(words, quote_via=quote)}"


def cell_link(cell: Cell, groups: Mapping[str, Collection[str]]) -> str | None:
    """The samples behind a number; `groups` are those of each task that the report holds. None: there are none."""
    if cell.link:
        return cell.link
    if cell.run is None or cell.value is None or cell.task is None or cell.task not in groups:
        return None
    result = "flipped" if cell.beside else None
    group = group_of(cell.metric or "", groups[cell.task])
    first, second = (cell.beside, cell.run) if cell.beside else (cell.run, NO_OTHER)
    return samples_link(cell.task, a=first, b=second, group=group, protocol=cell.protocol, result=result)


NO_OTHER = "-"
"""Beside no other run."""


SOURCES = {"2d": ("ade20k", "coco"), "3d": ("omni3d",)}
"""CV-Bench's columns are about sources, whose names do not say so."""


def unions(groups: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Groups that a reader asks for together: all of `perception/...`, and the sources behind a column."""
    starts = dict.fromkeys(group.partition("/")[0] for group in groups if "/" in group)
    found = {start: tuple(group for group in groups if group.startswith(f"{start}/")) for start in starts}
    found |= {name: own for name, own in SOURCES.items() if set(own) & set(groups)}
    return {name: own for name, own in found.items() if name not in groups}


def group_of(metric: str, groups: Collection[str]) -> str | None:
    """The group of samples, or the union, that a metric is about: its own name's, or a part's of it (`popular/f1`)."""
    known = {*groups, *unions(groups)}
    return next((name for name in (metric, *metric.split("/")) if name in known), None)


@dataclass(frozen=True)
class Links:
    """Links to what two runs answered, in a report at `base`, an address or a folder."""

    base: str
    a: str
    b: str
    remark: str = ""

    def sample(self, task: str, index: str) -> str:
        """One question, both answers."""
        return samples_link(task, self.base, a=self.a, b=self.b, id=index)

    def filtered(self, task: str, result: str, group: str | None = None) -> str:
        """The questions of one kind: `gained` or `lost` from A to B, `flipped`, ..."""
        return samples_link(task, self.base, a=self.a, b=self.b, result=result, group=group)


def links_between(a: tuple[str, Path], b: tuple[str, Path], where: str | None) -> Links:
    """(label, folder) of two runs; `where` their report is, None: where `aki-eval view` serves it."""
    if where is not None:
        base = where if "://" in where else Path(where).resolve().as_uri()
        return Links(base.removesuffix("index.html").rstrip("/") + "/", a[0], b[0])
    command = shlex.join(["aki-eval", "view", str(a[1]), str(b[1])])
    return Links(f"{VIEW}/", a[0], b[0], f"The links open while `{command}` runs; --links names another place.")
