"""The instruction sets of Table 4, by name: one file each."""

from __future__ import annotations

from .aokvqa import AOKVQA
from .base import Example, InstructionData, InstructionSet
from .llava import LLAVA
from .vqav2 import VQAV2

SETS: dict[str, InstructionSet] = {one.name: one for one in (VQAV2, AOKVQA, LLAVA)}

__all__ = ["SETS", "Example", "InstructionData", "InstructionSet"]
