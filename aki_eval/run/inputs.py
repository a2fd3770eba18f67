"""What a run is fed with: the samples of each task, and the prompts made of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data.fetch import check_lock
from benchmarks.data.load import checksum, load_samples
from benchmarks.data.root import data_root
from benchmarks.errors import UserError, bounded
from benchmarks.printable import printable
from benchmarks.records import Prompt, PromptStyle, Sample
from benchmarks.results.record import TableRecord, TaskRecord
from benchmarks.task import Task
from benchmarks.tasks import TASKS

from .specification import prompts_hash
from .subset import Subset, choose


@dataclass(frozen=True, kw_only=True)
class TaskInput:
    """A task with what is asked of it in this run. `prompts` belong to `samples`, one each, in the table's order.

    `specification` is the task's entry in run.json; its prompt hash covers the whole table, whatever the subset.
    """

    task: Task
    samples: list[Sample]
    prompts: list[Prompt]
    specification: TaskRecord
    tables: dict[str, TableRecord]

    @property
    def max_new_tokens(self) -> int:
        return self.specification.max_new_tokens or self.task.max_new_tokens


def find_tasks(names: str) -> list[Task]:
    """Tasks for `all` or a comma list of names, in the paper's order; VLMEvalKit's names of their tables are names too.

    Raises:
        UserError: a name is unknown; it lists the valid ones.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {_alias(alias): task.name for task in TASKS.values() for alias in task_names(task)}
    unknown = [name for name in wanted if name != "all" and _alias(name) not in known]
    if unknown or not wanted:
        raise UserError(
            f"--bench: unknown benchmark {', '.join(unknown) or names!r}; valid are all, {', '.join(TASKS)}, or "
            "VLMEvalKit's names such as MMBench_DEV_EN"
        )
    chosen = {known[_alias(name)] for name in wanted if name != "all"}
    return [task for name, task in TASKS.items() if "all" in wanted or name in chosen]


def task_names(task: Task) -> list[str]:
    """Its own name, and VLMEvalKit's for each of its tables."""
    return [task.name, *(table.name for table in task.tables)]


def _alias(name: str) -> str:
    """Without what people write differently: RealWorldQA, real_world_qa."""
    return name.casefold().replace("_", "").replace("-", "")


def load(
    tasks: Sequence[Task], source: str, style: PromptStyle, subset: Subset | None, max_new_tokens: int | None = None
) -> list[TaskInput]:
    """Reads the tables of all tasks and builds their prompts; pictures are not decoded yet.

    `max_new_tokens` None: each benchmark's own limit.
    """
    root = data_root(source)
    return [_load_task(task, root, style, subset, max_new_tokens) for task in tasks]


def tell_faults(task: Task, samples: Sequence[Sample]) -> None:
    """Says on stderr, before anything is asked, which rows of the tables stay unscored and why."""
    faults = [sample.fault for sample in samples if sample.fault]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        said = bounded(f"{task.name}: {len(faults)} of {len(samples)} rows stay unscored: {faults[0]}{more}")
        print(printable(said), file=sys.stderr)


def _bare(sample: Sample) -> Prompt:
    """Of a row that makes no sense: what there is of it. Nothing is scored on the answer."""
    return Prompt(sample.index, (*sample.images, sample.question))


def _load_task(
    task: Task, root: Path, style: PromptStyle, subset: Subset | None, max_new_tokens: int | None
) -> TaskInput:
    samples = load_samples(task, root)
    tell_faults(task, samples)
    prompts = [_bare(sample) if sample.fault else task.prompts[style](sample) for sample in samples]
    chosen = {sample.index for sample in (choose(task.name, samples, subset) if subset else samples)}
    tables = checksum(task, root)
    check_lock(root, tables)
    return TaskInput(
        task=task,
        samples=[sample for sample in samples if sample.index in chosen],
        prompts=[prompt for prompt in prompts if prompt.index in chosen],
        specification=TaskRecord(
            prompts_sha256=prompts_hash(prompts),
            max_new_tokens=max_new_tokens or task.max_new_tokens,
            num_samples=len(chosen),
            imported=None,
        ),
        tables={name: TableRecord(**table) for name, table in tables.items()},
    )
