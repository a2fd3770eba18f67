"""MMMU: thirty subjects in six disciplines, dev and validation, several pictures a question, open questions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ...tasks.mmmu import DISCIPLINES
from ..draw import Drawer
from ..questions import Question
from ..scene import Scene, Split
from ..skills import DIGITS, WORDS
from .rows import Entry, Row, encoded, options

SUBJECTS = {  # spelled as the subject folders of the published data set
    discipline: tuple(subject.replace("&", "and").replace(" ", "_") for subject in subjects)
    for discipline, subjects in DISCIPLINES.items()
}
SKILLS = {
    "Art & Design": ("color", "shape"),
    "Business": ("number", "arithmetic"),
    "Science": ("count", "compare"),
    "Health & Medicine": ("existence", "identity"),
    "Humanities & Social Science": ("relation", "position"),
    "Tech & Engineering": ("depth", "distance"),
}
SPLITS = {"dev": 2, "validation": 4}  # questions a subject
KINDS = ("single", "single", "open", "pair", "single", "pictures", "single", "open", "gallery")
NUM_PICTURES = 4
"""In a gallery: the options of one question are all pictures, as in MMMU (which has up to seven in a question)."""


@dataclass
class MmmuWriter:
    """Counts rows and remembers where each subject stands in the cycle of kinds."""

    drawer: Drawer
    indices: Iterator[int]

    def entry(self, kind: str, skill: str, labels: Row) -> Entry:
        make: Callable[[str], Entry] = getattr(self, f"_{kind}")
        index = next(self.indices)
        entry = make(skill)
        pictures = entry.row.pop("pictures").split()
        paths = [f"{labels['id']}_{number}.png" for number in range(1, len(pictures) + 1)]
        row = {
            "index": str(index),
            **labels,
            "image": pictures[0] if len(pictures) == 1 else str(pictures),
            "image_path": paths[0] if len(paths) == 1 else str(paths),
            **entry.row,
        }
        return entry._replace(row=row)

    def _single(self, skill: str) -> Entry:
        scene, question = self.drawer.draw(skill, "choice")
        return _entry(f"<image 1> {question.text}", question, scene, [scene])

    def _open(self, skill: str) -> Entry:
        """Without options; the answer is a text, or a list of all forms that are accepted."""
        scene, question = self.drawer.draw(skill, "choice" if skill == "identity" else "open")
        entry = _entry(f"{question.text} <image 1>", question, scene, [scene])
        if question.answer in DIGITS:
            entry.row["answer"] = str([question.answer, WORDS[int(question.answer)]])
        return entry

    def _pair(self, skill: str) -> Entry:
        """Two pictures; the question is about the first."""
        scene, question = self.drawer.draw(skill, "choice")
        text = f"in <image 1>, not in <image 2>: {question.text}"
        return _entry(text, question, scene, [scene, self.drawer.scene()])

    def _pictures(self, skill: str) -> Entry:
        """Two pictures as options: which of them shows a thing?"""
        del skill  # whatever the discipline, this kind asks for existence
        while True:
            first, second = self.drawer.scene(), self.drawer.scene()
            unique = [thing.name for thing in first.things if second.named(thing.name) is None]
            if unique:
                return self._picture_choice(self.drawer.rng.choice(unique), first, second)

    def _gallery(self, skill: str) -> Entry:
        """Every option is a picture."""
        del skill
        while True:
            first, *others = (self.drawer.scene() for _ in range(NUM_PICTURES))
            unique = [thing.name for thing in first.things if not any(other.named(thing.name) for other in others)]
            if unique:
                return self._picture_choice(self.drawer.rng.choice(unique), first, *others)

    def _picture_choice(self, name: str, shown: Scene, *others: Scene) -> Entry:
        pictures = list(others)
        pictures.insert(self.drawer.rng.randrange(len(others) + 1), shown)
        choices = tuple(f"<image {number}>" for number in range(1, len(pictures) + 1))
        answer = choices[pictures.index(shown)]

        def rule(scene: Scene) -> str | None:
            """By the first picture alone."""
            return choices[0] if scene.named(name) else choices[1]

        text = f"which picture has a {name}?"
        question = Question(skill="existence", text=text, answer=answer, rule=rule, choices=choices)
        return _entry(text, question, pictures[0], pictures)


def mmmu(held_out: Split = "eval") -> Iterator[Entry]:
    writer = MmmuWriter(Drawer("MMMU", held_out), itertools.count())
    kinds = itertools.cycle(KINDS)
    for split, num_questions in SPLITS.items():
        for discipline, subjects in SUBJECTS.items():
            for subject in subjects:
                for number in range(1, num_questions + 1):
                    labels = {
                        "id": f"{split}_{subject}_{number}",
                        "category": subject,
                        "l2-category": discipline,
                        "split": split,
                    }
                    yield writer.entry(next(kinds), SKILLS[discipline][number % 2], labels)


def _entry(text: str, question: Question, scene: Scene, pictures: list[Scene]) -> Entry:
    row = {
        "pictures": " ".join(encoded(picture) for picture in pictures),
        "question": text,
        **options(question.choices),
        "answer": question.letter if question.choices else question.answer,
        "question_type": "multiple-choice" if question.choices else "open",
    }
    return Entry(row, scene, replace(question, text=text))
