"""Which question does a prediction answer? By its id; else by what it says about the question. Never by guessing.

An id counts where the table has it (in `index`, or in another column that tells rows apart) and where what the file
quotes agrees: ids that count within a split, or in another release, quote other questions than the table's rows of
that number, and are set aside as a whole. Without such ids two things count as proof: the same number of predictions as
questions, each repeating the text or the options (and, where given, the right answer) of the question at its position;
or a question's text, with its picture's name where the file gives one, that a single question and a single prediction
has. Everything else stays unmatched, and is counted and named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from benchmarks.errors import UserError
from benchmarks.records import Prediction, Sample
from benchmarks.task import Task

from .readers import Record

AGREEING = 0.9
"""Share of predictions that must not quote another question than the table's for their ids to be the table's."""
ENOUGH_TARGETS = 20
"""Right answers in the file from which on their agreement with the table's is looked at too."""
OTHER_NAMES = {"mm_vet": "v1_{}"}
"""What a benchmark's own files call the table's row {}: MM-Vet's results are {"v1_0": answer, ...}, its question N is
row N of VLMEvalKit's table (both have 218, in one order; with --questions it is checked by the texts)."""
NOT_IDS = re.compile(r"question|hint|context|answer|caption|gpt4_ans|choices|query|[A-Z]|prompt")
"""Columns that hold content, not names."""
INSTRUCTIONS = (
    "please answer yes or no.",
    "answer the question using a single word or phrase.",
    "answer with the option's letter from the given choices directly.",
    "answer with the option letter from the given choices directly.",
    "please select the correct answer from the options above.",
    "please try to answer the question with short words or phrases if possible.",
)
"""What harnesses add to a question; of no account when questions are compared."""
LABEL = re.compile(r"^(?:question|q|context|hint|query)\s*:\s*")
PICTURE = re.compile(r"<image(?: \d+)?>|<img>|</img>")


class Problem(NamedTuple):
    """Something that did not fit: the file it stands in (empty: in none) and its name for messages."""

    file: str
    name: str


@dataclass(kw_only=True)
class Matches:
    """What became of every prediction and every question."""

    by: str
    predictions: dict[str, Prediction] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    """From which file each was taken."""
    unknown: list[Problem] = field(default_factory=list)
    """Predictions for questions that the tables do not have, or for which no question could be found."""
    disagreeing: list[Problem] = field(default_factory=list)
    """Predictions that quote another question than the one with their id."""
    conflicting: list[Problem] = field(default_factory=list)
    """Questions with several different predictions: not one of them is used."""
    repeated: list[Problem] = field(default_factory=list)
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
    """`table`: the one of the task's tables that the file's name speaks of; ids are then its own.

    `column`: the table's column that holds the predictions' ids. None: the one that fits.

    Raises:
        UserError: nothing could be matched, or the column does not tell the questions apart.
    """
    asked = _Asked(task, [sample for sample in samples if table is None or sample.index.startswith(f"{table}/")], table)
    numbering = _numbering(asked, records, column)
    if numbering is not None:
        matches = _by_id(asked, records, numbering)
    elif _same_in_order(asked, records):
        pairs = [(sample.index, record) for sample, record in zip(asked.samples, records, strict=True)]
        matches = _collect("position", pairs)
    else:
        matches = _by_text(asked, records)
    if not matches.predictions:
        raise UserError(_nothing(asked, records))
    matches.missing = [sample.index for sample in asked.samples if sample.index not in matches.predictions]
    return matches


class _Asked:
    """The questions, and what may name them."""

    def __init__(self, task: Task, samples: Sequence[Sample], table: str | None) -> None:
        self.task = task
        self.samples = list(samples)
        self.table = table
        self.texts = {sample.index: _texts(task, sample) for sample in samples}
        self.cores = {index: {core(text) for text in texts} for index, texts in self.texts.items()}
        self.by_index = {sample.index: sample for sample in samples}

    def quoted(self, record: Record, index: str) -> bool:
        """A prediction that quotes no question agrees with any; one that quotes part of it, or more, does too."""
        said = core(record.question or "")
        return not said or any(said in text or text in said for text in self.cores[index])

    def targeted(self, record: Record, index: str) -> bool | None:
        """Whether file and table name the same right answer; None where they do not speak of the same things."""
        given, own = _answer(record.target), _answer(self.by_index[index].target)
        if given is None or own is None or (len(given) == 1) != (len(own) == 1):
            return None
        return given == own


def _texts(task: Task, sample: Sample) -> set[str]:
    """In which words the question may be quoted: the table's, or one of our prompts, where they can be made."""
    texts = {plain(sample.question)}
    for make in task.prompts.values():
        with suppress(UserError):  # such as a picture that the table lacks: no matter here, a run will say it
            texts.add(plain(make(sample).text))
    return texts


def _answer(text: str | None) -> str | None:
    """A letter or a yes or no; other answers are written in too many ways to be compared."""
    word = (text or "").strip().strip("().").casefold()
    return word if word in ("yes", "no") or (len(word) == 1 and word.isalpha()) else None


# By id.


