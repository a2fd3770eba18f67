"""Predictions as records: the text of each, and everything in its row that may say which question it answers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError

from .files import KEY, read_rows, suffix_of

PREDICTION_FIELDS = ("prediction", "response", "output", "model_output", "model_answer", "pred", "model_response")
ID_NAMES = ("index", "question_id", "id", "pid", "qid", "idx", "sample_id", "data_id")
ID_FIELDS = (*ID_NAMES, *(f"doc.{name}" for name in ID_NAMES), *(f"metadata.{name}" for name in ID_NAMES), KEY)
QUESTION_FIELDS = ("question", "query", "prompt", "input_text", "doc.question", "doc.query", "doc.prompt", "input")
TARGET_FIELDS = ("target", "answer", "doc.answer", "label", "ground_truth")
IMAGE_NAMES = ("image_path", "image", "img_path", "image_name", "imagename", "image_file", "image_source", "img")
IMAGE_FIELDS = (*IMAGE_NAMES, *(f"doc.{name}" for name in IMAGE_NAMES), *(f"metadata.{name}" for name in IMAGE_NAMES))
CHOICE_FIELDS = ("index2ans", "choices", "options")
RESPONSES = ("resps", "filtered_resps")
"""lmms-eval's: a text, or lists, how deep depends on its version. Since 0.7 `resps`, what was said before the filters,
is left out of each sample in which they changed nothing, and `doc`, the question's record, of all: its id then stands
in the values that the metrics were given. Source: save_results_samples in lmms_eval/loggers/evaluation_tracker.py."""
LAYOUTS = (
    (frozenset({"doc_id", "resps"}), "resps"),  # lmms-eval, --log_samples
    (frozenset({"doc_id", "filtered_resps"}), "resps"),  # where `resps` would only say the same
    (frozenset({"pid", "query", "response"}), "response"),  # MathVista; its `prediction` is what was extracted
    (frozenset({"all_choices", "response"}), "response"),  # MMMU
    (frozenset({"question_id", "text", "prompt"}), "text"),  # LLaVA's answer files
    (frozenset({"question_id", "text", "answer_id"}), "text"),
    (frozenset({"question_id", "text", "model_id"}), "text"),
)
"""Files of known tools: the fields that tell them, and where their prediction stands."""
FAILURES = ("Failed to obtain answer via API", "Failed to obtain answer: <class")
"""What VLMEvalKit writes in the place of an answer that it did not get."""
NO_ERROR = {"", "none", "nan", "null", "n/a", "na", "false", "0", "[]", "{}"}
"""How tables write that nothing went wrong."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One prediction as found: `text` or `error`, and what may say which question it answers.

    `ids` are the row's identifiers by field: which of them is the table's, the matching finds out.
    """

    file: str
    place: str
    text: str | None
    error: str | None
    ids: Mapping[str, str] = field(default_factory=dict)
    question: str | None = None
    target: str | None = None
    image: str | None = None
    choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For messages."""
        known = next(iter(self.ids.values()), None)
        return self.place if known is None else f"{known} ({self.place})"


def read_records(
    path: Path,
    index_field: str | None = None,
    prediction_field: str | None = None,
    *,
    sheet: str | None = None,
    epoch: int | None = None,
) -> list[Record]:
    """All predictions in a file, in its order. Fields inside objects are written `doc.index`, in lists `choices.0`.

    `sheet` of a spreadsheet, `epoch` of an inspect log: see `read_rows`.

    Raises:
        UserError: no such file, another format, no field that holds predictions, or one that holds more than a text.
    """
    rows = [(place, _with_doc(row)) for place, row in read_rows(path, sheet=sheet, epoch=epoch)]
    if not rows:
        raise UserError(f"{path} holds no predictions")
    names = set(rows[0][1])
    for wanted in (index_field, prediction_field):
        if wanted and all(_get(row, wanted) is None for _, row in rows):
            raise UserError(f"{path} has no field {wanted!r}; it has {', '.join(sorted(map(str, names)))}")
    chosen = prediction_field or _prediction_field(path, names)
    id_fields = (index_field,) if index_field else ID_FIELDS
    if suffix_of(path) in (".csv", ".tsv"):
        rows = _without_floats(rows, id_fields)
    return [_record(str(path), place, row, chosen, id_fields) for place, row in rows]


def _without_floats(
    rows: list[tuple[str, Mapping[str, Any]]], id_fields: tuple[str, ...]
) -> list[tuple[str, Mapping[str, Any]]]:
    """Ids of a table of text that pandas made floats, as it does beside an empty cell: all of them "7.0" are 7."""
    floats = [name for name in id_fields if all(re.fullmatch(r"\d+\.0", str(row.get(name))) for _, row in rows)]
    return [(place, {**row, **{name: row[name][:-2] for name in floats}}) for place, row in rows] if floats else rows


