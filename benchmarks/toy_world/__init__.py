"""Colored shapes in the formats of the real benchmarks and training sets: learned and measured on a CPU in minutes.

- `ensure_tables` writes the eleven evaluation tables, once, under the user's cache folder.
- `write_training_data` writes captions and the eleven instruction sets in the formats of the originals.
- `write_laboratory_data` writes what the laboratory's models are taught.
- `scenes`, `image`, `caption`, `Drawer` give the same world without files.
- `vocabulary` lists every token that any of this uses.
"""

from __future__ import annotations

from .captions import caption, description
from .draw import Drawer, Drawn
from .questions import Question
from .render import image, pixels
from .scene import COLORS, IMAGE_SIZE, SHAPES, SIZES, Digit, Scene, Split, Thing, scenes
from .tables import TABLES, default_root, ensure_tables
from .training import write_training_data
from .training.laboratory import write_laboratory_data
from .version import VERSION
from .vocabulary import TOKEN, tokens, vocabulary

__all__ = [
    "COLORS",
    "IMAGE_SIZE",
    "SHAPES",
    "SIZES",
    "TABLES",
    "TOKEN",
    "VERSION",
    "Digit",
    "Drawer",
    "Drawn",
    "Question",
    "Scene",
    "Split",
    "Thing",
    "caption",
    "default_root",
    "description",
    "ensure_tables",
    "image",
    "pixels",
    "scenes",
    "tokens",
    "vocabulary",
    "write_laboratory_data",
    "write_training_data",
]  # fmt: skip
