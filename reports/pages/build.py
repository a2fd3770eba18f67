"""Writes the pages. Every value that reaches a page goes through jinja2's autoescape."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmarks.errors import UserError
from benchmarks.records import Score
from benchmarks.results.folder import RunFolder
from benchmarks.tasks import headline_labels

from .. import paper
from ..audit import audit_table, third_version
from ..chart_data import TABLE_OF, breakdown, further_parts, others, overview, part_label
from ..crossed import cross_table
from ..links import NO_OTHER, cell_link, samples_link
from ..metrics import every_metric
from ..notices import cut_tasks, notices
from ..other_tables import measures_paper
from ..paper_tables import Plan, main_tables, pair_tables, reference_row, subtask_table
from ..picture_modes import PictureMode
from ..series import nothing_extracts, run_cell
from ..tables import Table
from ..views import confusion_of, said_filter, views_of
from .browser import BrowserTask, PicturePlaces, write_browser
from .compare import compare_page
from .history import history
from .inside import INSIDE_PAGE, inside_page
from .pictures import PictureFiles, ServedPictures
from .probes import PROBES_PAGE, probes_page
from .signs import letter

TEMPLATES = Path(__file__).parents[1] / "templates"
FOLDERS = ("assets", "data", "pictures")
"""Of a report; the rest of it are pages."""
TRAINING = "training.json"
OURS = ("manifest.js", TRAINING)
"""One of these lies in `data` of whatever is a report, of runs or of trainings."""
SPLIT_NOTE = (
    "Runs are shown on the validation split; the paper's rows are on the split that Table 11 names in its notes."
)

POPE_NOTE = (
    "A question that is asked in several splits is one sample, answered once, and counts once for each of its splits: "
    "numbers over all splits stand on {num} questions ({splits})."
)
NOTHING_EXTRACTS = (
    "No judge extracted answers here: {protocol} recognises only plain answers, and the others are unread. `aki-eval "
    "score {path} --judge gpt-4o` lets that model extract them, with --judge-base-url any OpenAI-compatible server."
)


def write_site(plan: Plan, out: Path, *, pictures: PictureMode | ServedPictures = "thumbnails") -> Path:
    """Writes the report below `out` and returns its first page. An earlier report there lives until this one is whole.

    `pictures`: how they are written, or the register of those that a server answers for.

    Raises:
        UserError: no runs, the folder holds something that is no report, or it cannot be written.
    """
    if not plan.runs:
        raise UserError("the HTML report is about runs: give at least one run folder")
    try:
        with replacing(out.resolve()) as beside:
            _write_site(plan, beside, pictures)
    except OSError as error:
        # A tree that could not be copied is a list with a line for each file: the first says enough.
        cause = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror or error
        raise UserError(f"cannot write the report to {out}: {cause}; choose another --out") from error
    return out / "index.html"


def _write_site(plan: Plan, out: Path, pictures: PictureMode | ServedPictures) -> None:
    shutil.copytree(TEMPLATES / "assets", out / "assets")
    tasks = write_browser(plan.runs, out, _place_of(pictures, out))
    groups_by_task = {task.name: task.groups for task in tasks}
    shared: dict[str, Any] = {
        "several": len(plan.runs) > 1,
        "tasks": {task.name: task.title for task in tasks},
        "runs": [run.label for run in plan.runs],
        "arms": [arm.label for arm in plan.arms],
        "notices": notices(plan.runs),
    }
    environment = make_environment()
    environment.filters["samples"] = lambda cell: cell_link(cell, groups_by_task)
    probed = probes_page(plan.runs)
    baseline = next((pair.baseline for pair in plan.pairs), None)
    inside = inside_page(plan.arms, baseline)
    shared |= {"probed": probed is not None, "looked_inside": inside is not None}
    pages = [
        *_pages(plan, tasks),
        *([(PROBES_PAGE, "probes.html.j2", probed)] if probed else []),
        *([(INSIDE_PAGE, "inside.html.j2", inside)] if inside else []),
    ]
    for name, template, content in pages:
        text = environment.get_template(template).render({**shared, **content})
        (out / name).write_text(text, encoding="utf-8", errors="backslashreplace")


def _place_of(pictures: PictureMode | ServedPictures, out: Path) -> PicturePlaces | None:
    if isinstance(pictures, ServedPictures):
        return pictures
    return None if pictures == "none" else PictureFiles(out, pictures)


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A folder `.NAME.part` beside `out` to write into, which takes its place when the block has ended well.

    A start after a kill finds the part and begins it anew; between the two renamings at the end the earlier report is
    called `.NAME.old`, and the next start puts it back. Files beside the report's own stay.

    Raises:
        UserError: `out` holds something that is no report.
    """
    part, old = (out.with_name(f".{out.name}.{word}") for word in ("part", "old"))
    if old.is_dir():
        _settle(old, out)
    is_ours = any((out / "data" / name).is_file() for name in OURS)
    if out.is_dir() and any(out.iterdir()) and not is_ours:
        raise UserError(f"{out} holds files that are no report of ours; choose another --out or remove them")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if out.is_dir():
        out.rename(old)
    part.rename(out)
    if old.is_dir():
        _settle(old, out)


