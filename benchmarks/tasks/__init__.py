"""The ten tasks, and the paper's twelve columns that stand on them."""

from __future__ import annotations

from dataclasses import dataclass

from ..task import Task
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
class PaperColumn:
    """A column of the paper's Tables 1 and 2: `key` as in the files of its numbers, (task, metric) behind it."""

    key: str
    label: str
    task: str
    metric: str


COLUMNS: tuple[PaperColumn, ...] = (
    PaperColumn("MME_P", "MME-P", "mme", "perception"),
    PaperColumn("MME_C", "MME-C", "mme", "cognition"),
    PaperColumn("MMB", "MMB", "mmbench", "overall"),
    PaperColumn("SEED_I", "SEED-I", "seed_image", "overall"),
    PaperColumn("LLaVA_W", "LLaVA-W", "llava_bench", "overall"),
    PaperColumn("MMMU", "MMMU", "mmmu", "val"),
    PaperColumn("MathV_mini", "MathV-mini", "mathvista", "overall"),
    PaperColumn("POPE", "POPE", "pope", "f1"),
    PaperColumn("MM-Vet", "MM-Vet", "mm_vet", "overall"),
    PaperColumn("RealWorldQA", "RealWorldQA", "real_world_qa", "overall"),
    PaperColumn("CV-Bench_2D", "CV-Bench 2D", "cv_bench", "2d"),
    PaperColumn("CV-Bench_3D", "CV-Bench 3D", "cv_bench", "3d"),
)


def headline_labels(task: Task) -> dict[str, str]:
    """Metric -> label of a task's columns: the paper's, or of another task its title."""
    if task.name in TASKS:
        return {column.metric: column.label for column in COLUMNS if column.task == task.name}
    if len(task.headline_metrics) == 1:
        return {task.headline_metrics[0]: task.title}
    return {metric: f"{task.title} {metric}" for metric in task.headline_metrics}


def metric_label(task: Task, metric: str) -> str:
    """How a metric is called wherever people read it: the column, or the benchmark and its sub-score."""
    return headline_labels(task).get(metric, f"{task.title} {metric}")
