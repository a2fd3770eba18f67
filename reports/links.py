"""Addresses inside the HTML report: by names of runs, tasks and samples, never by their places.

`assets/browser.js` and `assets/compare.js` read what is written here.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

VIEW = "http://127.0.0.1:8765"
"""Where `aki-eval view` serves, unless told otherwise."""


def samples_link(task: str, base: str = "", **state: str | None) -> str:
    """The sample browser, filtered: `a` and `b` name runs; `result`, `group`, `protocol`, `id` as in the page."""
    words = {"task": task, **{name: value for name, value in state.items() if value}}
    return f"{base}samples.html#{urlencode(words)}"


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