def _settle(old: Path, out: Path) -> None:
    """Ends an exchange: the earlier report goes when there is a newer one, and else comes back."""
    if not out.is_dir():
        old.rename(out)
        return
    for entry in old.iterdir():
        if entry.name in FOLDERS and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.suffix == ".html":
            entry.unlink()
        elif not (out / entry.name).exists():
            entry.rename(out / entry.name)  # no file of ours
    if not any(old.iterdir()):
        old.rmdir()


def make_environment() -> Environment:
    """Autoescape on, undefined names are errors."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["cuts"] = []  # the overview has some
    environment.filters["subscript"] = subscript
    environment.filters["groups"] = groups
    environment.filters["letter"] = letter
    environment.filters["samples"] = lambda cell: cell_link(cell, {})
    return environment


def subscript(label: str) -> Markup:
    """`MME_P` with its P set low."""
    found = re.fullmatch(r"(.+)_(\w+)", label)
    return Markup("{}<sub>{}</sub>").format(found[1], found[2]) if found else escape(label)


def groups(items: Iterable[Any], attribute: str) -> list[tuple[Any, list[Any]]]:
    """Neighbours that share an attribute, in order; unlike jinja2's `groupby` without sorting."""
    return [(key, list(members)) for key, members in groupby(items, key=lambda item: getattr(item, attribute))]


Page = tuple[str, str, Mapping[str, Any]]


def _pages(plan: Plan, tasks: list[BrowserTask]) -> Iterable[Page]:
    """(file, template, what the template is given) of every page."""
    cuts = [found for run in plan.runs if (found := _cuts(tasks, run))]
    crossed = [table for table in [cross_table(plan)] if table is not None]
    with_links = [run.label for run in plan.runs if _cuts(tasks, run)]
    yield (
        "index.html",
        "index.html.j2",
        {
            "active": "index",
            "chart": overview(plan) if measures_paper(plan.runs) else None,
            "others": others(plan),
            "tables": [_without_notices(table) for table in (*main_tables(plan), *pair_tables(plan), *crossed)],
            "reference": reference_row(plan.reference)[1].label,
            "history": history(plan.runs),
            "cuts": cuts,
            "notices": notices(plan.runs, cuts_shown=with_links),
            "records": [{"record": run.made_by, "summary": _summary(run)} for run in plan.runs],
        },
    )
    for task in tasks:
        yield f"benchmark-{task.name}.html", "benchmark.html.j2", _benchmark(task, plan)
    if len(plan.runs) > 1:
        yield "compare.html", "compare.html.j2", _compare(plan)
    yield "samples.html", "samples.html.j2", {"active": "samples"}
    yield "paper.html", "paper.html.j2", {"active": "paper", "tables": [audit_table(), third_version()]}


def _compare(plan: Plan) -> dict[str, Any]:
    """Arms first, where there are any: what recipes differ by; then the runs they are made of, pair by pair."""
    arms = [_without_notices(table) for table in pair_tables(plan)] if plan.grouped else []
    return {"active": "compare", "arm_tables": arms, **compare_page(plan.runs, plan.baseline)}


def _benchmark(task: BrowserTask, plan: Plan) -> dict[str, Any]:
    number = TABLE_OF.get(task.name)
    tables = [subtask_table(number, plan)] if number else []
    measured = [(place, run) for place, run in enumerate(plan.runs) if task.name in run.results]
    return {
        "active": task.name,
        "task": measured[0][1].results[task.name].about,
        "num_samples": task.num_samples,
        "headlines": [{**_headline(task.name, place, run), "cut": _cut(task, run)} for place, run in measured],
        "chart": breakdown(number, plan) if number else None,
        "charts": further_parts(task.name, plan, number),
        "views": [_answers(task, place, run) for place, run in measured],
        "chart_note": _chart_note(task.name, measured[0][1]),
        "tables": [_without_notices(table) for table in (*tables, _in_words(every_metric(task.name, plan.runs), task))],
    }


