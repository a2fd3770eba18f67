"""Which class of VLMEvalKit a table belongs to, its address and checksum: read from the kit's source text.

Nothing of it runs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .errors import UserError


@dataclass(frozen=True, kw_only=True)
class KitClass:
    """A data set's class: its bases, the methods that it has of its own, and its tables with their addresses."""

    name: str
    bases: tuple[str, ...]
    methods: frozenset[str]
    urls: Mapping[str, str]
    sums: Mapping[str, str]


def owner(table: str) -> KitClass | None:
    """The class that has a table by that very name; None where no class of pictures has."""
    return next((each for each in image_classes() if table in each.urls), None)


@cache
def image_classes() -> tuple[KitClass, ...]:
    """Every class in the kit's image_*.py, in the order of files and lines."""
    return tuple(each for path in sorted(folder().glob("image_*.py")) for each in _classes(path))


def is_elsewhere(table: str) -> bool:
    """Whether a name stands in another file of the kit's data sets: videos, or a benchmark with a file of its own."""
    quoted = re.compile(rf"""['"]{re.escape(table)}['"]""")
    return any(quoted.search(path.read_text("utf-8", errors="replace")) for path in sorted(folder().glob("*.py")))


def folder() -> Path:
    """Raises UserError where the kit is not installed."""
    spec = find_spec("vlmeval")  # finds the package without running it
    if spec is None or spec.origin is None:
        raise UserError("VLMEvalKit is not installed, so its tables are unknown; pip install ms-vlmeval")
    return Path(spec.origin).parent / "dataset"


def _classes(path: Path) -> list[KitClass]:
    tree = ast.parse(path.read_text("utf-8"))
    known: dict[str, dict[str, str]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and isinstance(node.targets[0], ast.Name):
            known[node.targets[0].id] = _texts(node.value)
    return [_class(node, known) for node in tree.body if isinstance(node, ast.ClassDef)]


def _class(node: ast.ClassDef, known: Mapping[str, dict[str, str]]) -> KitClass:
    """`known` are the file's dicts of texts, which a class may take over (`DATASET_URL.update(MMMB_URLS)`)."""
    found: dict[str, dict[str, str]] = {"DATASET_URL": {}, "DATASET_MD5": {}}
    for part in node.body:
        if isinstance(part, ast.Assign) and isinstance(part.value, ast.Dict):
            found.get(ast.unparse(part.targets[0]), {}).update(_texts(part.value))
        elif isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            into = ast.unparse(part.value.func).removesuffix(".update")
            for argument in part.value.args:
                found.get(into, {}).update(known.get(ast.unparse(argument), {}))
    return KitClass(
        name=node.name,
        bases=tuple(ast.unparse(base) for base in node.bases),
        methods=frozenset(part.name for part in node.body if isinstance(part, ast.FunctionDef)),
        urls=found["DATASET_URL"],
        sums=found["DATASET_MD5"],
    )


def _texts(node: ast.Dict) -> dict[str, str]:
    """The entries whose key and value are plain text."""
    return {
        key.value: value.value
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant)
        and isinstance(value, ast.Constant)
        and isinstance(key.value, str)
        and isinstance(value.value, str)
    }