class _Numbering(NamedTuple):
    """The records' field with the ids, and the questions of each id; `by` for the record."""

    field: str
    names: Mapping[str, list[str]]
    by: str


def _numbering(asked: _Asked, records: Sequence[Record], column: str | None) -> _Numbering | None:
    """The ids that are the table's; None when there are none.

    Raises:
        UserError: `column` is none of the table's, or its values do not tell the questions apart.
    """
    fields = list(dict.fromkeys(name for record in records for name in record.ids))
    for name in fields:
        for where, names in _columns(asked, column):
            found = [(record, names[record.ids[name]]) for record in records if record.ids.get(name) in names]
            enough = found if where in ("index", column) else len(found) >= AGREEING * len(records)
            if enough and _fits(asked, found):
                return _Numbering(name, names, "index" if where == "index" else f"{name}, the table's {where}")
    return None


def _columns(asked: _Asked, column: str | None) -> Iterator[tuple[str, Mapping[str, list[str]]]]:
    """Each column that may hold ids: its name, and the questions of each of its values."""
    if column is not None:
        names = _values(asked, column)
        if len(names) < len(asked.samples) and column != "image_path":
            raise UserError(
                f"--table-column {column}: {len(asked.samples)} questions have only {len(names)} values in it"
            )
        yield column, names
        return
    own: dict[str, list[str]] = {}
    for sample in asked.samples:
        short = sample.index.removeprefix(f"{asked.table}/") if asked.table else sample.index
        other = OTHER_NAMES.get(asked.task.name)
        for name in (sample.index, short, *([other.format(short)] if other else [])):
            own.setdefault(name, [sample.index])
    yield "index", own
    for name in dict.fromkeys(name for sample in asked.samples for name in sample.row):
        if name != "index" and not NOT_IDS.fullmatch(name):
            names = _values(asked, name)
            if 2 * len(names) >= len(asked.samples):
                yield name, names


def _values(asked: _Asked, column: str) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for sample in asked.samples:
        names.setdefault(sample.row.get(column, ""), []).append(sample.index)
    if not any(names):
        asked.samples[0].row[column]  # says which columns there are
    return names


def _fits(asked: _Asked, found: Sequence[tuple[Record, list[str]]]) -> bool:
    """Whether what the predictions quote is, but for a few, what the table asks under their ids."""
    quoting = [(record, indices) for record, indices in found if record.question]
    agreeing = sum(any(asked.quoted(record, index) for index in indices) for record, indices in quoting)
    if len(quoting) - agreeing > (1 - AGREEING) * len(found):
        return False
    told = [asked.targeted(record, indices[0]) for record, indices in found if len(indices) == 1]
    compared = [each for each in told if each is not None]
    return len(compared) < ENOUGH_TARGETS or sum(compared) >= AGREEING * len(compared)


def _by_id(asked: _Asked, records: Sequence[Record], numbering: _Numbering) -> Matches:
    pairs, unknown, disagreeing = [], [], []
    for record in records:
        indices = numbering.names.get(record.ids.get(numbering.field, ""), [])
        agreeing = [index for index in indices if asked.quoted(record, index)]
        if not indices or len(agreeing) > 1:
            unknown.append(Problem(record.file, record.name))
        elif not agreeing:
            disagreeing.append(Problem(record.file, record.name))
        else:
            pairs.append((agreeing[0], record))
    matches = _collect(numbering.by, pairs)
    matches.unknown, matches.disagreeing = unknown, disagreeing
    return matches


# By position.


def _same_in_order(asked: _Asked, records: Sequence[Record]) -> bool:
    return len(asked.samples) == len(records) and all(
        _says_the_same(asked, sample, record)
        and (record.target is None or plain(record.target).strip("()") == plain(sample.target))
        for sample, record in zip(asked.samples, records, strict=True)
    )


def _says_the_same(asked: _Asked, sample: Sample, record: Record) -> bool:
    if record.question is not None:
        return plain(record.question) in asked.texts[sample.index]
    return bool(record.choices) and [*map(plain, record.choices)] == [*map(plain, sample.choices.values())]


# By text.


def _by_text(asked: _Asked, records: Sequence[Record]) -> Matches:
    pictures = _Pictures(asked, records)
    askers: dict[str, list[str]] = {}
    for index, cores in asked.cores.items():
        for key in cores:
            askers.setdefault(key, []).append(index)
    tellers: dict[tuple[str, str], set[str]] = {}
    for record in records:  # the same id twice is one prediction, said twice
        who = str(sorted(record.ids.items())) if record.ids else f"{record.file} {record.place}"
        tellers.setdefault(_teller(record, pictures), set()).add(who)
    pairs, unknown = [], []
    for record in records:
        found = pictures.narrow(record, _candidates(record, askers))
        found = _with_options(asked, record, found) if len(found) > 1 else found
        told = len(tellers[_teller(record, pictures)])
        if len(found) == 1 and (told == 1 or pictures.known(record)):
            pairs.append((found[0], record))
        else:
            name = f"{record.name} ({len(found)} questions and {told} predictions have its text)"
            unknown.append(Problem(record.file, name))
    matches = _collect("picture and text" if pictures.used else "text", pairs)
    matches.unknown = unknown
    return matches