def _chart_note(task: str, run: RunFolder) -> str:
    if task == "mmmu":
        return SPLIT_NOTE
    if task == "pope":
        splits = Counter(group for score in run.scores(task, run.results[task].headline) for group in score.groups)
        return POPE_NOTE.format(num=sum(splits.values()), splits=", ".join(f"{n} {name}" for name, n in splits.items()))
    return ""


def _cut(task: BrowserTask, run: RunFolder) -> dict[str, str] | None:
    """How many answers of a task were cut off, and where they are; None where they are few."""
    try:
        found = cut_tasks(run).get(task.name)
    except UserError:  # the notices say so
        return None
    if found is None:
        return None
    num_cut, num_answers = found
    share = 100 * num_cut / num_answers
    link = samples_link(task.name, a=run.label, b=NO_OTHER, result="cut")
    return {"title": task.title, "text": f"{num_cut} of {num_answers} ({share:.1f} %)", "link": link}


def _cuts(tasks: list[BrowserTask], run: RunFolder) -> dict[str, Any] | None:
    """What the overview says of a run's answers that were cut off."""
    found = [cut for task in tasks if (cut := _cut(task, run))]
    return {"run": run.label, "tasks": found} if found else None


def _answers(task: BrowserTask, place: int, run: RunFolder) -> dict[str, Any]:
    """What a run's answers look like; each count leads to its answers, where the sample browser can find them."""
    protocol = run.results[task.name].headline

    def link(wanted: Mapping[str, str]) -> str | None:
        words = [wanted[name] for name in ("read", "target") if name in wanted]
        if not wanted or not set(words) <= set(task.words):
            return None
        return samples_link(task.name, a=run.label, b=NO_OTHER, protocol=protocol, **wanted)

    confusion = confusion_of(run, task.name)
    cells = (
        [
            [(count, count and link(said_filter(said, right))) for said, count in zip(confusion.said, row, strict=True)]
            for right, row in zip(confusion.right, confusion.counts, strict=True)
        ]
        if confusion
        else []
    )
    views = views_of(run, task.name)
    links = {(view.title, bar.label): link(bar.wanted) for view in views for bar in view.bars if bar.count}
    return {"run": place, "views": views, "links": links, "confusion": confusion, "cells": cells}


def _headline(task: str, place: int, run: RunFolder) -> dict[str, Any]:
    """A run's own numbers of a task, what must be known about them, and why samples are unscored or unread."""
    result = run.results[task]
    labels = {entry.metric: entry.label for entry in paper.entries("main") if entry.task == task}
    labels = labels or headline_labels(result.about)
    cells = {label: replace(run_cell(result, metric), run=run.label) for metric, label in labels.items()}
    scores = run.scores(task, result.headline)
    return {
        "run": place,
        "numbers": cells,
        "notes": [
            *dict.fromkeys(note for cell in cells.values() for note in cell.notes),
            *_extraction(run, task, scores),
        ],
        "links": {
            name: samples_link(task, a=run.label, b=NO_OTHER, result=name.lower()) for name in ("Unscored", "Unread")
        },
        "reasons": {
            "Unscored": Counter(score.reason for score in scores if score.value is None).most_common(),
            "Unread": Counter(score.reason for score in scores if score.unread).most_common(),
        },
    }


def _extraction(run: RunFolder, task: str, scores: Sequence[Score]) -> Iterator[str]:
    """What to pass so that unread answers are extracted, where nothing did."""
    result = run.results[task]
    if nothing_extracts(result, result.headline) and any(score.unread for score in scores):
        yield NOTHING_EXTRACTS.format(protocol=result.headline, path=run.path)


def _summary(run: RunFolder) -> str:
    """One line about what made the run."""
    model = run.made_by.get("model", {})
    checked = run.made_by.get("mask_self_test")
    parts = [
        f"model {model.get('path') or model.get('name') or 'unknown'}",
        f"{model['attention']} attention" if model.get("attention") else "",
        "self-test passed" if checked and checked.get("passed") else "",
        "mask not verified" if run.record and run.record.model.is_served else "",
        f"{len(run.results)} tasks",
        f"data {next(iter(run.results.values())).data.get('source', 'unknown')}",
    ]
    return " · ".join(part for part in parts if part)


def _in_words(table: Table, task: BrowserTask) -> Table:
    """Its rows by the names that charts, the paper's tables and comparisons have for the parts."""
    return replace(table, rows=tuple(replace(row, label=part_label(task.name, row.label)) for row in table.rows))


def _without_notices(table: Table) -> Table:
    """The page says them once, at its top."""
    return replace(table, notices=())
