"""How a report holds the benchmarks' pictures."""

from __future__ import annotations

from typing import Literal

PictureMode = Literal["thumbnails", "originals", "none"]
MODES: tuple[PictureMode, ...] = ("thumbnails", "originals", "none")
