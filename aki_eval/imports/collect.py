"""Predictions of one benchmark out of their files: read, matched, and what did not fit told and counted."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from benchmarks.printable import printable
from benchmarks.records import Prediction, Sample

from .matching import Matches, Problem, match
from .readers import Record, read_records, with_questions
from .sources import AnswerFiles

EXAMPLES = 5
PROBLEMS = {
    "missing": "questions have no prediction",
    "unknown": "predictions answer no question of the table",
    "disagreeing": "predictions quote another question than the one at their index",
    "conflicting": "questions have several different predictions, of which none is used",
}
ONE_MODEL = 0.1
"""Share of the questions answered in several files on which one model may differ from itself (sampling, reruns)."""


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Where things stand in the files, as far as the user says so."""

    index: str | None = None
    prediction: str | None = None
    table_column: str | None = None
    questions: Path | None = None
    sheet: str | None = None
    epoch: int | None = None


@dataclass(frozen=True, kw_only=True)
class Import:
    """What was taken over for one task: its predictions by sample, and what each file (by its path) gave."""

    predictions: dict[str, Prediction]
    files: dict[str, dict[str, Any]]
    num_missing: int


def collect(source: AnswerFiles, samples: Sequence[Sample], fields: Fields) -> Import:
    """Read and match all files of one task; says on stderr what could not be matched.

    Raises:
        UserError: a file cannot be read or matched, or the files are several models'.
    """
    predictions: dict[str, Prediction] = {}
    files: dict[str, dict[str, Any]] = {}
    for table in dict.fromkeys(source.tables[path] for path in source.files):
        paths = [path for path in source.files if source.tables[path] == table]
        records = [
            record
            for path in paths
            for record in read_records(path, fields.index, fields.prediction, sheet=fields.sheet, epoch=fields.epoch)
        ]
        if len(paths) > 1:
            records = [replace(record, place=f"{record.file} {record.place}") for record in records]
        if fields.questions:
            records = with_questions(records, fields.questions)
        try:
            matches = match(source.task, samples, records, table=table, column=fields.table_column)
        except UserError as error:
            raise UserError(f"{_called(paths)}: {error}") from error
        _check_one_model(matches, paths)
        _check_new(predictions, matches, paths)
        predictions |= matches.predictions
        for path in paths:
            files[str(path)] = _summary(path, records, matches)
        _tell(_called(paths), matches)
    return Import(
        predictions=predictions,
        files=files,
        num_missing=sum(sample.index not in predictions for sample in samples),
    )


def _called(paths: Sequence[Path]) -> str:
    return str(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def _check_one_model(matches: Matches, paths: Sequence[Path]) -> None:
    """Refuses answers that cannot be one model's.

    Raises:
        UserError: files answer the same questions differently.
    """
    twice = {problem.name for problem in matches.repeated} | {problem.name for problem in matches.conflicting}
    across = [problem for problem in matches.conflicting if sum(str(path) in problem.name for path in paths) > 1]
    if len(paths) > 1 and len(across) > ONE_MODEL * len(twice):
        raise UserError(
            f"the files answer {len(across)} questions differently, such as {across[0].name}: they are not one "
            "model's; import one model's files at a time"
        )


def _check_new(predictions: dict[str, Prediction], matches: Matches, paths: Sequence[Path]) -> None:
    twice = sorted(predictions.keys() & matches.predictions.keys())
    if twice:
        raise UserError(
            f"{_called(paths)} answers {len(twice)} questions that another file answers too, such as {twice[0]}"
        )


def _summary(path: Path, records: Sequence[Record], matches: Matches) -> dict[str, Any]:
    """For run.json: the file, and everything that did not fit. `missing` speaks of all files of a table together."""
    own = str(path)
    problems = {name: [each.name for each in found if each.file in ("", own)] for name, found in _all(matches).items()}
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "num_records": sum(record.file == own for record in records),
        "matched_by": matches.by,
        "num_matched": sum(file == own for file in matches.files.values()),
        "num_repeated": sum(problem.file == own for problem in matches.repeated),
        **{name: {"count": len(names), "examples": names[:EXAMPLES]} for name, names in problems.items()},
    }


def _all(matches: Matches) -> dict[str, list[Problem]]:
    return {
        "missing": [Problem("", name) for name in matches.missing],
        "unknown": matches.unknown,
        "disagreeing": matches.disagreeing,
        "conflicting": matches.conflicting,
    }


def _tell(called: str, matches: Matches) -> None:
    """One line on stderr for what was taken over, one for each kind of trouble."""
    answered = sum(prediction.text is not None for prediction in matches.predictions.values())
    failed = len(matches.predictions) - answered - len(matches.conflicting)
    print(f"{called}: {answered} predictions matched by {matches.by}", file=sys.stderr)
    for problem, found in _all(matches).items():
        if found:
            examples = ", ".join(each.name for each in found[:EXAMPLES]) + (", ..." if len(found) > EXAMPLES else "")
            print(f"{called}: {len(found)} {PROBLEMS[problem]}: {printable(examples)}", file=sys.stderr)
    if 2 * len(matches.unknown) > len(matches.predictions) and matches.by.endswith("text"):
        print(
            f"{called}: --questions FILE, the benchmark's own question file, says which picture each is about",
            file=sys.stderr,
        )
    if matches.repeated:
        print(f"{called}: {len(matches.repeated)} predictions were there twice, word for word", file=sys.stderr)
    if failed:
        print(f"{called}: {failed} predictions are failures, not answers; they stay unscored", file=sys.stderr)
