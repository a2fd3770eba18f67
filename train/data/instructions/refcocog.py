"""RefCOCOg (Mao et al. 2016) in MDETR's annotations: longer expressions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..samples import Skip
from .base import InstructionSet, Row
from .regions import read_mdetr, to_example

ANNOTATIONS = "mdetr_annotations/finetune_refcocog_train.json"


def read(root: Path) -> Iterator[Row | Skip]:
    return read_mdetr(root / ANNOTATIONS)


REFCOCOG = InstructionSet(
    name="refcocog", title="RefCOCOg", annotations=(ANNOTATIONS,), read=read, to_example=to_example
)
