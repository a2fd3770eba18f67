"""What a run is fed with: the samples of each task, and the prompts made of them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks import catalogue, kit_tasks, plugins
from benchmarks.data.fetch import check_lock
from benchmarks.data.load import checksum, is_present, load_samples
from benchmarks.data.root import data_root
from benchmarks.errors import UserError, bounded
from benchmarks.printable import printable
from benchmarks.probes import ProbedTask, ProbeRule, base_index
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
    probe: ProbeRule | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    """Why the probe does not ask some of the questions, and how many of them."""
    unprobed: dict[str, Prompt] = field(default_factory=dict)
    """By the table's index, the prompts without the probe."""

    @cached_property
    def open_ended(self) -> frozenset[str]:
        """Indices of the samples without options."""
        return frozenset(sample.index for sample in self.samples if not sample.choices)

    @property
    def max_new_tokens(self) -> int:
        return self.specification.max_new_tokens or self.task.max_new_tokens


def find_tasks(names: str) -> list[Task]:
    """Tasks for a comma list of names: the paper's in its order, then the others as they are named.

    `all` is the paper's ten, whatever is installed; VLMEvalKit's names of their tables are names too. Beside them stand
    tables of VLMEvalKit (`vlmevalkit:NAME`), installed plug-ins by name (`installed`: all of them) and files
    (`FILE.py`, `FILE.py:NAME`).

    Raises:
        UserError: a name is unknown, a plug-in does not load, or two tasks have one name.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {_alias(alias): task.name for task in TASKS.values() for alias in task_names(task)}
    chosen = {known[_alias(name)] for name in wanted if _alias(name) in known}
    tasks = [task for name, task in TASKS.items() if ALL in wanted or name in chosen]
    for name in wanted:
        if name != ALL and _alias(name) not in known:
            tasks += [task for task in _others(name) if task not in tasks]
    if not tasks and INSTALLED not in wanted:
        raise UserError(_unknown(names))
    return tasks


ALL, INSTALLED = "all", "installed"


def _others(name: str) -> list[Task]:
    """Tasks outside the paper by one name."""
    if plugins.names_file(name):
        return catalogue.from_file(name)
    if name.startswith(kit_tasks.PREFIX):
        return [kit_tasks.find(name.removeprefix(kit_tasks.PREFIX))]
    found = catalogue.installed()
    if name == INSTALLED:
        return [plugin.value for plugin in found.plugins.values()]
    task = catalogue.find_task(name) or next(
        (each.value for each in found.plugins.values() if _alias(name) in map(_alias, task_names(each.value))), None
    )
    if task is None:
        raise UserError(_unknown(name))
    return [task]


def _unknown(name: str) -> str:
    others = "".join(f"{name}, " for name in catalogue.installed().plugins)
    return (
        f"--bench: unknown benchmark {name!r}; valid are all, {', '.join(TASKS)}, {others}VLMEvalKit's names such as "
        "MMBench_DEV_EN, any table of its as vlmevalkit:NAME, or a file FILE.py"
    )


def task_names(task: Task) -> list[str]:
    """Its own name, and VLMEvalKit's for each of its tables."""
    return [task.name, *(table.name for table in task.tables)]


def _alias(name: str) -> str:
    """Without what people write differently: RealWorldQA, real_world_qa."""
    return name.casefold().replace("_", "").replace("-", "")


def with_tables(tasks: Sequence[Task], source: str) -> tuple[list[Task], dict[str, str]]:
    """The tasks whose tables are there; of the others, by name, which table is not.

    A benchmark without tables takes no other with it. Where none has any, all are given back: `load` then says so.

    Raises:
        UserError: `source` is no folder.
    """
    root = data_root(source)
    absent = {task.name: [table.name for table in task.tables if not is_present(table, root)] for task in tasks}
    missing = {name: f"no table {', '.join(tables)} in {root}" for name, tables in absent.items() if tables}
    if len(missing) == len(tasks):
        return list(tasks), {}
    return [task for task in tasks if task.name not in missing], missing


def load(
    tasks: Sequence[Task],
    source: str,
    style: PromptStyle,
    subset: Subset | None,
    max_new_tokens: int | None = None,
    probe: ProbeRule | None = None,
) -> list[TaskInput]:
    """Reads the tables of all tasks and builds their prompts; pictures are not decoded yet.

    `max_new_tokens` None: each benchmark's own limit. Tasks of which the probe asks nothing are not among the result.
    """
    root = data_root(source)
    asked = [task for task in tasks if probe is None or probe.why_not(task) is None]
    inputs = [_load_task(task, root, style, subset, max_new_tokens, probe) for task in asked]
    return [given for given in inputs if given.samples or probe is None]


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


def _prompt(task: Task, style: PromptStyle, sample: Sample) -> Prompt:
    build = task.prompts[style]
    with plugins.named_as_theirs(build, f"{task.name}: the prompt {style!r} of sample {sample.index}"):
        prompt: object = build(sample)
    if not isinstance(prompt, Prompt):
        raise UserError(f"{task.name}: prompts[{style!r}] gives a {type(prompt).__name__}, expected a records.Prompt")
    return prompt


def _load_task(
    task: Task,
    root: Path,
    style: PromptStyle,
    subset: Subset | None,
    max_new_tokens: int | None,
    probe: ProbeRule | None,
) -> TaskInput:
    samples = load_samples(task, root)
    tell_faults(task, samples)
    if style not in task.prompts:
        raise UserError(f"{task.name} has no prompts {style!r}; it has {', '.join(task.prompts)} (--prompts)")
    prompts = [_bare(sample) if sample.fault else _prompt(task, style, sample) for sample in samples]
    chosen = {sample.index for sample in (choose(task.name, samples, subset) if subset else samples)}
    probed = ProbedTask(samples=samples, prompts=prompts)
    if probe is not None:  # over the whole table, so that the questions of a subset are asked as in the whole
        probed = probe.apply(task, list(zip(samples, prompts, strict=True)), style)
    kept = [base_index(sample.index) in chosen for sample in probed.samples]
    tables = checksum(task, root)
    check_lock(root, tables)
    return TaskInput(
        task=task,
        samples=[sample for sample, keep in zip(probed.samples, kept, strict=True) if keep],
        prompts=[prompt for prompt, keep in zip(probed.prompts, kept, strict=True) if keep],
        specification=TaskRecord(
            prompts_sha256=prompts_hash(probed.prompts),
            max_new_tokens=max_new_tokens or task.max_new_tokens,
            num_samples=sum(kept),
            imported=None,
        ),
        tables={name: TableRecord(**table) for name, table in tables.items()},
        probe=probe,
        unprobed={prompt.index: prompt for prompt in prompts if prompt.index in chosen} if probe else {},
        left_out=dict(Counter(why for index, why in probed.left_out.items() if index in chosen)),
    )
