"""A chat of lmms-eval as a prompt of ours: one turn of the user, of text and pictures."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.records import ImageRef, Prompt

BETWEEN = "\n"
"""What stands between a picture and the text behind it in every prompt that AKI was trained with; tasks of lmms-eval do
not write it, because each model has its own."""


def to_prompt(messages: Sequence[Mapping[str, Any]], index: str = "") -> Prompt:
    """The parts in their order.

    Raises:
        ValueError: there are other turns than one of the user's, or a part that is neither text nor picture.
    """
    roles = [message["role"] for message in messages]
    if roles != ["user"]:
        raise ValueError(f"AKI answers one turn of the user; this task has {', '.join(roles) or 'none'}")
    content = messages[0]["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    parts: list[str | ImageRef] = []
    for part in content:
        if part["type"] == "text":
            text = str(part["text"])
            behind_picture = bool(parts) and isinstance(parts[-1], ImageRef)
            parts.append(BETWEEN + text if behind_picture and not text.startswith(BETWEEN) else text)
        elif part["type"] == "image":
            parts.append(picture(part["url"]))
        else:
            raise ValueError(f"AKI sees pictures and reads text; this task shows {part['type']}")
    return Prompt(index, tuple(parts))


def picture(given: object) -> ImageRef:
    """Of a picture in memory or a file's path. Equal pixels are one picture, which is encoded once.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(given, Image.Image):
        buffer = io.BytesIO()
        upright = given if given.mode in ("RGB", "L", "RGBA") else given.convert("RGB")
        upright.save(buffer, "PNG", compress_level=1)
        content = buffer.getvalue()
    elif isinstance(given, str | Path) and Path(given).is_file():
        content = Path(given).read_bytes()
    else:
        raise ValueError(f"a picture given as {str(given)[:80]!r} ({type(given).__name__}); expected one, or a file")
    return ImageRef(hashlib.blake2b(content, digest_size=16).hexdigest(), lambda: content)
