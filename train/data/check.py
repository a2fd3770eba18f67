"""Is a data root complete and sound? Reads every annotation, looks for every picture, measures every box."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError

from .captions import CaptionKind
from .instructions import InstructionData, InstructionSet
from .instructions.base import read_json
from .instructions.llava import ANNOTATIONS as LLAVA_ANNOTATIONS
from .instructions.visual_genome import count_left_out

TABLE_4_SIZES = {
    "vqav2": 83_000,
    "gqa": 72_000,
    "vsr": 8_000,
    "ocrvqa": 80_000,
    "aokvqa": 50_000,
    "scienceqa": 12_000,
    "refcoco": 120_000,
    "refcocog": 80_000,
    "refcoco_plus": 120_000,
    "visual_genome": 86_000,
    "llava": 158_000,
}
"""The paper's "Total Size". It counts pictures for some sets, questions for others and conversations for LLaVA-150k."""
SIZE_TOLERANCE = 0.06
LEFT_OUT: dict[str, Callable[[Path], int]] = {"visual_genome": count_left_out}
CONVERSATIONS: dict[str, Callable[[Path], int]] = {
    "llava": lambda root: len(read_json(root / LLAVA_ANNOTATIONS, what="LLaVA-Instruct-150k"))
}
NUM_EXAMPLES = 5
Box = tuple[float, float, float, float]


@dataclass(kw_only=True)
class SetReport:
    """What was found of one set. `error` says why it could not be read at all; then the counts mean nothing."""

    name: str
    title: str
    error: str | None = None
    num_samples: int = 0
    num_pictures: int = 0
    num_conversations: int | None = None
    table_4: int | None = None
    num_left_out: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    broken_boxes: list[str] = field(default_factory=list)
    over_the_edge: int = 0
    """Boxes that reach beyond the picture a little, as some of Visual Genome's do. Trained on as they are."""
    unusable: list[str] = field(default_factory=list)
    """Records that are left out because they have another shape, or nothing to ask or to learn."""

    @property
    def sound(self) -> bool:
        return not (self.error or self.missing or self.damaged or self.broken_boxes or self.unusable)

    @property
    def size_note(self) -> str:
        """Which of the counts is Table 4's; its number where none is."""
        if self.table_4 is None or self.error:
            return ""
        counts = {
            "samples": self.num_samples,
            "pictures": self.num_pictures,
            "conversations": self.num_conversations,
        }
        for unit, count in counts.items():
            if count and abs(count - self.table_4) <= SIZE_TOLERANCE * self.table_4:
                return f"= {unit}"
        return f"not {self.table_4:,}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "sound": self.sound, "size_note": self.size_note}


def check_set(
    instruction_set: InstructionSet, root: Path, *, decode: int, watch: Callable[[Iterable[int]], Iterable[int]]
) -> SetReport:
    """Everything about one set.

    Args:
        instruction_set: which of the eleven.
        root: of the data.
        decode: so many of its pictures, drawn at random, are opened and decoded.
        watch: wraps the loop over samples, for a progress bar.
    """
    report = SetReport(
        name=instruction_set.name, title=instruction_set.title, table_4=TABLE_4_SIZES.get(instruction_set.name)
    )
    try:
        data = InstructionData(instruction_set, root, root / ".aki")
    except UserError as error:
        report.error = str(error)
        return report
    report.unusable = [f"{skip.record}: {skip.reason}" for skip in data.skipped]
    pictures = _look_at_samples(data, report, watch)
    report.missing = missing_pictures(root, pictures)
    report.damaged = damaged_pictures(root, sorted(set(pictures) - set(report.missing)), decode)
    if instruction_set.name in LEFT_OUT:
        report.num_left_out = LEFT_OUT[instruction_set.name](root)
    if instruction_set.name in CONVERSATIONS:
        report.num_conversations = CONVERSATIONS[instruction_set.name](root)
    return report


def missing_pictures(root: Path, pictures: Iterable[str]) -> list[str]:
    """Those that are not there. Each folder is listed once: much faster than asking for half a million files."""
    by_folder: dict[str, set[str]] = {}
    for picture in pictures:
        folder, _, name = picture.rpartition("/")
        by_folder.setdefault(folder, set()).add(name)
    missing = []
    for folder, names in sorted(by_folder.items()):
        path = root / folder
        present = {entry.name for entry in os.scandir(path)} if path.is_dir() else set()
        missing += [f"{folder}/{name}" for name in sorted(names - present)]
    return missing


def damaged_pictures(root: Path, pictures: Sequence[str], count: int) -> list[str]:
    """Of `count` pictures drawn at random, those that do not decode."""
    from .pictures import UnreadablePicture, picture_path, read_picture

    broken = []
    for picture in random.Random(0).sample(pictures, min(count, len(pictures))):
        try:
            read_picture(picture_path(root, picture))
        except UnreadablePicture as error:
            broken.append(f"{picture}: {error}")
    return broken


def check_shards(
    folder: Path,
    kind: CaptionKind,
    *,
    read: int | None,
    watch: Callable[[Iterable[Path]], Iterable[Path]],
) -> list[str]:
    """What is wrong with a folder's caption shards.

    Those that end early, are empty or are no shards, and the records that training would leave out.

    Args:
        folder: of the shards.
        kind: whose records they hold.
        watch: wraps the loop over shards, for a progress bar.
        read: so many shards, drawn at random, are read from end to end; None: all of them. The ends of all are looked
            at.

    Raises:
        UserError: there is no shard.
    """
    from .captions import check_shard, unusable_records
    from .shards import find_shards

    shards = [shard for shard in find_shards(folder) if isinstance(shard, Path)]
    chosen = shards if read is None else sorted(random.Random(0).sample(shards, min(read, len(shards))))
    faults = []
    for path in shards:
        try:
            check_shard(path)
        except UserError as error:
            faults.append(str(error))
    for path in watch(chosen):
        try:
            faults += [f"{skip.source}: {skip.record}: {skip.reason}" for skip in unusable_records(path, kind)]
        except UserError as error:
            if str(error) not in faults:
                faults.append(str(error))
    return faults


def _look_at_samples(
    data: InstructionData, report: SetReport, watch: Callable[[Iterable[int]], Iterable[int]]
) -> Counter[str]:
    """Counts into the report; returns how many samples each picture has."""
    pictures: Counter[str] = Counter()
    rng = random.Random(0)
    report.num_samples = len(data)
    for index in watch(range(len(data))):
        example = data.example(index, rng)
        if example.image is not None:
            pictures[example.image] += 1
        if example.box is not None and (fault := _fault(example.box)):
            report.over_the_edge += fault == "edge"
            if fault == "broken":
                report.broken_boxes.append(f"sample {index} of {example.image}: {example.box}")
    report.num_pictures = len(pictures)
    return pictures


def _fault(box: Box) -> str | None:
    """`broken`: no extent, or nothing of it in the picture. `edge`: more than a thousandth beyond the picture."""
    left, top, right, bottom = box
    if right <= left or bottom <= top or right <= 0 or bottom <= 0 or left >= 1 or top >= 1:
        return "broken"
    return "edge" if min(left, top) < -0.001 or max(right, bottom) > 1.001 else None
