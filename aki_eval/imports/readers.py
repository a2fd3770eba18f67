"""Files of predictions, read as text: nothing is taken for a number, a formula or a missing value on the way.

.xlsx .tsv .csv   VLMEvalKit's prediction files, AKI's own CV-Bench script (cv_bench_results.csv), tables of any
tool .jsonl            lmms-eval's samples (--log_samples), run folders of this tool, one object a line of any tool
.json             a list of objects, or one object {index: prediction}
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError

PREDICTION_FIELDS = ("prediction", "response", "output", "model_output", "model_answer", "pred")
INDEX_FIELDS = ("index", "doc.index")
QUESTION_FIELDS = ("question", "input_text", "doc.question", "doc.query")
TARGET_FIELDS = ("target", "answer", "doc.answer", "label")
LMMS_EVAL = {"doc_id", "resps"}
FAILURES = ("Failed to obtain answer via API", "Failed to obtain answer: <class")
"""What VLMEvalKit writes in the place of an answer that it did not get."""
LONGEST_CELL = 32_767
"""Characters: a spreadsheet cuts off what is longer."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One prediction as found: `text` or `error`, and what may say which question it answers."""

    place: str
    text: str | None
    error: str | None
    index: str | None
    question: str | None
    target: str | None


def read_records(path: Path, index_field: str | None = None, prediction_field: str | None = None) -> list[Record]:
    """All predictions in a file, in its order. Fields inside objects are written `doc.index`.

    Raises:
        UserError: no such file, another format, or no field that holds predictions.
    """
    if not path.is_file():
        raise UserError(f"there is no file of predictions at {path}")
    rows = list(_rows(path))
    if not rows:
        raise UserError(f"{path} holds no predictions")
    names = set(rows[0][1])
    for wanted in (index_field, prediction_field):
        if wanted and all(_get(row, wanted) is None for _, row in rows):
            raise UserError(f"{path} has no field {wanted!r}; it has {', '.join(sorted(names))}")
    field = prediction_field or _prediction_field(path, names)
    index_fields = (index_field,) if index_field else INDEX_FIELDS
    return [_record(place, row, field, index_fields) for place, row in rows]


def _prediction_field(path: Path, names: set[str]) -> str:
    if names >= LMMS_EVAL:
        return "resps"
    found = [name for name in PREDICTION_FIELDS if name in names]
    if len(found) != 1:
        raise UserError(
            f"{path} has {' and '.join(found) or 'no field'} for predictions, expected one of "
            f"{', '.join(PREDICTION_FIELDS)}; name it with --prediction-field (it has {', '.join(sorted(names))})"
        )
    return found[0]


def _record(place: str, row: Mapping[str, Any], field: str, index_fields: tuple[str, ...]) -> Record:
    text, error = _prediction(row, field)
    return Record(
        place=place,
        text=text,
        error=error,
        index=_first(row, index_fields),
        question=_first(row, QUESTION_FIELDS),
        target=_first(row, TARGET_FIELDS),
    )


def _prediction(row: Mapping[str, Any], field: str) -> tuple[str | None, str | None]:
    """(text, None) or (None, error)."""
    if row.get("error"):  # this tool's own predictions.jsonl
        return None, str(row["error"])
    value = _get(row, field)
    texts = set(_strings(value)) if field in ("resps", "filtered_resps") else {_text(value)}
    if len(texts) != 1:
        return None, f"{len(texts)} different responses, expected one" if texts else "no response"
    text = texts.pop()
    if text is None:
        return None, "no prediction"
    if text.startswith(FAILURES):
        return None, text[:200]
    return text, None


def _strings(value: Any) -> Iterator[str]:
    """lmms-eval nests its responses in lists, how deep depends on its version."""
    if isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    elif value is not None:
        yield str(value)


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((_text(value) for name in names if (value := _get(row, name)) is not None), None)


def _get(row: Mapping[str, Any], name: str) -> Any:
    """A field, or with dots a field of a field."""
    if name in row:
        return row[name]
    outer, dot, inner = name.partition(".")
    return _get(row[outer], inner) if dot and isinstance(row.get(outer), Mapping) else None


def _text(value: Any) -> str | None:
    """As the table has it: a spreadsheet's 5.0 is the 5 that was written."""
    if value is None:
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place for messages, fields) of each row."""
    readers = {".xlsx": _xlsx, ".tsv": _table, ".csv": _table, ".jsonl": _jsonl, ".json": _json}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: predictions are read from {', '.join(readers)} files")
    try:
        yield from reader(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a readable {path.suffix} file ({error})") from error


def _table(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    before = csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            for row in reader:
                if None in row or None in row.values():
                    raise UserError(f"{path} line {reader.line_num}: the number of cells differs from the header's")
                yield f"line {reader.line_num}", row
    finally:
        csv.field_size_limit(before)


def _xlsx(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Cells as they were written: `=1` is the answer "=1", not a formula's result. An empty cell is an empty answer."""
    from zipfile import BadZipFile

    from openpyxl import load_workbook

    try:
        workbook = load_workbook(path, read_only=True, data_only=False)
    except (BadZipFile, KeyError, OSError) as error:
        raise UserError(f"{path} is not a spreadsheet ({error})") from error
    with closing(workbook):
        yield from _sheet(workbook.worksheets[0])


def _sheet(sheet: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    rows = sheet.iter_rows(values_only=True)
    header = [str(name) for name in next(rows, ())]
    for number, cells in enumerate(rows, start=2):
        row = dict(zip(header, cells, strict=False))
        if any(isinstance(cell, str) and len(cell) >= LONGEST_CELL for cell in cells):
            row["error"] = f"a cell of row {number} is as long as a spreadsheet allows: it was cut off"
        yield (
            f"row {number}",
            {name: "" if cell is None and name in PREDICTION_FIELDS else cell for name, cell in row.items()},
        )


def _jsonl(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"line {number}", _object(path, f"line {number}", line)


def _json(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    content = _loads(path, "it", path.read_text(encoding="utf-8"))
    if isinstance(content, Mapping):
        content = [{"index": index, "prediction": text} for index, text in content.items()]
    for number, row in enumerate(content, start=1):
        if not isinstance(row, Mapping):
            raise UserError(f"{path}: entry {number} is a {type(row).__name__}, expected an object")
        yield f"entry {number}", row


def _object(path: Path, place: str, text: str) -> Mapping[str, Any]:
    content = _loads(path, place, text)
    if not isinstance(content, Mapping):
        raise UserError(f"{path} {place} holds a {type(content).__name__}, expected an object")
    return content


def _loads(path: Path, place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: {place} is not JSON ({error})") from error
