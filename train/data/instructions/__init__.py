"""The instruction sets of Table 4, by name: one file each.

`vsr_original` stands beside them: VSR with the questions as the original built them.
"""

from __future__ import annotations

from .aokvqa import AOKVQA
from .base import Example, InstructionData, InstructionSet
from .gqa import GQA
from .llava import LLAVA
from .ocrvqa import OCRVQA
from .refcoco import REFCOCO
from .refcoco_plus import REFCOCO_PLUS
from .refcocog import REFCOCOG
from .scienceqa import SCIENCEQA
from .visual_genome import VISUAL_GENOME
from .vqav2 import VQAV2
from .vsr import VSR, VSR_ORIGINAL

TABLE_4 = (
    VQAV2, GQA, VSR, OCRVQA, AOKVQA, SCIENCEQA, REFCOCO, REFCOCOG, REFCOCO_PLUS, VISUAL_GENOME, LLAVA,
)  # fmt: skip
SETS: dict[str, InstructionSet] = {one.name: one for one in (*TABLE_4, VSR_ORIGINAL)}

__all__ = ["SETS", "TABLE_4", "Example", "InstructionData", "InstructionSet"]
