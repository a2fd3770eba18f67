"""Pretraining data: caption shards as BLIP3-KALE's after img2dataset, and shards with BLIP3-OCR's list of captions.

A KALE record is `key.jpg` + `key.txt`. In an OCR record the text is BLIP3-OCR's JSON list: one entry a granularity,
from plain text (0) to text with places, of which AKI takes entry 1.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ..captions import caption
from ..render import jpeg
from ..scene import Scene
from .files import write_shard

Record = tuple[str, Mapping[str, bytes]]
Describe = Callable[[Scene, random.Random], str]


def write_caption_shards(
    folder: Path, scenes: Sequence[Scene], seed: int, shard_size: int, describe: Describe = caption
) -> None:
    rng = random.Random(f"captions {seed}")
    records = [_kale_record(number, scene, describe(scene, rng)) for number, scene in enumerate(scenes)]
    _write_shards(folder, records, shard_size)


def write_ocr_shards(folder: Path, scenes: Sequence[Scene], shard_size: int) -> None:
    """Scenes without a digit have nothing to read and are left out."""
    _write_shards(folder, list(_ocr_records(scenes)), shard_size)


def _write_shards(folder: Path, records: Sequence[Record], shard_size: int) -> None:
    for shard, start in enumerate(range(0, len(records), shard_size)):
        write_shard(folder / f"{shard:05d}.tar", records[start : start + shard_size])


def _kale_record(number: int, scene: Scene, text: str) -> Record:
    return f"{number:09d}", {"jpg": jpeg(scene), "txt": text.encode()}


def _ocr_records(scenes: Sequence[Scene]) -> Iterator[Record]:
    for number, scene in enumerate(scenes):
        if scene.digit is not None:
            yield f"{number:09d}", {"jpg": jpeg(scene), "txt": json.dumps(ocr_captions(scene)).encode()}


def ocr_captions(scene: Scene) -> list[dict[str, str | int | bool]]:
    """Granularity 0: the text; 1: with its place, in words; 2: with its cell."""
    assert scene.digit is not None
    row, column = divmod(scene.digit.cell, 2)
    place = f"{('top', 'bottom')[row]} {('left', 'right')[column]}"
    texts = (
        f"the number {scene.digit.value} is shown.",
        f"the number {scene.digit.value} is at the {place}.",
        f"the number {scene.digit.value} is at the {place}. the number is large.",
    )
    return [
        {"include_datacomp_raw_cap": False, "text": text, "granularity": granularity}
        for granularity, text in enumerate(texts)
    ]
