"""`inside/layers.json` of a run folder: what image tokens know and do, layer by layer (`aki-eval inspect --data`).

Right and wrong of every question are kept, so that intervals respect pictures, and seeds of a recipe and whole recipes
are compared question by question as everywhere (`benchmarks/arms.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..arms import ArmEstimate, arm_difference, arm_estimate
from ..checked import Checked
from ..errors import UserError
from ..estimates import Columns, Estimate
from ..files import write_atomically
from ..linear_probe import knowing_the_picture
from ..paired_tests import Difference
from ..records import Score
from .arms import Arm

FOLDER = "inside"
FILE = "layers.json"
Looked = Literal["image_to_question", "image_to_image", "change"]
"""Numbers of a layer beside its probes."""


class ProbedProperty(Checked):
    """One property of the object asked about. Rows are layers, columns the tested questions; 1 right, 0 wrong."""

    name: str
    num_classes: int
    labels: list[str]
    right: list[list[int]]
    shuffled: list[list[int]]
    """Of probes that were fitted on shuffled labels."""
    words_alone: list[int]


class InsideRecord(Checked):
    """The content of layers.json. Layer 0 is what comes into the first layer, layer k what leaves the k-th."""

    format: Literal[1]
    model: dict[str, Any]
    data: str
    data_sha256: str
    num_fitted: int
    layers: list[str]
    """Kind of attention of each layer of the text backbone: one fewer than there are rows."""
    pictures: list[str]
    """Of every tested question."""
    properties: list[ProbedProperty]
    image_to_question: list[list[float]]
    """Of every layer and tested question: share of the image tokens' attention that the question's words take."""
    image_to_image: list[list[float]]
    change: list[list[float | None]]
    """How far the image tokens behind the layer lie from those under another question about the same picture, relative
    to their length; None where no other was asked. From layer 1 on."""

    @property
    def attention(self) -> str:
        used, trained = self.model.get("attention"), self.model.get("trained_attention")
        return f"{used}" if used == trained or trained is None else f"{trained} used as {used}"


def write_inside(folder: Path, record: InsideRecord) -> Path:
    """Writes layers.json below `folder` and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    write_atomically(path, json.dumps(record.model_dump()) + "\n")
    return path


def read_inside(run: Path) -> InsideRecord | None:
    """Of a run folder; None where nobody looked inside.

    Raises:
        UserError: the file is damaged, or of a later version.
    """
    path = run / FOLDER / FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); make it again with aki-eval inspect --data") from error
    return InsideRecord.of(content, f"{path} is not as aki-eval inspect --data writes it; make it again")


Floats = NDArray[np.float64]


class ArmInside:
    """An arm's records and estimates made of them; `layers` and properties are those of its first run."""

    def __init__(self, label: str, records: dict[int | str, InsideRecord]) -> None:
        """`records`: by training seed, or by a name where it is not known."""
        self.label = label
        self.records = records
        self.first = next(iter(records.values()))

    def _estimates(self, values: dict[int | str, Floats], *, bounded: bool = True) -> dict[int | str, Estimate]:
        return {key: estimate(values[key], record.pictures, bounded=bounded) for key, record in self.records.items()}

    def accuracy(self, name: str, layer: int, *, control: bool = False) -> dict[int | str, Estimate]:
        """Per cent right of a property's probe behind a layer, or of that on shuffled labels, by seed."""
        found = {key: self._property(record, name) for key, record in self.records.items()}
        rows = {key: (each.shuffled if control else each.right)[layer] for key, each in found.items()}
        return self._estimates({key: np.array(row, dtype=np.float64) for key, row in rows.items()})

    def over_picture(self, name: str, layer: int) -> Difference | None:
        """Per cent right beyond the most that the picture alone allows, question by question."""
        return arm_difference({"picture alone": self.picture_alone(name)}, self.accuracy(name, layer))

    def picture_alone(self, name: str) -> Estimate:
        found = self._property(self.first, name)
        return estimate(knowing_the_picture(found.labels, self.first.pictures), self.first.pictures)

    def words_alone(self, name: str) -> Estimate:
        found = self._property(self.first, name)
        return estimate(np.array(found.words_alone, dtype=np.float64), self.first.pictures)

    def number(self, what: Looked, layer: int) -> ArmEstimate:
        """Per cent, behind or in the layer numbered from 1; `change` may exceed 100."""
        values = {
            key: np.array([np.nan if each is None else each for each in getattr(record, what)[layer - 1]], np.float64)
            for key, record in self.records.items()
        }
        return arm_estimate(self._estimates(values, bounded=what != "change"))

    @staticmethod
    def _property(record: InsideRecord, name: str) -> ProbedProperty:
        return next(each for each in record.properties if each.name == name)


def estimate(values: Floats, pictures: Sequence[str], *, bounded: bool = True) -> Estimate:
    """100 times the mean of values (N,), with what each picture has to do with it; NaN is left out.

    bounded: it lies between 0 and 100.
    """
    clusters = [
        Score(index=str(place), protocol=FOLDER, value=0.0, cluster=picture) for place, picture in enumerate(pictures)
    ]
    columns = Columns(clusters)
    ones = np.where(np.isnan(values), np.nan, 1.0)
    return columns.ratio(values, ones, columns.everything, bounded=bounded)


def arm_inside(arm: Arm) -> ArmInside | None:
    """Of an arm whose runs were all looked into on the same questions; None where none was.

    Raises:
        UserError: they were asked different questions, or some run was not looked into.
    """
    found = {key: read_inside(run.path) for key, run in zip(arm.keys, arm.runs, strict=True)}
    records = {key: record for key, record in found.items() if record is not None}
    if not records:
        return None
    if len(records) < len(found):
        missing = next(run.label for run, record in zip(arm.runs, found.values(), strict=True) if record is None)
        raise UserError(f"{arm.label}: nobody looked inside {missing}; aki-eval inspect --data, for all of its runs")
    if len({(record.data_sha256, len(record.layers)) for record in records.values()}) > 1:
        raise UserError(f"{arm.label}: its runs were looked into with different questions, or have different layers")
    return ArmInside(arm.label, records)


def difference(a: ArmInside, b: ArmInside, name: str, layer: int) -> Difference | None:
    """Accuracy of B's probes minus A's behind a layer, paired by question and seed; None where that cannot be said."""
    if a.first.data_sha256 != b.first.data_sha256:
        return None
    return arm_difference(a.accuracy(name, layer), b.accuracy(name, layer))
