"""Regions and what they are called: the example that RefCOCO, RefCOCO+, RefCOCOg and Visual Genome share.

As in the original, boxes are neither clipped nor repaired in the prompt. Rows keep pixels; an example has fractions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import templates
from ..samples import Skip
from .base import Example, Row, read_json, rows_of

COCO_IMAGES = "coco/train2014/{name}"


def read_mdetr(path: Path) -> Iterator[Row | Skip]:
    """One row a box of MDETR's COCO-style annotations; the expression is the caption of the box's image entry."""
    content = read_json(path, what="MDETR's annotations (finetune_refcoco*_train.json)")
    images = {image["id"]: image for image in content["images"]}

    def rows(annotation: Mapping[str, Any]) -> Iterator[Row]:
        image = images[annotation["image_id"]]
        box = tuple(float(value) for value in annotation["bbox"])
        name = COCO_IMAGES.format(name=image["file_name"])
        yield region_row(name, box, (image["width"], image["height"]), image["caption"])

    return rows_of(content["annotations"], rows, path.name)


def region_row(image: str, box: tuple[float, ...], size: tuple[int, int], phrase: str) -> Row:
    """`box` is x, y, width, height in pixels, `size` the picture's width and height.

    Raises:
        ValueError: not four numbers, or a picture without extent.
    """
    left, top, width, height = box
    if min(size) <= 0:
        raise ValueError(f"{image}: the annotation says the picture is {size[0]} x {size[1]}")
    corners = [left / size[0], top / size[1], (left + width) / size[0], (top + height) / size[1]]
    return {"image": image, "box": corners, "phrase": phrase}


def to_example(row: Row, rng: random.Random) -> Example:
    left, top, right, bottom = row["box"]
    prompt = templates.REGION.format(box=templates.box(left, top, right, bottom))
    return Example(image=row["image"], prompt=prompt, answer=row["phrase"], box=(left, top, right, bottom))
