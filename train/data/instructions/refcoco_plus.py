"""RefCOCO+ (Yu et al. 2016) in MDETR's annotations: expressions without words of place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..samples import Skip
from .base import InstructionSet, Row
from .regions import read_mdetr, to_example

ANNOTATIONS = "mdetr_annotations/finetune_refcoco+_train.json"


def read(root: Path) -> Iterator[Row | Skip]:
    return read_mdetr(root / ANNOTATIONS)


REFCOCO_PLUS = InstructionSet(
    name="refcoco_plus", title="RefCOCO+", annotations=(ANNOTATIONS,), read=read, to_example=to_example
)
