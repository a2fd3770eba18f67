"""What an instruction set is: annotation files in, examples out.

A set reads its original annotation files into flat rows once; the rows are kept as an Arrow file that is memory-
mapped, so half a million questions cost no memory per process. An example is made from a row and a random number
generator when it is drawn. A row is never changed.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock
from tqdm.auto import tqdm

from benchmarks.errors import UserError
from benchmarks.files import beside, write_atomically

from ..held_out import picture_key
from ..samples import Skip

R = TypeVar("R")
Row = dict[str, Any]
ROWS_A_BATCH = 4096
MOST_SKIPPED = 0.01
"""A larger share of unusable records means another file or format, not damage."""


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
    read: Callable[[Path], Iterator[Row | Skip]]
    """Data root -> rows, and in the place of a record that cannot be used what is wrong with it (`rows_of`).

    Raises KeyError, ValueError or OSError on files of another format."""
    to_example: Callable[[Row, random.Random], Example]
    augmentable: bool = False
    """True where mirroring and cropping cannot falsify an answer. Off wherever boxes, places or text are asked for."""


MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError, ArithmeticError)
"""What a record of another shape than the set's raises when it is taken apart."""
TEXTS = ("question", "answer", "phrase", "statement")


def rows_of(records: Iterable[R], make: Callable[[R], Iterable[Row]], source: str) -> Iterator[Row | Skip]:
    """The rows of each record; a record that has another shape, or nothing to ask or to learn, becomes a Skip.

    Args:
        records: of an annotation file.
        make: a record's rows. May raise any of `MALFORMED`.
        source: the annotation file, for the list of what was skipped.
    """
    for number, record in enumerate(records):
        try:
            rows = list(make(record))
        except MALFORMED as error:
            yield Skip(source=source, record=f"record {number}", reason=f"{type(error).__name__}: {error}")
            continue
        for row in rows:
            missing = next((name for name in TEXTS if name in row and _says_nothing(row[name])), None)
            if missing is None:
                yield row
            else:
                yield Skip(source=source, record=f"record {number}", reason=f"no {missing}: {row[missing]!r:.40}")


def _says_nothing(value: Any) -> bool:
    """Numbers stand for an answer, too (the place of the right choice); a text must have letters in it."""
    return not value.strip() if isinstance(value, str) else not isinstance(value, int)


class InstructionData(Sequence[Row]):
    """The rows of one set, memory-mapped. `skipped` names the records that could not be used.

    Raises:
        UserError: annotations that are missing, hold no question, or of which more than `MOST_SKIPPED` are unusable.
    """

    def __init__(self, instruction_set: InstructionSet, root: Path, cache: Path) -> None:
        self.instruction_set = instruction_set
        self.path = _arrow_file(instruction_set, root, cache)
        self._table = _open(self.path)

    @property
    def skipped(self) -> list[Skip]:
        lines = _skips_file(self.path).read_text(encoding="utf-8").splitlines()
        return [Skip(**json.loads(line)) for line in lines]

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, index: int) -> Row:  # type: ignore[override]
        row: Row = self._table.slice(index, 1).to_pylist()[0]
        return row

    def key(self, index: int) -> str:
        """Of the picture that the question is about (`held_out.picture_key`), else of the question."""
        named = "image" in self._table.column_names
        image = self._table.column("image")[index].as_py() if named else None
        return picture_key(image) if image else json.dumps(self[index], sort_keys=True, ensure_ascii=False)

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
    except (ValueError, RecursionError) as error:
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
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # all processes of a machine ask at once; one builds
            if not path.exists():
                _write(instruction_set, root, path)
    return path


def _skips_file(path: Path) -> Path:
    return path.with_suffix(".skipped.jsonl")


def _write(instruction_set: InstructionSet, root: Path, path: Path) -> None:
    """The rows as an Arrow file, and beside it what was skipped. The Arrow file comes last: it says all is there."""
    import pyarrow as pa

    where = root / instruction_set.annotations[0]
    skipped: list[Skip] = []
    num_rows = 0
    with beside(path) as scratch:
        try:
            batches = _batches(instruction_set.read(root), str(where), skipped)
            if (first := next(batches, None)) is None:
                examples = f" ({skipped[0].record}: {skipped[0].reason})" if skipped else ""
                raise UserError(f"{where}: no {instruction_set.title} question in it{examples}")
            bar = tqdm(desc=f"{instruction_set.title}: index", unit="row", unit_scale=True, delay=2, leave=False)
            with bar, pa.ipc.new_file(str(scratch), first.schema) as writer:
                for batch in chain([first], batches):
                    num_rows += batch.num_rows
                    writer.write_batch(batch)
                    bar.update(batch.num_rows)
        except MALFORMED as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{where}: not the format of {instruction_set.title} ({type(error).__name__}: {error})"
            ) from error
        if len(skipped) > MOST_SKIPPED * (num_rows + len(skipped)):
            raise UserError(
                f"{where}: {len(skipped):,} records of {instruction_set.title} cannot be used beside {num_rows:,} that "
                f"can, the first {skipped[0].record} ({skipped[0].reason}); is this the right file?"
            )
        lines = "".join(json.dumps(asdict(skip)) + "\n" for skip in skipped)
        write_atomically(_skips_file(path), lines)


def _batches(rows: Iterator[Row | Skip], source: str, skipped: list[Skip]) -> Iterator[Any]:
    """Rows as Arrow batches of one schema, the first batch's; Skips, and rows that do not fit it, go to `skipped`."""
    import pyarrow as pa

    schema = None
    while part := list(islice(rows, ROWS_A_BATCH)):
        skipped += [row for row in part if isinstance(row, Skip)]
        good = [row for row in part if not isinstance(row, Skip)]
        if not good:
            continue
        if schema is None:
            schema = _schema(good)
        try:
            yield pa.RecordBatch.from_pylist(good, schema=schema)
        except (pa.ArrowException, OverflowError):
            fitting = [row for row in good if _fits(row, schema, source, skipped)]
            yield pa.RecordBatch.from_pylist(fitting, schema=schema)


def _schema(rows: Sequence[Row]) -> Any:
    """Of most rows; a number beyond 64 bits has none."""
    import pyarrow as pa

    found: Counter[Any] = Counter()
    for row in rows:
        with suppress(pa.ArrowException, OverflowError):
            found[pa.Table.from_pylist([row]).schema] += 1
    return found.most_common(1)[0][0] if found else pa.schema([])


def _fits(row: Row, schema: Any, source: str, skipped: list[Skip]) -> bool:
    """Whether the row's fields have the types of all others; says so in `skipped` where not."""
    import pyarrow as pa

    try:
        pa.RecordBatch.from_pylist([row], schema=schema)
    except (pa.ArrowException, OverflowError) as error:
        first_line = str(error).splitlines()[0]
        skipped.append(
            Skip(source=source, record=f"{row.get('image')}", reason=f"a field of another type: {first_line}")
        )
        return False
    return True


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
