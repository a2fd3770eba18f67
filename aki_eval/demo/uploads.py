"""Pictures from visitors: looked at before they are decoded, and refused with the limit that they break."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from benchmarks.errors import UserError
from benchmarks.images import FORMATS
from benchmarks.records import ImageRef

MEGABYTE = 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a picture may be: `megabytes` of its file, `megapixels` (millions) of it decoded."""

    megabytes: int = 10
    megapixels: int = 25

    @property
    def num_bytes(self) -> int:
        return self.megabytes * MEGABYTE

    @property
    def num_pixels(self) -> int:
        return self.megapixels * 1_000_000


def read_upload(path: Path, limits: Limits) -> ImageRef:
    """The picture in a file that somebody sent; equal bytes are the same picture.

    Raises:
        UserError: it is too large, or no picture.
    """
    if path.stat().st_size > limits.num_bytes:
        raise UserError(f"this file is larger than {limits.megabytes} MB; send a smaller one")
    content = path.read_bytes()
    try:
        Image.init()
        with Image.open(BytesIO(content), formats=[name for name in FORMATS if name in Image.OPEN]) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise UserError(
            f"this picture has far more than {limits.megapixels} million pixels; send a smaller one"
        ) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError("this file cannot be read as a picture; send a PNG, JPEG or WebP") from error
    if width * height > limits.num_pixels:
        raise UserError(
            f"this picture has {width} x {height} pixels, more than {limits.megapixels} million; send a smaller one"
        )
    picture = ImageRef(key=hashlib.sha256(content).hexdigest(), read=lambda: content)
    try:
        picture.decode()
    except (OSError, ValueError) as error:
        raise UserError(f"this picture cannot be decoded ({error})") from error
    return picture
