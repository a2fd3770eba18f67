"""Visual Genome (Krishna et al. 2017): phrases for regions, 5.4 million of them.

The annotations name a region's picture by number only; its file and its size stand in image_data.json. The table of
regions is 700 MB of JSON and is read picture by picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..samples import Skip
from .base import InstructionSet, Row, read_json, rows_of
from .json_files import stream_list
from .regions import region_row, to_example

REGIONS = "vg/region_descriptions.json"
PICTURES = "vg/image_data.json"
IMAGES = "vg/{folder}/{name}"


class GenomeImage(NamedTuple):
    """Where a picture lies, and its width and height in pixels."""

    path: str
    size: tuple[int, int]


def read(root: Path) -> Iterator[Row | Skip]:
    """Regions without a phrase or without extent teach nothing and are left out; `data check` counts them."""
    pictures = read_pictures(root)

    def rows(record: dict[str, Any]) -> Iterator[Row]:
        for region in filter(teaches_something, record["regions"]):
            picture = pictures[region.get("image_id", record["id"])]
            box = (region["x"], region["y"], region["width"], region["height"])
            yield region_row(picture.path, box, picture.size, region["phrase"].strip())

    return rows_of(stream_list(root / REGIONS), rows, REGIONS)


def teaches_something(region: dict[str, Any]) -> bool:
    return bool((region["phrase"] or "").strip()) and region["width"] > 0 and region["height"] > 0


def count_left_out(root: Path) -> int:
    """Regions that `read` leaves out."""
    return sum(not teaches_something(region) for record in stream_list(root / REGIONS) for region in record["regions"])


def read_pictures(root: Path) -> dict[int, GenomeImage]:
    """Path and size by picture number; the folder (VG_100K or VG_100K_2) is the last but one part of the address."""
    pictures = {}
    for entry in read_json(root / PICTURES, what="Visual Genome's image_data.json"):
        folder, name = entry["url"].rsplit("/", 2)[1:]
        pictures[entry["image_id"]] = GenomeImage(
            IMAGES.format(folder=folder, name=name), (entry["width"], entry["height"])
        )
    return pictures


VISUAL_GENOME = InstructionSet(
    name="visual_genome", title="VisualGenome", annotations=(REGIONS, PICTURES), read=read, to_example=to_example
)
