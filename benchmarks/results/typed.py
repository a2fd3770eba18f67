"""Records as they stand in a run folder's files: every field of the kind it is declared with, or it is damage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from functools import cache
from types import UnionType
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

Record = TypeVar("Record")

NAMES = {"prediction": "text"}
"""Fields that a file calls otherwise than the record."""


def as_record(record: type[Record], content: Any) -> Record:
    """A dataclass's instance from its JSON object; fields of later versions are left aside.

    Raises:
        TypeError: no object, a field that is missing, of another kind than declared, or no finite number.
    """
    if not isinstance(content, Mapping):
        raise TypeError(f"a {type(content).__name__}, expected an object")
    declared = _fields(record)  # type: ignore[arg-type]  # a type is hashable
    given: dict[str, Any] = {NAMES.get(str(name), str(name)): value for name, value in content.items()}
    given = {name: value for name, value in given.items() if name in declared}
    for name, value in given.items():
        kind = declared[name]
        if not _fits(value, kind):
            raise TypeError(f"{name} is {value!r:.60}")
        if isinstance(value, list) and kind.inner is not None:
            given[name] = tuple(value)
    missing = [name for name, kind in declared.items() if kind.needed and name not in given]
    if missing:
        raise TypeError(f"{missing[0]} is missing")
    return record(**given)


class _Kind(NamedTuple):
    """What a field may be, as JSON gives it: a tuple is a list, a decimal may be whole."""

    types: tuple[type, ...]
    inner: tuple[type, ...] | None
    """Of the members of a list or an object; None: whatever they are."""
    values: tuple[Any, ...] | None
    needed: bool


def _fits(value: Any, kind: _Kind) -> bool:
    if not isinstance(value, kind.types) or (kind.values and value not in kind.values):
        return False
    if isinstance(value, float | int):
        return _is_finite(value)
    if kind.inner is not None and isinstance(value, list | tuple | dict):
        members = value.values() if isinstance(value, dict) else value
        return all(isinstance(each, kind.inner) and _is_finite(each) for each in members)
    return True


def _is_finite(value: Any) -> bool:
    try:
        return not isinstance(value, float | int) or math.isfinite(value)
    except OverflowError:
        return False


@cache
def _fields(record: type) -> dict[str, _Kind]:
    hints = get_type_hints(record)
    needed = {each.name: each.default is MISSING and each.default_factory is MISSING for each in fields(record)}
    return {name: _kind(hints[name], is_needed) for name, is_needed in needed.items()}


def _kind(hint: Any, needed: bool) -> _Kind:
    parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    types = tuple(kind for part in parts for kind in _types(part))
    inner = next((tuple(_inner(part)) for part in parts if get_origin(part) in (tuple, Mapping)), None)
    values = next((get_args(part) for part in parts if get_origin(part) is Literal), None)
    return _Kind(types, inner if inner and object not in inner else None, values, needed)


def _inner(hint: Any) -> Iterator[type]:
    last = get_args(hint)[1 if get_origin(hint) is Mapping else 0]
    yield from _types(last)


def _types(hint: Any) -> Iterator[type]:
    if hint is Any:
        yield object
    elif get_origin(hint) is Literal:
        yield str
    elif hint is float:
        yield from (float, int)
    elif get_origin(hint) is tuple:
        yield from (list, tuple)
    else:
        yield get_origin(hint) or hint
