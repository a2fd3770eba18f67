"""Training data of the toy world in the formats and folders of the originals.

Below the data root:

    captions/00000.tar ...                 webdataset, key.jpg + key.txt (BLIP3-KALE)
    ocr/00000.tar ...                      webdataset, key.txt holds BLIP3-OCR's JSON list
    coco/train2014/COCO_train2014_%012d.jpg    VQAv2, RefCOCO, RefCOCO+, RefCOCOg
    coco/train2017/%012d.jpg               A-OKVQA, VSR, LLaVA-150k
    vqav2/  aokvqa/  vsr/  llava/  mdetr_annotations/
    gqa/images/  ocrvqa/images/  scienceqa/images/  vg/VG_100K/  vg/VG_100K_2/    with their annotations beside them
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from ..draw import Drawer
from ..scene import Scene, scenes
from .captions import write_caption_shards, write_ocr_shards
from .choice import is_text_only, split_of, write_aokvqa, write_scienceqa
from .conversations import write_llava
from .files import Picture, write_picture
from .regions import visual_genome_folder, write_refcoco, write_visual_genome
from .vqa import write_gqa, write_ocrvqa, write_vqav2, write_vsr

SHARES = {  # of the pictures, in twentieths
    "coco/train2014": 8,
    "coco/train2017": 7,
    "gqa": 2,
    "ocrvqa": 1,
    "scienceqa": 1,
    "vg": 1,
}


def write_training_data(
    root: Path,
    *,
    num_images: int = 4000,
    seed: int = 0,
    num_captions: int | None = None,
    questions_per_image: int = 8,
    shard_size: int = 500,
) -> None:
    """Writes caption shards and all eleven instruction sets; the same arguments give the same bytes.

    Args:
        root: the data root; created.
        num_images: pictures of the instruction sets together, at least 40.
        seed: of scenes and questions. No seed yields an evaluation scene.
        num_captions: pictures with captions; as many as `num_images` unless given.
        questions_per_image: of VQAv2 and GQA; A-OKVQA and LLaVA-150k have half as many.
        shard_size: captions a shard.

    Raises:
        ValueError: fewer pictures than the eleven sets can share.
    """
    if num_images < 40:
        raise ValueError(f"num_images is {num_images}; the eleven sets share the pictures and need 40 at least")
    captioned = list(scenes(f"captions {seed}", num_images if num_captions is None else num_captions))
    write_caption_shards(root / "captions", captioned, seed, shard_size)
    write_ocr_shards(root / "ocr", captioned, shard_size)
    pools = _pictures(num_images, seed)
    for folder, pictures in pools.items():
        for picture in pictures:
            path = PATHS[folder](picture)
            if path is not None:
                write_picture(root / path, picture.scene)
    _write_annotations(root, pools, seed, questions_per_image)


def _write_annotations(root: Path, pools: dict[str, list[Picture]], seed: int, per_image: int) -> None:
    half = max(1, per_image // 2)
    coco_2014, coco_2017 = pools["coco/train2014"], pools["coco/train2017"]
    write_vqav2(root / "vqav2", coco_2014, _drawer("vqav2", seed), per_image)
    write_gqa(root / "gqa", pools["gqa"], _drawer("gqa", seed), per_image)
    write_vsr(root / "vsr", coco_2017, _drawer("vsr", seed))
    write_ocrvqa(root / "ocrvqa", pools["ocrvqa"], _drawer("ocrvqa", seed))
    write_aokvqa(root / "aokvqa", coco_2017, _drawer("aokvqa", seed), half)
    write_scienceqa(root / "scienceqa", pools["scienceqa"], _drawer("scienceqa", seed))
    write_refcoco(root / "mdetr_annotations", coco_2014, seed)
    write_visual_genome(root / "vg", pools["vg"], seed)
    write_llava(root / "llava", coco_2017, _drawer("llava", seed), half)


def _pictures(num_images: int, seed: int) -> dict[str, list[Picture]]:
    """A stream of scenes dealt to the folders by their shares; OCR-VQA gets those with a digit only."""
    total = sum(SHARES.values())
    numbers = itertools.count(1)
    pools = {}
    for folder, share in SHARES.items():
        count = num_images * share // total
        stream: Iterator[Scene] = scenes(f"{folder} {seed}")
        if folder == "ocrvqa":
            stream = (scene for scene in stream if scene.digit is not None)
        pools[folder] = [Picture(next(numbers), scene) for scene in itertools.islice(stream, count)]
    return pools


def _drawer(name: str, seed: int) -> Drawer:
    return Drawer(f"{name} {seed}", "train")


def _science_path(picture: Picture) -> str | None:
    return None if is_text_only(picture) else f"scienceqa/images/{split_of(picture)}/{picture.number}/image.png"


PATHS: dict[str, Callable[[Picture], str | None]] = {
    "coco/train2014": lambda picture: f"coco/train2014/COCO_train2014_{picture.number:012d}.jpg",
    "coco/train2017": lambda picture: f"coco/train2017/{picture.number:012d}.jpg",
    "gqa": lambda picture: f"gqa/images/{picture.number}.jpg",
    "ocrvqa": lambda picture: f"ocrvqa/images/{picture.number:010d}.jpg",
    "scienceqa": _science_path,
    "vg": lambda picture: f"vg/{visual_genome_folder(picture.number)}/{picture.number}.jpg",
}