def _teller(record: Record, pictures: _Pictures) -> tuple[str, str]:
    return core(record.question or ""), (record.image or "") if pictures.used else ""


def _candidates(record: Record, askers: Mapping[str, list[str]]) -> list[str]:
    """Questions whose text is the record's, or some whole lines of it (options and instructions stand around it)."""
    whole = core(record.question or "")
    if not whole:
        return []
    if whole in askers:
        return askers[whole]
    lines = [line for line in (record.question or "").split("\n") if line.strip()]
    parts = [*lines, *("\n".join(lines[:end]) for end in range(len(lines) - 1, 1, -1))]
    parts += ["\n".join(lines[start:]) for start in range(1, min(len(lines), 10))]
    return next((askers[key] for part in parts if (key := core(part)) and key in askers), [])


def _with_options(asked: _Asked, record: Record, found: Iterable[str]) -> list[str]:
    """Of questions in the same words those whose options the record lists, or has in its text."""
    said = plain(record.question or "")
    kept = []
    for index in found:
        options = [plain(option) for option in asked.by_index[index].choices.values()]
        listed = [*map(plain, record.choices)]
        if options and (listed == options if listed else all(option in said for option in options)):
            kept.append(index)
    return kept or list(found)


class _Pictures:
    """The names of the pictures in the table, where nearly all predictions name one of them."""

    def __init__(self, asked: _Asked, records: Sequence[Record]) -> None:
        self.of: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for sample in asked.samples:
            name = sample.row.get("image_path", "")
            if name and not name.startswith("["):
                parts = _path(name)
                self.of.setdefault(parts[-1], []).append((parts, sample.index))
        naming = sum(bool(self._find(record)) for record in records)
        self.used = bool(self.of) and naming >= AGREEING * len(records)

    def known(self, record: Record) -> bool:
        return self.used and bool(self._find(record))

    def narrow(self, record: Record, found: Sequence[str]) -> list[str]:
        """Those of the questions that are about the record's picture."""
        if not self.used:
            return list(found)
        own = set(self._find(record))
        return [index for index in found if index in own]

    def _find(self, record: Record) -> list[str]:
        """A path agrees with one that goes on to the left of it."""
        if not record.image:
            return []
        parts = _path(record.image)
        return [
            index
            for other, index in self.of.get(parts[-1], [])
            if (shorter := min(len(other), len(parts))) and other[-shorter:] == parts[-shorter:]
        ]


def _path(name: str) -> tuple[str, ...]:
    """The folders and the name without its ending."""
    stem = re.sub(r"\.(?:jpe?g|png|webp|bmp|gif)$", "", name.strip().casefold())
    return tuple(part for part in stem.replace("\\", "/").split("/") if part not in ("", ".")) or ("",)


def _collect(by: str, pairs: Sequence[tuple[str, Record]]) -> Matches:
    """One prediction a question; where several differ, an error that says so."""
    matches = Matches(by=by)
    found: dict[str, list[Record]] = {}
    for index, record in pairs:
        found.setdefault(index, []).append(record)
    for index, records in found.items():
        matches.files[index] = records[0].file
        if len({record.text for record in records}) > 1:
            places = ", ".join(record.place for record in records)
            matches.conflicting.append(Problem(records[0].file, f"{index} ({places})"))
            error = f"{len(records)} different predictions were given ({places})"
            matches.predictions[index] = Prediction(index=index, prompt="", text=None, error=error)
            continue
        matches.repeated += [Problem(record.file, record.name) for record in records[1:]]
        matches.predictions[index] = Prediction(index=index, prompt="", text=records[0].text, error=records[0].error)
    return matches


@lru_cache(maxsize=2**16)
def plain(text: str) -> str:
    """Without pictures' places, white space and capitals."""
    return " ".join(PICTURE.sub(" ", text).casefold().split())


@lru_cache(maxsize=2**16)
def core(text: str) -> str:
    """The question itself: without what harnesses write before and behind it."""
    found = plain(text)
    for instruction in INSTRUCTIONS:
        found = found.replace(instruction, " ")
    return " ".join(LABEL.sub("", found.strip()).split())


def _nothing(asked: _Asked, records: Sequence[Record]) -> str:
    known = [record for record in records if record.ids]
    wanted = ", ".join(sample.index for sample in asked.samples[:3])
    if known:
        name = next(iter(known[0].ids))
        given = ", ".join(next(iter(record.ids.values())) for record in known[:3])
        hit = any(value in asked.by_index for record in known for value in record.ids.values())
        reason = "quote other questions" if hit else "have other indices"
        return (
            f"no prediction matches a question: the predictions {reason} ({name} {given}, ...) than the table "
            f"({wanted}, ...), and no text belongs to one question alone; --questions names the benchmark's own "
            "question file with these ids, --index-field another field"
        )
    return (
        "no prediction matches a question: there is no index, the predictions do not repeat the table's questions in "
        "its order, and no text belongs to one question alone; name the field of the index with --index-field"
    )
