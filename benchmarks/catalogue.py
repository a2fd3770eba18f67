"""Which task a name means: the paper's ten, a table of VLMEvalKit, a plug-in, a file, or what a run folder describes.

A task outside the paper is described in its metrics.json (`Definition`): tables, pages and, for the usual means, also
comparisons need no more. What needs its code says so, and where the code was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NoReturn, get_args

from . import kit_tasks, plugins
from .checked import Checked
from .errors import UserError
from .estimates import Estimator, mean_by_group
from .records import PromptStyle, Score
from .scoring import estimates_of
from .task import DataTable, Extractor, ProtocolRule, Task, protocol_name
from .tasks import TASKS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""Names of tasks are names of folders and pages."""

EXTRACTORS = get_args(Extractor)

ESTIMATORS: Mapping[str, Estimator] = {"mean_by_group": mean_by_group}
"""Aggregations that a run folder can name: they are ours, so that comparing needs nobody else's code."""

BESIDE = {"toy_skills": "benchmarks.toy_world.skills_task"}
"""Benchmarks of ours that are none of the paper's, and their modules."""

_from_files: dict[str, plugins.Plugin] = {}
"""By name: what was asked for by path in this process."""


class RuleRecord(Checked):
    """Of a protocol: the name of its aggregation where it is one of `ESTIMATORS`, and its extractor."""

    estimate: str | None
    extractor: Extractor


class Definition(Checked):
    """A task outside the paper, as far as its numbers need it. `scales`: the most that a headline metric can be."""

    title: str
    paper: str
    headline_metrics: list[str]
    judged: bool
    headline: str
    protocols: dict[str, RuleRecord]
    scales: dict[str, float | None]
    source: str


def from_file(text: str, option: str = "--bench") -> list[Task]:
    """The tasks of `FILE.py` (its `TASK`, else every one in it) or `FILE.py:NAME`; known by name from then on.

    Raises:
        UserError: the file does not import, holds no task, or a task of it is none that could be run.
    """
    module, name = plugins.load_file(text, option)
    if name is None and not hasattr(module, "TASK"):
        names = [each for each, value in vars(module).items() if isinstance(value, Task)]
        if not names:
            raise UserError(f"{option}: {module.__file__} holds no benchmark; expected TASK = Task(...)")
    else:
        names = [name or "TASK"]
    tasks = []
    for each in names:
        task = checked(plugins.attribute(module, each, option), f"{option}: {module.__file__}:{each}")
        source = plugins.source_of(module, each)
        known = _from_files.get(task.name)
        if known is not None and known.value is not task:
            raise UserError(f"{option}: {known.source} and {source} are both called {task.name!r}; rename one of them")
        _from_files[task.name] = plugins.Plugin(task.name, task, source)
        tasks.append(task)
    return tasks


def given(task: object) -> Task:
    """A task that a caller of the library holds; known by name from then on.

    Raises:
        UserError: as `checked`.
    """
    task = checked(task, "bench")
    if task.name not in TASKS:
        _from_files[task.name] = plugins.Plugin(task.name, task, "given in Python")
    return task


def checked(task: object, where: str) -> Task:
    """The task, if it could be run.

    Raises:
        UserError: it is none, has a name that is taken or none for a folder, or its parts do not fit together.
    """
    if not isinstance(task, Task):
        raise UserError(f"{where} is a {type(task).__name__}, expected a benchmarks.task.Task")
    if not NAME.fullmatch(task.name):
        raise UserError(f"{where}: a benchmark named {task.name!r}; expected letters, digits, _ and -")
    if find_own(task.name) not in (None, task) or task.name.startswith(kit_tasks.NAME_PREFIX):
        raise UserError(f"{where}: a benchmark named {task.name!r} is there already; give yours another name")
    for field, found, expected in _unfit(task):
        raise UserError(f"{where}: {field} is {str(found)[:80]}, expected {expected}")
    return task


