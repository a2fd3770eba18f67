"""Which question does a prediction answer? By its index; else by what it says about the question. Never by guessing.

Without an index two things count as proof: the same number of predictions as questions, each of them repeating the
text (and, where given, the right answer) of the question at its position; or a text that only one question and only
one prediction has. Everything else stays unmatched, and is counted and named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.errors import UserError
from benchmarks.records import Prediction, PromptStyle, Sample
from benchmarks.task import Task

from .readers import Record


@dataclass(kw_only=True)
class Matches:
    """What became of every prediction and every question; the lists hold names for messages."""

    by: str
    predictions: dict[str, Prediction] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    """Predictions for questions that the tables do not have, or for which no question could be found."""
    disagreeing: list[str] = field(default_factory=list)
    """Predictions that quote another question than the one at their index."""
    conflicting: list[str] = field(default_factory=list)
    """Questions with several different predictions: not one of them is used."""
    num_repeated: int = 0
    """Predictions that only say again what another one said."""
    missing: list[str] = field(default_factory=list)
    """Questions without a prediction."""


def match(
    task: Task,
    samples: Sequence[Sample],
    records: Sequence[Record],
    *,
    table: str | None = None,
    column: str | None = None,
) -> Matches:
    """`table`: the one of the task's tables that the file's name speaks of; indices are then its own.

    `column`: the table's column that holds what the predictions call their index, where that is not `index`.

    Raises:
        UserError: nothing could be matched, or the column does not tell the questions apart.
    """
    own = [sample for sample in samples if table is None or sample.index.startswith(f"{table}/")]
    texts = {sample.index: _texts(task, sample) for sample in own}
    if any(record.index is not None for record in records):
        matches = _by_index(records, _names(own, table, column), texts)
    elif _same_in_order(own, records, texts):
        matches = _collect("position", [(sample.index, record) for sample, record in zip(own, records, strict=True)])
    else:
        matches = _by_text(own, records, texts)
    if not matches.predictions:
        raise UserError(_nothing(own, records, matches))
    matches.missing = [sample.index for sample in own if sample.index not in matches.predictions]
    return matches


def _names(samples: Sequence[Sample], table: str | None, column: str | None) -> dict[str, str]:
    """What predictions may call a question -> its index."""
    if column is None:
        short = {sample.index.removeprefix(f"{table}/"): sample.index for sample in samples if table}
        return short | {sample.index: sample.index for sample in samples}
    names = {sample.row[column]: sample.index for sample in samples}
    if len(names) < len(samples):
        raise UserError(f"--table-column {column}: {len(samples)} questions have only {len(names)} values in it")
    return names


def _by_index(records: Sequence[Record], names: Mapping[str, str], texts: Mapping[str, set[str]]) -> Matches:
    pairs, unknown, disagreeing = [], [], []
    for record in records:
        index = names.get(record.index or "")
        if index is None:
            unknown.append(f"{record.index} ({record.place})")
        elif not _agrees(record, texts[index]):
            disagreeing.append(f"{record.index} ({record.place})")
        else:
            pairs.append((index, record))
    matches = _collect("index", pairs)
    matches.unknown, matches.disagreeing = unknown, disagreeing
    return matches


def _by_text(samples: Sequence[Sample], records: Sequence[Record], texts: Mapping[str, set[str]]) -> Matches:
    askers: dict[str, list[Sample]] = {}
    for sample in samples:
        for text in texts[sample.index]:
            askers.setdefault(text, []).append(sample)
    tellers: dict[str, int] = {}
    for record in records:
        tellers[plain(record.question or "")] = tellers.get(plain(record.question or ""), 0) + 1
    pairs, unknown = [], []
    for record in records:
        text = plain(record.question or "")
        found = askers.get(text, [])
        if text and len(found) == 1 and tellers[text] == 1:
            pairs.append((found[0].index, record))
        else:
            unknown.append(f"{record.place} ({len(found)} questions and {tellers[text]} predictions have its text)")
    matches = _collect("text", pairs)
    matches.unknown = unknown
    return matches


def _same_in_order(samples: Sequence[Sample], records: Sequence[Record], texts: Mapping[str, set[str]]) -> bool:
    return len(samples) == len(records) and all(
        record.question is not None
        and plain(record.question) in texts[sample.index]
        and (record.target is None or plain(record.target).strip("()") == plain(sample.target))
        for sample, record in zip(samples, records, strict=True)
    )


def _collect(by: str, pairs: Sequence[tuple[str, Record]]) -> Matches:
    """One prediction a question; where several differ, an error that says so."""
    matches = Matches(by=by)
    found: dict[str, list[Record]] = {}
    for index, record in pairs:
        found.setdefault(index, []).append(record)
    for index, records in found.items():
        texts = {record.text for record in records}
        if len(texts) > 1:
            places = ", ".join(record.place for record in records)
            matches.conflicting.append(f"{index} ({places})")
            error = f"{len(records)} different predictions were given ({places})"
            matches.predictions[index] = Prediction(index=index, prompt="", text=None, error=error)
            continue
        matches.num_repeated += len(records) - 1
        matches.predictions[index] = Prediction(index=index, prompt="", text=records[0].text, error=records[0].error)
    return matches


def _agrees(record: Record, texts: set[str]) -> bool:
    """A prediction that quotes no question agrees with any; one that quotes part of it, or more, does too."""
    quoted = plain(record.question or "")
    return not quoted or any(quoted in text or text in quoted for text in texts)


def _texts(task: Task, sample: Sample) -> set[str]:
    """In which words the question may be quoted: the table's, or one of our prompts."""
    styles: tuple[PromptStyle, ...] = ("aki", "vlmevalkit")
    return {plain(sample.question), *(plain(task.prompts[style](sample).text) for style in styles)}


def plain(text: str) -> str:
    """Without pictures' places, white space and capitals."""
    return " ".join(text.replace("<image>", " ").casefold().split())


def _nothing(samples: Sequence[Sample], records: Sequence[Record], matches: Matches) -> str:
    if matches.by == "index":
        given = ", ".join(str(record.index) for record in records[:3])
        asked = ", ".join(sample.index for sample in samples[:3])
        reason = "quote other questions" if matches.disagreeing else "have other indices"
        return (
            f"no prediction matches a question: the predictions {reason} ({given}, ...) than the table ({asked}, ...)"
        )
    return (
        "no prediction matches a question: there is no index, the predictions do not repeat the table's questions in "
        "its order, and no text belongs to one question alone; name the field of the index with --index-field"
    )
