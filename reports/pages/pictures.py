"""Pictures of samples in the report: small ones by default, the originals on request, or served from the tables."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

from benchmarks.records import ImageRef

from ..picture_modes import PictureMode
from ..serving import Answer

SIGNATURES = {
    b"\x89PNG": "png",
    b"\xff\xd8\xff": "jpg",
    b"GIF8": "gif",
    b"RIFF": "webp",
    b"BM": "bmp",
}
FOLDER = "pictures"
LONGEST = 384
"""Pixels of a small picture's longer side."""
SMALL_ENOUGH = 16_384
"""Bytes up to which a picture is kept as it is."""


class PictureFiles:
    """Writes each distinct picture once, under names made of its bytes: the same run gives the same files."""

    def __init__(self, out: Path, mode: PictureMode = "thumbnails") -> None:
        self.folder = out / FOLDER
        self.mode = mode
        self.folder.mkdir(parents=True, exist_ok=True)
        self._written: dict[str, str] = {}

    def path_of(self, picture: ImageRef) -> str:
        """The picture's address inside the report; the file is written on first use."""
        if picture.key not in self._written:
            content = picture.read()
            shown = content if self.mode == "originals" else thumbnail(content, picture.decode)
            name = f"{hashlib.sha256(content).hexdigest()[:20]}.{extension(shown)}"
            (self.folder / name).write_bytes(shown)
            self._written[picture.key] = f"{FOLDER}/{name}"
        return self._written[picture.key]


class ServedPictures:
    """Addresses that a server answers out of the tables: nothing is copied."""

    def __init__(self) -> None:
        self.pictures: dict[str, ImageRef] = {}
        """By address."""
        self._addresses: dict[str, str] = {}

    def path_of(self, picture: ImageRef) -> str:
        if picture.key not in self._addresses:
            name = hashlib.sha256(picture.key.encode("utf-8", "surrogatepass")).hexdigest()[:20]
            self._addresses[picture.key] = f"{FOLDER}/{name}"
            self.pictures[f"{FOLDER}/{name}"] = picture
        return self._addresses[picture.key]

    def answer(self, address: str) -> Answer | None:
        """The picture at an address, read from its table."""
        picture = self.pictures.get(address)
        if picture is None:
            return None
        try:
            content = picture.read()
        except (OSError, ValueError):
            return None  # the table went away, or is damaged: the page says that the picture cannot be shown
        return Answer(content, media_type(content))


def thumbnail(content: bytes, decode: Callable[[], object]) -> bytes:
    """The picture as WebP, at most `LONGEST` pixels to a side; as it is where that is small, or no picture at all."""
    from PIL import Image

    if len(content) <= SMALL_ENOUGH:
        return content
    try:
        picture = decode()
    except (OSError, ValueError):
        return content  # the page says that it cannot be shown
    assert isinstance(picture, Image.Image)
    small = picture.convert("RGBA" if "A" in picture.getbands() else "RGB")
    small.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=80, method=2)
    return min(file.getvalue(), content, key=len)


def extension(content: bytes) -> str:
    """By the first bytes; `bin` for what no browser shows."""
    return next((name for start, name in SIGNATURES.items() if content.startswith(start)), "bin")


def media_type(content: bytes) -> str:
    """Of a picture; never one that a browser would run."""
    kind = extension(content)
    return {"jpg": "image/jpeg", "bin": "application/octet-stream"}.get(kind, f"image/{kind}")
