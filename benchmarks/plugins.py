"""What others add without a fork: objects that installed packages announce, and objects in a Python file.

A package announces by an entry point of one of the groups below; a file is named where its object is asked for
(`--bench my_task.py`, `--bench my_task.py:TASK`). Nothing is loaded before it is asked for by a name that is not ours,
and a file is never loaded because a run folder names it: what a folder says is data, not code. A plug-in that does not
load is a fault in words, and the others work.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import UserError

TASKS, PREDICTORS, JUDGES = "aki_eval.tasks", "aki_eval.predictors", "aki_eval.judges"
"""The groups of entry points. That of masks, `aki_eval.mask_kinds`, is `model.kinds`'s own, which imports nothing."""

FILE = re.compile(r"(?P<path>.+\.py)(?::(?P<name>\w+))?")


@dataclass(frozen=True)
class Plugin:
    """An object with where it is from: `package 1.2 (module:attribute)`, or a file's path and attribute."""

    name: str
    value: Any
    source: str


@dataclass(frozen=True)
class Installed:
    """The plug-ins of a group by name, and why others are none of them: a line by name."""

    plugins: dict[str, Plugin]
    faults: dict[str, str]

    def get(self, name: str) -> Plugin | None:
        """The plug-in of that name; None where there is none.

        Raises:
            UserError: there is one, and it cannot be used.
        """
        if name in self.faults:
            raise UserError(self.faults[name])
        return self.plugins.get(name)


@cache
def installed(group: str) -> Installed:
    """What the installed packages announce under a group. Of two with one name neither counts."""
    entries: dict[str, list[EntryPoint]] = {}
    for entry in sorted(entry_points(group=group), key=_source):
        if all(_source(entry) != _source(other) for other in entries.get(entry.name, ())):
            entries.setdefault(entry.name, []).append(entry)
    plugins: dict[str, Plugin] = {}
    faults: dict[str, str] = {}
    for name, found in entries.items():
        if len(found) > 1:
            sources = " and ".join(_source(entry) for entry in found)
            faults[name] = f"plug-in {name}: {sources} have the same name; uninstall one of them"
            continue
        try:
            plugins[name] = Plugin(name, found[0].load(), _source(found[0]))
        except (Exception, SystemExit) as error:  # noqa: BLE001 (somebody else's module may do anything)
            faults[name] = f"plug-in {name} ({_source(found[0])}) does not load: {_cause(error)}"
    return Installed(plugins, faults)


def _source(entry: EntryPoint) -> str:
    package = f"{entry.dist.name} {entry.dist.version} " if entry.dist else ""
    return f"{package}({entry.value})"


def names_file(text: str) -> bool:
    """Whether a name is a Python file, with or without an attribute behind it."""
    return FILE.fullmatch(text) is not None


def load_file(text: str, option: str) -> tuple[ModuleType, str | None]:
    """The module of `PATH.py[:NAME]`, and NAME. The same file is loaded once in a process.

    Raises:
        UserError: there is no such file, or it does not import.
    """
    found = FILE.fullmatch(text)
    if found is None:
        raise UserError(f"{option}: {text!r} is no Python file; expected FILE.py or FILE.py:NAME")
    path = Path(found["path"]).resolve()
    if not path.is_file():
        raise UserError(f"{option}: no file {found['path']}")
    name = f"aki_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        _import(path, name, option)
    return sys.modules[name], found["name"]


def attribute(module: ModuleType, name: str, option: str) -> Any:
    """Looks a name up in the module of a file.

    Raises:
        UserError: it has no such name.
    """
    if not hasattr(module, name):
        names = [each for each in vars(module) if each.isupper()]
        raise UserError(f"{option}: {module.__file__} has no {name}; it has {', '.join(names) or 'none in capitals'}")
    return getattr(module, name)


def source_of(module: ModuleType, name: str) -> str:
    """Where an object of a file is from: its path, and the first digits of its checksum."""
    path = Path(str(module.__file__))
    return f"{path}:{name} (sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]})"


def _import(path: Path, name: str, option: str) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{option}: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _folder_searched(path.parent):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f" (line {lines[-1]})" if lines else ""
        raise UserError(f"{option}: {path} does not import: {_cause(error)}{where}") from error


@contextmanager
def _folder_searched(folder: Path) -> Iterator[None]:
    """A file's neighbours can be imported by it. Last in the search: our packages are not to be hidden by them."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


OURS = ("aki_eval", "benchmarks", "model", "reports", "train")


@contextmanager
def named_as_theirs(function: object, doing: str) -> Iterator[None]:
    """What a plug-in's function raises becomes one line with its place; what ours raises stays as it is.

    Args:
        function: the one that is called inside the `with` block.
        doing: what is asked of it, for the line.

    Raises:
        UserError: somebody else's function raises anything but a UserError.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        module = str(getattr(getattr(function, "func", function), "__module__", ""))
        if module.split(".")[0] in OURS:
            raise
        file = getattr(sys.modules.get(module), "__file__", None)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        raise UserError(f"{doing} raises {_cause(error)}{f' ({file}, line {lines[-1]})' if lines else ''}") from error


def _cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
