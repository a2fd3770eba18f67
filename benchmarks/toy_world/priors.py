"""The prior of a question: how often it is answered rightly by one who has not really looked.

Uniform chance is no fair floor in a balanced, structured world. The prior is the better of two blind answerers:

- *majority* always gives the answer that is most often right for this skill and form (for multiple choice: the
  most frequent text or the most frequent letter, whichever does better);
- *glance* sees which colors and which shapes occur, but not how many things there are, where and how large they are,
  which color goes with which shape, or what the digit is. It gives the answer that is most often right in such scenes.

A model above the prior has bound attributes to things, counted, located or read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from .questions import Question
from .scene import Scene, Split, scenes
from .tables import ALL_TABLES, TABLES
from .tables.rows import Entry

POOL_SIZE = 20_000
Glance = tuple[frozenset[str], frozenset[str]]


class Prior(NamedTuple):
    """Fractions of questions answered rightly, and the number of questions."""

    majority: float
    glance: float
    num_questions: int

    @property
    def value(self) -> float:
        return max(self.majority, self.glance)


def priors(tables: Collection[str] = tuple(TABLES), split: Split = "eval") -> dict[str, Prior]:
    """Priors of the tables' questions by skill (`skill/color`) and by table (`table/MME`): plain accuracies."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for name in tables:
        for entry in distinct_entries(name, split):
            groups[f"table/{name}"].append(entry)
            groups[f"skill/{entry.question.skill}"].append(entry)
    pool = _pool()
    return {name: _prior(entries, pool) for name, entries in sorted(groups.items())}


def distinct_entries(table: str, split: Split = "eval") -> Iterator[Entry]:
    """A table's entries with one right answer. Rolls of a circular question count once, as the first of them."""
    seen: set[int] = set()
    for entry in list(ALL_TABLES[table](split)):
        if entry.question.skill != "describe" and id(entry.question) not in seen:
            seen.add(id(entry.question))
            yield entry


def _prior(entries: Sequence[Entry], pool: dict[Glance, list[Scene]]) -> Prior:
    entries = [entry for entry in entries for _ in range(weight(entry))]
    kinds: dict[str, list[Question]] = defaultdict(list)
    for entry in entries:
        kinds[_kind(entry.question)].append(entry.question)
    majority = sum(_majority_hits(questions) for questions in kinds.values())
    glance = sum(_glance_answer(entry, pool) == entry.question.answer for entry in entries)
    return Prior(majority / len(entries), glance / len(entries), len(entries))


def weight(entry: Entry) -> int:
    """POPE's rows count once for each of their categories; there yes and no are in balance."""
    category = entry.row.get("category", "")
    return len(category.split(",")) if entry.question.skill == "existence" else 1


def _kind(question: Question) -> str:
    form = "choice" if question.choices else "check" if question.answer in ("yes", "no") else "open"
    return f"{question.skill} {form}"


def _majority_hits(questions: Sequence[Question]) -> int:
    """Of the most frequent answer; for multiple choice of the most frequent text or letter, whichever does better."""
    texts = Counter(question.answer for question in questions)
    letters = Counter(question.letter for question in questions if question.choices)
    return max([*texts.values(), *letters.values()])


def _glance_answer(entry: Entry, pool: dict[Glance, list[Scene]]) -> str:
    question = entry.question
    answers = Counter(answer for scene in pool[_glance(entry.scene)] if (answer := question.rule(scene)) is not None)
    offered = [(count, answer) for answer, count in answers.items() if answer in (question.choices or answers)]
    if offered:
        return max(offered)[1]
    return question.choices[0] if question.choices else ""


def _pool() -> dict[Glance, list[Scene]]:
    pool: dict[Glance, list[Scene]] = defaultdict(list)
    for scene in scenes("priors", POOL_SIZE):
        pool[_glance(scene)].append(scene)
    return pool


def _glance(scene: Scene) -> Glance:
    return frozenset(thing.color for thing in scene.things), frozenset(thing.shape for thing in scene.things)


def priors_table() -> str:
    """The priors as markdown, percent: what toy_world.md shows."""
    lines = ["| questions | majority | glance | prior | number |", "|---|---|---|---|---|"]
    for name, prior in priors().items():
        values = " | ".join(f"{100 * value:.1f}" for value in (prior.majority, prior.glance, prior.value))
        lines.append(f"| {name} | {values} | {prior.num_questions} |")
    return "\n".join(lines) + "\n"
