"""Pictures as the model takes them: read and processed one at a time, or the frozen tower's output computed once."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

import torch
from PIL import Image, ImageOps

from benchmarks.images import decode

Augmentation = Literal["none", "safe", "original"]
"""none: pictures as they are. safe: crop and mirror where no answer can become wrong. original: crop and mirror
every one."""

PictureReader = Callable[[str, random.Random, bool], Mapping[str, torch.Tensor]]
"""(path below the data root, randomness, may be cropped and mirrored) -> what the model takes."""


def augment(image: Image.Image, rng: random.Random) -> Image.Image:
    """A crop of half to all of the area (sides in proportion 3:4 to 4:3), mirrored half of the time.

    The original did this to every picture of fine-tuning, boxes, places and mirrored text included.
    """
    width, height = image.size
    area, ratio = width * height * rng.uniform(0.5, 1.0), rng.uniform(3 / 4, 4 / 3)
    crop_width, crop_height = min(width, round((area * ratio) ** 0.5)), min(height, round((area / ratio) ** 0.5))
    left, top = rng.randint(0, width - crop_width), rng.randint(0, height - crop_height)
    cropped = image.crop((left, top, left + crop_width, top + crop_height))
    return ImageOps.mirror(cropped) if rng.random() < 0.5 else cropped


class UnreadablePicture(ValueError):
    """Bytes that are no picture, a broken one, or one too large to be meant; its text says which."""


def read_picture(source: Path | IO[bytes]) -> Image.Image:
    """The upright picture in RGB, decoded as evaluation decodes it (`benchmarks.images.decode`).

    The one way in which training reads pictures, of captions and of questions. A damaged Exif block costs the turn it
    would have asked for, never the picture.

    Raises:
        UnreadablePicture: missing, no picture, broken, or of too many pixels.
    """
    try:
        return decode(source.read_bytes() if isinstance(source, Path) else source.read()).convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise UnreadablePicture(f"{type(error).__name__}: {error}") from error


def picture_path(root: Path, name: str) -> Path:
    """The file of a picture that annotations name. Links below the data root are the user's; `..` is the annotations'.

    Raises:
        UnreadablePicture: the name leads out of the data root.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or "\0" in name:
        raise UnreadablePicture(f"{name[:80]!r} leads out of the data root")
    return root / name


class PixelReader:
    """Reads a picture from disk and processes it."""

    def __init__(self, root: Path, image_processor: Any) -> None:
        self.root = root
        self.image_processor = image_processor

    def __call__(self, name: str, rng: random.Random, may_augment: bool) -> dict[str, torch.Tensor]:
        """`pixel_values` (3, height, width). Raises UnreadablePicture when the file is missing or no picture."""
        image = read_picture(picture_path(self.root, name))
        return {"pixel_values": to_pixels(self.image_processor, augment(image, rng) if may_augment else image)}


class FeatureTable:
    """The frozen vision tower's output for every picture, in memory. For small worlds: one of 384 px needs 1.7 MB.

    `features`: by name, (patches, width) each.
    """

    def __init__(self, features: Mapping[str, torch.Tensor]) -> None:
        self.features = features

    def __call__(self, name: str, rng: random.Random, may_augment: bool) -> dict[str, torch.Tensor]:
        """`vision_hidden_states` (patches, width)."""
        return {"vision_hidden_states": self.features[name]}


def to_pixels(image_processor: Any, image: Image.Image) -> torch.Tensor:
    """Pixels, (3, height, width)."""
    pixels: torch.Tensor = image_processor(image, return_tensors="pt")["pixel_values"][0]
    return pixels


@torch.no_grad()
def compute_features(tower: Any, reader: PixelReader, names: Iterable[str], batch_size: int = 256) -> FeatureTable:
    """One pass of the vision tower over all pictures."""
    names, unused = sorted(set(names)), random.Random(0)
    features: dict[str, torch.Tensor] = {}
    for start in range(0, len(names), batch_size):
        part = names[start : start + batch_size]
        pixels = torch.stack([reader(name, unused, False)["pixel_values"] for name in part])
        features.update(zip(part, tower(pixels).last_hidden_state.unbind(), strict=True))
    return FeatureTable(features)
