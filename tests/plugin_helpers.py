"""Packages that announce plug-ins, as pip would leave them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

TASK_FILE = '''
"""Which of the words is it?"""

from benchmarks.estimates import mean_by_group
from benchmarks.records import Prompt, Sample
from benchmarks.scoring import each_by_itself
from benchmarks.task import DataTable, ProtocolRule, Task


def to_sample(table, row, images):
    return Sample(
        index=row["index"], images=images, question=row["question"], target=row["answer"],
        groups=("kind/" + row["category"],), cluster=row["index"], row=row,
    )


def exact(sample, text):
    return float(text == sample.target), text


def halved(scores):
    from dataclasses import replace
    return {name: replace(each, unit="points") for name, each in mean_by_group(scores).items()}


TASK = Task(
    name="NAME", title="TITLE", paper="nobody's", tables=(DataTable(name="SMALL", md5=None, num_rows=None),),
    paper_table=None, to_sample=to_sample,
    prompts={"aki": lambda sample: Prompt(sample.index, (*sample.images, sample.question))},
    protocols={"kit": ProtocolRule(score=each_by_itself("kit", exact), estimate=ESTIMATE)},
    headline="kit", headline_metrics=("overall",), max_new_tokens=8,
)
'''

ANSWERS_FILE = '''
class Answers:
    """Right on all questions but those whose number is among its mistakes."""

    def __init__(self, mistakes=""):
        self.mistakes = set(mistakes.split("+"))
        self.name = "answers" + mistakes

    def describe(self):
        return {"mistakes": sorted(self.mistakes)}

    def predict(self, prompts):
        return ["no" if each.index in self.mistakes else "answer to " + each.index for each in prompts]


PREDICTOR = Answers
'''


def task_file(folder: Path, name: str = "quiz", title: str = "Quiz", estimate: str = "mean_by_group") -> Path:
    """A benchmark over the table of `run_helpers.write_table`."""
    text = TASK_FILE.replace("NAME", name).replace("TITLE", title).replace("ESTIMATE", estimate)
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def install(site: Path, package: str, announced: Mapping[str, Mapping[str, str]]) -> None:
    """Metadata of a package; `announced` maps groups to names to `module:attribute`."""
    folder = site / f"{package.replace('-', '_')}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [
        line
        for group, entries in announced.items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
