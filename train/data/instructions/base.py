"""What an instruction set is: annotation files in, examples out.

A set reads its original annotation files into flat rows once; the rows are kept as an Arrow file that is memory-
mapped, so half a million questions cost no memory per process. An example is made from a row and a random number
generator when it is drawn. A row is never changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError

Row = dict[str, Any]
ROWS_A_BATCH = 4096


@dataclass(frozen=True, kw_only=True)
class Example:
    """One question as it is trained on: `prompt` is the user's turn without the image, `answer` what is learned."""

    image: str | None
    """Path below the data root; None for text-only questions."""
    prompt: str
    answer: str
    box: tuple[float, float, float, float] | None = None
    """The region asked about, as fractions (left, top, right, bottom); for people who look at the data."""


@dataclass(frozen=True, kw_only=True)
class InstructionSet:
    """One of the eleven sets of Table 4."""

    name: str
    title: str
    """As in Table 4."""
    annotations: tuple[str, ...]
    """Annotation files below the data root."""
    read: Callable[[Path], Iterator[Row]]
    """Data root -> rows. Raises KeyError, ValueError or OSError on files of another format."""
    to_example: Callable[[Row, random.Random], Example]
    augmentable: bool = False
    """True where mirroring and cropping cannot falsify an answer. Off wherever boxes, places or text are asked for."""


class InstructionData(Sequence[Row]):
    """The rows of one set, memory-mapped."""

    def __init__(self, instruction_set: InstructionSet, root: Path, cache: Path) -> None:
        self.instruction_set = instruction_set
        self.path = _arrow_file(instruction_set, root, cache)
        self._table = _open(self.path)

    def __len__(self) -> int:
        return self._table.num_rows

    def __getitem__(self, index: int) -> Row:  # type: ignore[override]
        return self._table.slice(index, 1).to_pylist()[0]

    def example(self, index: int, rng: random.Random) -> Example:
        return self.instruction_set.to_example(self[index], rng)

    def __getstate__(self) -> dict[str, Any]:
        return {"instruction_set": self.instruction_set, "path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._table = _open(self.path)


def read_json(path: Path, *, what: str) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: it is missing or not JSON (a download that broke off, say).
    """
    try:
        with path.open(encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; expected {what}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); expected {what}; download it again") from None


def _arrow_file(instruction_set: InstructionSet, root: Path, cache: Path) -> Path:
    """Path of the set's rows as Arrow, made when the annotation files are new or have changed."""
    stamp = []
    for name in instruction_set.annotations:
        try:
            stat = (root / name).stat()
        except OSError:
            raise UserError(f"{root / name}: not found; {instruction_set.title} needs it below the data root") from None
        stamp.append([str((root / name).resolve()), stat.st_size, stat.st_mtime_ns])
    key = hashlib.sha256(json.dumps(stamp).encode()).hexdigest()[:16]
    path = cache / f"{instruction_set.name}-{key}.arrow"
    if not path.exists():
        _write(instruction_set, root, path)
    return path


def _write(instruction_set: InstructionSet, root: Path, path: Path) -> None:
    import pyarrow as pa

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    try:
        rows = instruction_set.read(root)
        first = list(islice(rows, ROWS_A_BATCH))
        if not first:
            raise UserError(f"{root / instruction_set.annotations[0]}: no {instruction_set.title} question in it")
        batch = pa.RecordBatch.from_pylist(first)
        with pa.ipc.new_file(temporary, batch.schema) as writer:
            while batch.num_rows:
                writer.write_batch(batch)
                batch = pa.RecordBatch.from_pylist(list(islice(rows, ROWS_A_BATCH)), schema=batch.schema)
    except UserError:
        temporary.unlink(missing_ok=True)
        raise
    except (KeyError, TypeError, IndexError, ValueError) as error:  # ArrowInvalid is a ValueError
        temporary.unlink(missing_ok=True)
        raise UserError(
            f"{root / instruction_set.annotations[0]}: not the format of {instruction_set.title} "
            f"({type(error).__name__}: {error})"
        ) from error
    os.replace(temporary, path)


def _open(path: Path) -> Any:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def shuffled(choices: Sequence[str], answer: int, rng: random.Random) -> tuple[list[str], str]:
    """The choices in a new order and the letter of the right one. The stored list keeps its order.

    The original shuffled the stored list in place and kept the old answer index, so that every later visit of the
    question had a random label.
    """
    order = list(range(len(choices)))
    rng.shuffle(order)
    return [choices[index] for index in order], "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[order.index(answer)]
