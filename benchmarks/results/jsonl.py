"""Files of one JSON object a line, appended by processes that may be killed: one way to read and mend them.

A line is whole or torn. A torn one can only be the last, without its line break: it is no record, whatever it holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..records import Prediction


def to_line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def read_lines(path: Path, *, appended: bool = True) -> Iterator[dict[str, Any]]:
    """The whole lines of a file; a torn last line is left out.

    Files that were not `appended` to, but written at once, have none: there the last line counts like any other.

    Raises:
        UserError: a line is whole and yet not a JSON object: that is damage, not an interruption.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if appended and not line.endswith(b"\n"):
                return
            try:
                record = json.loads(line)
            except ValueError as error:
                raise UserError(
                    f"{path}, line {number}, is damaged ({error}); restore the file or run with --fresh"
                ) from error
            if not isinstance(record, dict):
                raise UserError(
                    f"{path}, line {number}, is damaged (a {type(record).__name__}, expected an object); restore the "
                    "file or run with --fresh"
                )
            yield record


def cut_torn_line(path: Path) -> None:
    """Shortens the file to its last line break."""
    with path.open("rb+") as file:
        size = position = file.seek(0, os.SEEK_END)
        while position:
            start = max(0, position - 65536)
            file.seek(start)
            found = file.read(position - start).rfind(b"\n")
            if found >= 0:
                position = start + found + 1
                break
            position = start
        if position < size:
            file.truncate(position)


def predictions_files(folder: Path) -> list[Path]:
    """Of a task's folder, all ranks."""
    return sorted(folder.glob("predictions*.jsonl"))


def read_predictions(paths: Iterable[Path], mark: str | None) -> dict[str, Prediction]:
    """What is known, by sample, whoever wrote it; `mark` is the one that the run's answers carry.

    An answer counts more than an error, later more than earlier.

    Raises:
        UserError: a damaged line, or an answer of another run.
    """
    known: dict[str, Prediction] = {}
    for path in paths:
        for number, record in enumerate(read_lines(path), 1):
            if record.get("run") != mark:
                raise UserError(
                    f"{path}, line {number}, is an answer of another run ({record.get('run')}) than the one in "
                    f"run.json ({mark}); move the file away, or start over with --fresh"
                )
            try:
                prediction = _to_prediction(record)
            except (KeyError, TypeError) as error:
                raise UserError(f"{path}, line {number}, is no prediction ({error}); restore the file") from error
            earlier = known.get(prediction.index)
            if earlier is None or earlier.error is not None or prediction.error is None:
                known[prediction.index] = prediction
    return known


def _to_prediction(record: Mapping[str, Any]) -> Prediction:
    fields = {name: value for name, value in record.items() if name in Prediction.__dataclass_fields__}
    return Prediction(**fields, text=record["prediction"])
