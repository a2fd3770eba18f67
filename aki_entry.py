"""Where the commands begin: before anything of ours is imported that a stranger's package could hide.

Plain names such as `model`, `train` and `reports` stand in many repositories. With PYTHONPATH=. one of theirs comes
before ours, and a command would end deep inside of it. This module's own name is nobody else's; it imports the
standard library alone.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

HOME = Path(__file__).resolve().parent
PACKAGES = ("aki_eval", "benchmarks", "model", "reports", "train")


def main_eval() -> None:
    """`aki-eval`."""
    _start("aki-eval", "aki_eval.cli")


def main_train() -> None:
    """`aki-train`."""
    _start("aki-train", "train.cli")


def main_demo() -> None:
    """`aki-demo`."""
    _start("aki-demo", "aki_eval.demo.cli")


def _start(command: str, module: str) -> None:
    """Runs the module's `main`. When ours is hidden: one line (of one process a machine), exit code 2."""
    fault = hidden()
    if fault is None:
        import_module(module).main()
        return
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"{command}: {fault}", file=sys.stderr)
    sys.exit(2)


def hidden() -> str | None:
    """Which of our packages Python finds elsewhere, and what to do; None when all are ours."""
    for name in PACKAGES:
        spec = find_spec(name)
        own = HOME / name
        found = Path(spec.origin) if spec and spec.origin else None
        if found is None:
            return f"this project's package {name} is not at {own}; install the project again"
        if found.resolve() != own / "__init__.py":
            where = found.parent if found.stem != "__init__" else found.parent.parent
            place = where.resolve()
            hint = _remedy(place)
            return f"{found} hides this project's package {name} ({own}), since {place} is searched first; {hint}"
    return None


def _remedy(folder: Path) -> str:
    path = os.environ.get("PYTHONPATH", "")
    if folder in [Path(entry).resolve() for entry in path.split(os.pathsep)]:
        return f"take it out of PYTHONPATH (now {path!r})"
    return "start from another folder"
