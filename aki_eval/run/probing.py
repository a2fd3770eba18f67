"""Runs under a probe: which there are, where they lie, and one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.errors import UserError
from benchmarks.probes import PROBES, ProbeRule, base_index
from benchmarks.results.probes import not_its_own, probe_folder
from benchmarks.results.record import RunRecord
from benchmarks.results.store import RunStore

from ..predictors import Predictor, TaskAwarePredictor
from .inputs import TaskInput
from .options import RunOptions

ALL = "all"
BASIC = "basic"
SETS = {ALL: tuple(PROBES), BASIC: ("no_image", "shuffle_options", "letters", "paraphrase")}
"""Names for several probes; `basic` are those that the report's columns need."""


def find_probes(names: Sequence[str]) -> list[ProbeRule]:
    """The probes named, also by the name of a set, each once and in the order of their table.

    Raises:
        UserError: there is no such probe.
    """
    wanted = {name.strip() for each in names for name in each.split(",") if name.strip()}
    unknown = sorted(wanted - {*PROBES, *SETS})
    if unknown or (names and not wanted):
        raise UserError(
            f"--probe: {(unknown or list(names))[0]!r}, expected some of {', '.join(PROBES)}, or {' or '.join(SETS)}"
        )
    chosen = {probe for name in wanted for probe in SETS.get(name, (name,))}
    return [rule for name, rule in PROBES.items() if name in chosen]


def probe_of(run: RunRecord) -> ProbeRule | None:
    """The probe under which a run asked.

    Raises:
        UserError: this version has no such probe, or means something else by its name.
    """
    if run.probe is None:
        return None
    rule = PROBES.get(run.probe.name)
    if rule is None or rule.does != run.probe.does:
        now = f"which now means: {rule.does}" if rule else "which this version does not have"
        raise UserError(f"the run was made under the probe {run.probe.name} ({run.probe.does}), {now}")
    return rule


def with_probes(options: RunOptions, probes: Sequence[ProbeRule]) -> Iterator[RunOptions]:
    """The run itself, then one under each probe in a folder inside the run's."""
    yield options
    for probe in probes:
        yield replace(options, out=probe_folder(options.out, probe.name), probe=probe)


def refuse_own_prompts(options: RunOptions, predictor: Predictor) -> None:
    """A model that words its prompts itself would be asked plainly under the name of a probe.

    Raises:
        UserError: it is one.
    """
    if options.probe and options.prompts == "vlmevalkit" and isinstance(predictor, TaskAwarePredictor):
        raise UserError(
            f"--probe {options.probe.name}: under --prompts vlmevalkit {predictor.name} words its prompts itself, and "
            "the probe would not reach it; ask it with --prompts aki"
        )


def take_over(folder: RunStore, inputs: Sequence[TaskInput]) -> None:
    """Brings the answers of the run around, where it was asked the very same: the unrolled order of the options, say.

    Nothing is taken from a run that was made otherwise, or is not there.
    """
    around = RunStore(folder.root.parent.parent)
    own, run = folder.read_run(), around.read_run()
    if own is None or run is None or not_its_own(run, own):
        return
    for given in inputs:
        if given.task.name not in run.tasks:
            continue
        answers, known = around.predictions(given.task.name), folder.predictions(given.task.name)
        same = [
            replace(answer, index=prompt.index)
            for prompt in given.prompts
            if prompt.index not in known
            and prompt.parts == given.unprobed[base_index(prompt.index)].parts
            and (answer := answers.get(base_index(prompt.index))) is not None
            and answer.error is None
        ]
        if same:
            folder.append(given.task.name, same)