def _unfit(task: Task) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a task's parts: which one, what was found, what belongs there.

    Nothing of it is seen before questions were asked, or answers are added up; so it is asked before.
    """
    texts = {"title": task.title, "paper": task.paper, "headline": task.headline}
    yield from ((name, repr(each), "a text") for name, each in texts.items() if not isinstance(each, str))
    if task.paper_table is not None and task.name not in TASKS:
        yield "paper_table", repr(task.paper_table), "None: the paper's tables have its own ten benchmarks only"
    parts: tuple[tuple[str, object, type], ...] = (
        ("tables", task.tables, DataTable),
        ("headline_metrics", task.headline_metrics, str),
    )
    for name, values, kind in parts:
        if not isinstance(values, tuple | list) or not values or not all(isinstance(each, kind) for each in values):
            yield name, repr(values), f"a tuple of {kind.__name__}, at least one"
    if not callable(task.to_sample):
        yield "to_sample", repr(task.to_sample), "a function (table, row, images) -> Sample"
    if not (isinstance(task.max_new_tokens, int) and task.max_new_tokens > 0):
        yield "max_new_tokens", repr(task.max_new_tokens), "a positive number"
    for name, values, of in (("prompts", task.prompts, "prompts"), ("protocols", task.protocols, "ProtocolRules")):
        if not isinstance(values, Mapping) or not values:
            yield name, repr(values), f"{of} by name, at least one"
    if isinstance(task.prompts, Mapping):
        for style, prompt in task.prompts.items():
            if style not in get_args(PromptStyle):
                yield "prompts", f"for {style!r}", f"one for each of {', '.join(get_args(PromptStyle))} that it has"
            elif not callable(prompt):
                yield f"prompts[{style!r}]", repr(prompt), "a function sample -> Prompt"
    if isinstance(task.protocols, Mapping):
        for protocol, rule in task.protocols.items():
            yield from _unfit_rule(f"protocols[{protocol!r}]", protocol, rule)
        if task.headline not in task.protocols:
            yield "headline", repr(task.headline), f"one of its protocols, {', '.join(map(str, task.protocols))}"


def _unfit_rule(where: str, name: object, rule: object) -> Iterator[tuple[str, str, str]]:
    if not isinstance(name, str) or not NAME.fullmatch(name) or name != protocol_name(name):
        yield where, "a protocol's name", "letters, digits, _ and -, and kit for VLMEvalKit's"
    if not isinstance(rule, ProtocolRule):
        yield where, f"a {type(rule).__name__}", "a benchmarks.task.ProtocolRule"
        return
    if not callable(rule.score):
        yield f"{where}.score", repr(rule.score), "a function (samples, predictions, judge) -> scores"
    if not callable(rule.estimate):
        yield f"{where}.estimate", repr(rule.estimate), "a function scores -> estimates by metric"
    if rule.extractor not in EXTRACTORS:
        yield f"{where}.extractor", repr(rule.extractor), f"one of {', '.join(EXTRACTORS)}"


def installed() -> plugins.Installed:
    """The benchmarks that installed packages announce, by name; each sound, or a fault."""
    found = plugins.installed(plugins.TASKS)
    sound: dict[str, plugins.Plugin] = {}
    faults = dict(found.faults)
    for plugin in found.plugins.values():
        try:
            task = checked(plugin.value, f"plug-in {plugin.name} {plugin.source}")
        except UserError as error:
            faults[plugin.name] = str(error)
            continue
        if task.name in sound:
            faults[task.name] = (
                f"plug-in {task.name}: {sound[task.name].source} and {plugin.source} have the same name; "
                "uninstall one of them"
            )
            continue
        sound[task.name] = plugin
    return plugins.Installed({name: each for name, each in sound.items() if name not in faults}, faults)


def find_task(name: str) -> Task | None:
    """The task of that very name; None where nobody has one.

    Raises:
        UserError: a plug-in has, and does not load.
    """
    if own := find_own(name):
        return own
    if name.startswith(kit_tasks.NAME_PREFIX):
        return kit_tasks.find(name.removeprefix(kit_tasks.NAME_PREFIX))
    plugin = _from_files.get(name) or installed().get(name)
    return None if plugin is None else plugin.value


def find_own(name: str) -> Task | None:
    """The paper's task of that name, or the one beside them."""
    if name in BESIDE:
        task: Task = import_module(BESIDE[name]).TASK
        return task
    return TASKS.get(name)


def task_of_run(name: str, definition: Mapping[str, Any] | None) -> Task:
    """The task behind stored scores: by its name, or as far as its description goes.

    Raises:
        UserError: nothing is known of it.
    """
    try:
        task = find_task(name)
    except UserError:
        task = None  # a plug-in that does not load any more: its numbers are still there
    if task is not None:
        return task
    if definition is None:
        raise UserError(f"there is no benchmark {name!r}; aki-eval list shows them")
    return _described(name, Definition.of(dict(definition), f"metrics.json of {name}: its definition"))


def describe(task: Task, scores: Mapping[str, Sequence[Score]]) -> dict[str, Any] | None:
    """What metrics.json says about a task outside the paper; None for the paper's."""
    if task.name in TASKS:
        return None
    names = {id(function): name for name, function in ESTIMATORS.items()}
    found = estimates_of(task, task.headline, scores[task.headline])
    return Definition(
        title=task.title,
        paper=task.paper,
        headline_metrics=list(task.headline_metrics),
        judged=task.judged,
        headline=task.headline,
        protocols={
            name: RuleRecord(estimate=names.get(id(rule.estimate)), extractor=rule.extractor)
            for name, rule in task.protocols.items()
        },
        scales={name: found[name].scale for name in task.headline_metrics if name in found},
        source=source_of(task),
    ).model_dump()


def source_of(task: Task) -> str:
    """Where a task is from."""
    if task.name in TASKS:
        return "the paper"
    if task.name in BESIDE:
        return BESIDE[task.name]
    if task.name.startswith(kit_tasks.NAME_PREFIX):
        return kit_tasks.PREFIX + task.name.removeprefix(kit_tasks.NAME_PREFIX)
    known = [plugin for plugin in (_from_files.get(task.name), installed().plugins.get(task.name)) if plugin]
    return next((plugin.source for plugin in known if plugin.value is task), "given in Python")


def in_order(names: Iterable[str]) -> list[str]:
    """The paper's tasks in its order, then the others as they come; each once."""
    names = list(dict.fromkeys(names))
    return [name for name in TASKS if name in names] + [name for name in names if name not in TASKS]


def _described(name: str, definition: Definition) -> Task:
    missing = partial(_needs_code, name, definition.source)
    return Task(
        name=name,
        title=definition.title,
        paper=definition.paper,
        tables=(),
        paper_table=None,
        to_sample=missing,
        prompts={},
        protocols={
            protocol: ProtocolRule(
                score=missing, estimate=ESTIMATORS.get(rule.estimate or "", missing), extractor=rule.extractor
            )
            for protocol, rule in definition.protocols.items()
        },
        headline=definition.headline,
        headline_metrics=tuple(definition.headline_metrics),
        max_new_tokens=0,
        judged=definition.judged,
    )


def _needs_code(name: str, source: str, *_: object) -> NoReturn:
    raise UserError(f"{name} needs the code of its benchmark, which was {source}; name it by --task FILE.py")
