"""The ten tasks, and the paper's twelve columns that stand on them."""

from __future__ import annotations

from dataclasses import dataclass

from ..records import Task
from . import cv_bench, llava_bench, mathvista, mm_vet, mmbench, mme, mmmu, pope, real_world_qa, seed_image

TASKS: dict[str, Task] = {
    module.TASK.name: module.TASK
    for module in (
        mme,
        mmbench,
        seed_image,
        llava_bench,
        mmmu,
        mathvista,
        pope,
        mm_vet,
        real_world_qa,
        cv_bench,
    )
}


@dataclass(frozen=True)
class Column:
    """A column of the paper's Tables 1 and 2: `key` as in the files of its numbers, (task, metric) behind it."""

    key: str
    label: str
    task: str
    metric: str


COLUMNS: tuple[Column, ...] = (
    Column("MME_P", "MME-P", "mme", "perception"),
    Column("MME_C", "MME-C", "mme", "cognition"),
    Column("MMB", "MMB", "mmbench", "overall"),
    Column("SEED_I", "SEED-I", "seed_image", "overall"),
    Column("LLaVA_W", "LLaVA-W", "llava_bench", "overall"),
    Column("MMMU", "MMMU", "mmmu", "val"),
    Column("MathV_mini", "MathV-mini", "mathvista", "overall"),
    Column("POPE", "POPE", "pope", "f1"),
    Column("MM-Vet", "MM-Vet", "mm_vet", "overall"),
    Column("RealWorldQA", "RealWorldQA", "real_world_qa", "overall"),
    Column("CV-Bench_2D", "CV-Bench 2D", "cv_bench", "2d"),
    Column("CV-Bench_3D", "CV-Bench 3D", "cv_bench", "3d"),
)