def _with_doc(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """lmms-eval's sample with what its metrics say of the question as its `doc`, where it has none."""
    if "doc_id" not in row or "doc" in row or not any(name in row for name in RESPONSES):
        return row
    told = [value for value in row.values() if isinstance(value, Mapping)]
    names = (*ID_NAMES, *IMAGE_NAMES, "question", "query")
    doc = {name: each[name] for each in reversed(told) for name in names if name in each}
    return {**row, "doc": doc}


def with_questions(records: Sequence[Record], path: Path) -> list[Record]:
    """The records with question, picture and right answer out of the benchmark's question file, joined by their ids.

    Raises:
        UserError: the file has no question, or the records' ids are not in it.
    """
    rows = [row for _, row in read_rows(path)]
    fields = next((name for name in (*ID_NAMES, KEY) if rows and name in rows[0]), None)
    if fields is None:
        raise UserError(f"--questions {path} has none of the fields {', '.join(ID_NAMES)}")
    asked = {str(_plain_text(row.get(fields))): row for row in rows}
    found = []
    for record in records:
        row = next((asked[value] for value in record.ids.values() if value in asked), None)
        if row is None:
            found.append(record)
            continue
        found.append(
            replace(
                record,
                question=record.question or _first(row, (*QUESTION_FIELDS, "text")),
                image=record.image or _first(row, IMAGE_FIELDS),
                target=record.target or _first(row, TARGET_FIELDS),
                choices=record.choices or _choices(row),
            )
        )
    if all(before is after for before, after in zip(records, found, strict=True)):
        raise UserError(f"--questions {path} has none of the predictions' ids; is it another benchmark's?")
    return found


def _prediction_field(path: Path, names: set[str]) -> str:
    known = next((name for needed, name in LAYOUTS if names >= needed and "label" not in names), None)
    if known:
        return known
    found = [name for name in PREDICTION_FIELDS if name in names]
    if len(found) != 1:
        raise UserError(
            f"{path} has {' and '.join(found) or 'no field'} for predictions, expected one of "
            f"{', '.join(PREDICTION_FIELDS)}; name it with --prediction-field (it has "
            f"{', '.join(sorted(map(str, names)))})"
        )
    return found[0]


def _record(file: str, place: str, row: Mapping[str, Any], chosen: str, id_fields: tuple[str, ...]) -> Record:
    text, error = _prediction(file, place, row, chosen)
    targets = tuple(name for name in TARGET_FIELDS if name != chosen)
    ids = {name: value for name in id_fields if (value := _plain_text(_get(row, name))) not in (None, "")}
    return Record(
        file=file,
        place=place,
        text=text,
        error=error,
        ids={name: str(value) for name, value in ids.items()},
        question=_first(row, tuple(name for name in QUESTION_FIELDS if name != chosen)),
        target=_first(row, targets),
        image=_first(row, IMAGE_FIELDS),
        choices=_choices(row),
    )


def _prediction(file: str, place: str, row: Mapping[str, Any], chosen: str) -> tuple[str | None, str | None]:
    """(text, None) or (None, error)."""
    error = row.get("error")
    if error is not None and str(error).strip().casefold() not in NO_ERROR:
        return None, str(error)
    value = _get(row, chosen)
    if chosen in RESPONSES:
        value = row.get("filtered_resps") if value is None else value
        texts = set(_strings(value))
        if len(texts) != 1:
            return None, f"{len(texts)} different responses, expected one" if texts else "no response"
        value = texts.pop()
    text = _plain_text(value)
    if text is None and value is not None and not isinstance(value, float):
        raise UserError(
            f"{file} {place}: {chosen} holds {_kind(value)}, expected a text; name the field with the answer itself by "
            f"--prediction-field{_inner(chosen, value)}"
        )
    if text is None:
        return None, "no prediction"
    if text.startswith(FAILURES):
        return None, text[:200]
    return text, None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    elif value is not None:
        yield str(value)


def _plain_text(value: Any) -> str | None:
    """The text of a cell, as the table has it: a spreadsheet's 5.0 is the 5 that was written.

    None where there is none: NaN, an object, several values. A list of text parts, as chat servers send, is their text.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], (Mapping, list)):
        return _plain_text(value[0])
    if isinstance(value, list) and value and all(_is_text_part(part) for part in value):
        return "".join(part["text"] for part in value)
    if value is None or isinstance(value, (Mapping, list)):
        return None
    return str(value)  # a date or time, which a spreadsheet makes of what looks like one


def _is_text_part(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"an object ({', '.join(map(str, list(value)[:6]))})"
    return f"a list of {len(value)}"


def _inner(chosen: str, value: Any) -> str:
    names = value if isinstance(value, Mapping) else ()
    likely = next((name for name in (*PREDICTION_FIELDS, "text", "content") if name in names), None)
    return f", such as {chosen}.{likely}" if likely else ""


def _choices(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts of the options, where the row lists them."""
    for name in CHOICE_FIELDS:
        value = row.get(name)
        values = list(value.values()) if isinstance(value, Mapping) else value
        if isinstance(values, list) and values and all(isinstance(each, (str, int, float)) for each in values):
            return tuple(map(str, values))
    return ()


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((text for name in names if (text := _plain_text(_get(row, name)))), None)


def _get(row: Any, name: str) -> Any:
    """A field, or with dots a field of a field, or the element of a list."""
    if isinstance(row, Mapping) and name in row:
        return row[name]
    outer, dot, inner = name.partition(".")
    if isinstance(row, list) and outer.isdecimal() and int(outer) < len(row):
        return _get(row[int(outer)], inner) if dot else row[int(outer)]
    return _get(row[outer], inner) if dot and isinstance(row, Mapping) and outer in row else None
