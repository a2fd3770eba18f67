"""Pictures of samples as files of the report, each distinct picture once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmarks.records import ImageRef

SIGNATURES = {
    b"\x89PNG": "png",
    b"\xff\xd8\xff": "jpg",
    b"GIF8": "gif",
    b"RIFF": "webp",
    b"BM": "bmp",
}
FOLDER = "pictures"


class PictureFiles:
    """Writes bytes as they are, no re-encoding, under names made of them: the same run gives the same files."""

    def __init__(self, out: Path) -> None:
        self.folder = out / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self._written: dict[str, str] = {}

    def path_of(self, picture: ImageRef) -> str:
        """The picture's address inside the report; the file is written on first use."""
        if picture.key not in self._written:
            content = picture.read()
            name = f"{hashlib.sha256(content).hexdigest()[:20]}.{extension(content)}"
            (self.folder / name).write_bytes(content)
            self._written[picture.key] = f"{FOLDER}/{name}"
        return self._written[picture.key]


def extension(content: bytes) -> str:
    """By the first bytes; `bin` for what no browser shows."""
    return next((name for start, name in SIGNATURES.items() if content.startswith(start)), "bin")
