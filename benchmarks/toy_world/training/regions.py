"""Region descriptions: RefCOCO, RefCOCO+ and RefCOCOg as MDETR publishes them (COCO style), and Visual Genome."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..scene import IMAGE_SIZE, Box, Scene, Thing
from ..skills import relation
from .files import Picture, write_json

Describe = Callable[[Thing, Scene, random.Random], str]


def write_refcoco(root: Path, pictures: Sequence[Picture], seed: int) -> None:
    """finetune_refcoco_train.json and its two siblings (zenodo.org/records/4729015, mdetr_annotations).

    One `images` entry an expression, which is its `caption`; the box is in `annotations`, joined by `image_id`.
    """
    for name, describe in DESCRIBE.items():
        rng = random.Random(f"{name} {seed}")
        write_json(root / f"finetune_{name}_train.json", _coco_style(name, pictures, describe, rng))


def write_visual_genome(root: Path, pictures: Sequence[Picture], seed: int) -> None:
    """region_descriptions.json and image_data.json (homes.cs.washington.edu/~ranjay/visualgenome)."""
    rng = random.Random(f"visual genome {seed}")
    described = []
    for picture in pictures:
        regions = [
            {"region_id": picture.number * 100 + number, **_xywh(box), "image_id": picture.number, "phrase": phrase}
            for number, (box, phrase) in enumerate(_phrases(picture.scene, rng))
        ]
        described.append({"id": picture.number, "regions": regions})
    write_json(root / "region_descriptions.json", described)
    write_json(root / "image_data.json", [_image_data(picture) for picture in pictures])


def visual_genome_folder(number: int) -> str:
    """Visual Genome keeps its pictures in two folders; only the address in image_data.json says in which."""
    return "VG_100K" if number % 2 else "VG_100K_2"


def _coco_style(name: str, pictures: Sequence[Picture], describe: Describe, rng: random.Random) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for picture in pictures:
        for thing in picture.scene.things:
            number = len(images)
            expression = describe(thing, picture.scene, rng)
            images.append(
                {
                    "file_name": f"COCO_train2014_{picture.number:012d}.jpg",
                    "height": IMAGE_SIZE,
                    "width": IMAGE_SIZE,
                    "id": number,
                    "original_id": picture.number,
                    "caption": expression,
                    "dataset_name": name,
                    "tokens_negative": [[0, len(expression)]],
                }
            )
            annotations.append(
                {
                    "area": thing.box[2] * thing.box[3],
                    "iscrowd": 0,
                    "image_id": number,
                    "category_id": 1,
                    "id": number,
                    "bbox": [float(value) for value in thing.box],
                    "original_id": number,
                    "tokens_positive": [[0, len(expression)]],
                }
            )
    return {"info": [], "licenses": [], "images": images, "annotations": annotations, "categories": CATEGORIES}


def _by_place(thing: Thing, scene: Scene, rng: random.Random) -> str:
    """RefCOCO: short, places allowed."""
    return rng.choice([thing.name, f"{thing.name} at the {thing.place}", f"{thing.size} {thing.name}"])


def _by_looks(thing: Thing, scene: Scene, rng: random.Random) -> str:
    """RefCOCO+: no word of place."""
    return rng.choice([thing.name, f"{thing.size} {thing.name}", f"the {thing.name}"])


def _by_sentence(thing: Thing, scene: Scene, rng: random.Random) -> str:
    """RefCOCOg: longer, relations to others."""
    ask = relation(scene, rng)
    answer = ask and ask.rule(scene)
    if ask and answer and (statement := ask.claim(answer).statement).startswith(f"the {thing.name} is"):
        return f"a {thing.size} {thing.name} {statement.split(' is ')[1].removesuffix('.')}"
    return f"a {thing.size} {thing.name} at the {thing.place}"


def _phrases(scene: Scene, rng: random.Random) -> Iterator[tuple[Box, str]]:
    for thing in scene.things:
        yield (
            thing.box,
            rng.choice([f"a {thing.size} {thing.name}", f"the {thing.name}", f"{thing.color} {thing.shape}"]),
        )
    if scene.digit is not None:
        width, height = 9, 15
        yield (
            (scene.digit.x - width // 2, scene.digit.y - height // 2, width, height),
            f"the number {scene.digit.value}",
        )


def _xywh(box: Box) -> dict[str, int]:
    return {"x": box[0], "y": box[1], "width": box[2], "height": box[3]}


def _image_data(picture: Picture) -> dict[str, Any]:
    folder = visual_genome_folder(picture.number)
    return {
        "width": IMAGE_SIZE,
        "height": IMAGE_SIZE,
        "url": f"https://cs.stanford.edu/people/rak248/{folder}/{picture.number}.jpg",
        "image_id": picture.number,
        "coco_id": None,
        "flickr_id": None,
    }


CATEGORIES = [{"supercategory": "object", "id": 1, "name": "object"}]
DESCRIBE: dict[str, Describe] = {"refcoco": _by_place, "refcoco+": _by_looks, "refcocog": _by_sentence}
