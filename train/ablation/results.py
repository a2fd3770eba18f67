"""What a training budget ends in: Table 1 with arms, paired tests, cost, profiles, learning curves, other masks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.data.root import TOY_TEST
from benchmarks.errors import UserError
from benchmarks.files import write_atomically
from benchmarks.toy_world.tables.skills import SKILLS_TABLE

from .cross import INSIDE, METRICS, cross_name
from .learning_curves import LearningCurve, by_step, draw
from .plan import AblationPlan
from .rows import AblationRow
from .work import aki_eval, run_name

BASES = ("it_it", "cca")
"""Rows that every other row is tested against."""
JUDGED = ("llava_bench", "mm_vet")
SKILLS = "toy_skills"


def write_results(
    out: Path,
    report: Path,
    plan: AblationPlan,
    rows: Sequence[AblationRow],
    done: Sequence[Mapping[str, Any]],
    left_out: Iterable[str],
) -> Path:
    """Everything again from the runs that there are in `out`, a training budget's; returns the summary's path."""
    arms = {row.name: [each for each in done if each["row"] == row.name] for row in rows}
    arms = {name: own for name, own in arms.items() if own}
    groups = [[str(out / "runs" / run_name(name, each["seed"])) for each in own] for name, own in arms.items()]
    crossed = list(_crossed(arms, out))
    sides = [part for group in (*groups, *crossed) for part in ("--", *group)][1:]
    base = ["--baseline", groups[list(arms).index(BASES[0])][0]] if BASES[0] in arms and len(groups) > 1 else []
    aki_eval("report", *sides, "--format", "md,csv,json,html", "--out", str(report), *base, "--pictures", "none")
    tests = list(_tests(arms, out, report))
    seen = any((out / "runs" / run_name(name, each["seed"]) / INSIDE).is_dir() for name in arms for each in arms[name])
    parts = [
        "# Ablation of orders and masks\n",
        _what(plan, arms, left_out),
        "Table 1 with arms: [tables.md](tables.md), [tables.csv](tables.csv), [html/index.html](html/index.html).\n",
        *(["Models under other masks than their own: the table of trained and used masks there.\n"] if crossed else []),
        *(["What image tokens know, layer by layer: [html/inside.html](html/inside.html).\n"] if seen else []),
        *(f"- [{title}]({path})" for title, path in tests),
        "\n## What a row costs\n",
        _cost_table(rows, arms),
    ]
    if profile := _profile_table(plan, arms, out):
        parts += ["\n## What each row can do (accuracy by skill, in per cent)\n", profile]
    if curve := _curves(arms, out, report):
        parts += ["\n## Score against training steps\n", curve]
    summary = report / "README.md"
    write_atomically(summary, "\n".join(parts) + "\n")
    return summary


def _crossed(arms: Mapping[str, Sequence[Any]], out: Path) -> Iterable[list[str]]:
    """Runs under other masks, by row and mask."""
    for name, own in arms.items():
        kinds = {path.name.split("-as-")[1].rpartition("-seed")[0] for path in (out / "cross").glob(f"{name}-as-*")}
        for kind in sorted(kinds):
            runs = [out / "cross" / cross_name(name, kind, each["seed"]) for each in own]
            if found := [str(run) for run in runs if run.is_dir() and any(run.glob(METRICS))]:
                yield found


def _what(plan: AblationPlan, arms: Mapping[str, Sequence[Any]], left_out: Iterable[str]) -> str:
    steps = f"{plan.toy.caption_steps} caption and {plan.toy.sft_steps} fine-tuning steps" if plan.is_toy else plan.data
    lines = [
        f"Data: {plan.data}; {steps}. Seeds: " + ", ".join(f"{name} {len(own)}" for name, own in arms.items()) + ".",
        "Rows of one seed have the same vision tower, initial weights, data and order of samples.",
    ]
    if missing := list(left_out):
        lines.append(f"Not run, for want of time: {', '.join(missing)}. The same command with more --budget goes on.")
    if any(len(own) == 1 for own in arms.values()):
        lines.append("Where a row has one seed, every verdict about it leaves the training-seed variance out.")
    return "\n".join(lines) + "\n"


def _tests(arms: Mapping[str, Sequence[Any]], out: Path, report: Path) -> Iterable[tuple[str, str]]:
    """Writes every row's comparison with causal and CCA; yields (title, path below the report)."""
    for base in BASES:
        for name in arms:
            if base not in arms or name == base or (name, base) == BASES:
                continue
            folder = report / "compare" / f"{name}-minus-{base}"
            sides = [[str(out / "runs" / run_name(row, each["seed"])) for each in arms[row]] for row in (base, name)]
            aki_eval("compare", *sides[0], "--", *sides[1], "--format", "md,json", "--out", str(folder))
            yield f"{name} minus {base}", f"{folder.relative_to(report)}/compare.md"


def _cost_table(rows: Sequence[AblationRow], arms: Mapping[str, Sequence[Any]]) -> str:
    """Steps and samples of all stages, seconds as measured; the share is of the causal row's steps."""
    usual = mean(each["steps"] for each in arms[BASES[0]]) if BASES[0] in arms else None
    lines = [
        "| row | steps | of causal's | samples | training, s | evaluation, s | |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        if row.name not in arms:
            continue
        own = arms[row.name]
        steps, samples, training, evaluation = (
            mean(each[name] for each in own) for name in ("steps", "samples", "training_seconds", "evaluation_seconds")
        )
        share = f"{steps / usual:.2f}" if usual else "–"
        lines.append(
            f"| {row.title} | {steps:.0f} | {share} | {samples:.0f} | {training:.0f} | {evaluation:.0f} | {row.note} |"
        )
    return "\n".join(lines)


def _profile_table(plan: AblationPlan, arms: Mapping[str, Sequence[Any]], out: Path) -> str:
    """Mean over seeds and, with several, their standard deviation; the prior is what a glance is worth.

    Empty where the table of skills was not asked.
    """
    paths = {
        name: [out / "runs" / run_name(name, each["seed"]) / SKILLS / "metrics.json" for each in own]
        for name, own in arms.items()
    }
    if not all(path.is_file() for own in paths.values() for path in own):
        return ""
    from benchmarks.toy_world.priors import priors

    found = {name: [_by_skill(path) for path in own] for name, own in paths.items()}
    floor = priors([SKILLS_TABLE], "test" if plan.evaluation == TOY_TEST else "eval")
    lines = ["| skill | prior | " + " | ".join(arms) + " |", "|---|---:|" + "---:|" * len(arms)]
    for skill in next(iter(found.values()))[0]:
        prior = f"{100 * floor[f'skill/{skill}'].value:.1f}" if f"skill/{skill}" in floor else "–"
        cells = [mean_cell([each[skill] for each in own]) for own in found.values()]
        lines.append(f"| {skill} | {prior} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _by_skill(path: Path) -> dict[str, float | None]:
    """Per cent by skill, and overall, of a run's metrics.json."""
    content = json.loads(path.read_text("utf-8"))
    metrics = content["protocols"][content["headline"]]
    return {name: metric["value"] for name, metric in metrics.items()}


def mean_cell(values: Sequence[float | None]) -> str:
    """Of an arm's values the mean and, with several, the standard deviation."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    return f"{mean(known):.1f}" + (f" ± {stdev(known):.1f}" if len(known) > 1 else "")


def _curves(arms: Mapping[str, Sequence[Any]], out: Path, report: Path) -> str:
    """Share of questions right (tasks without a judge) along the last stage: table, curves.json and curves.png."""
    found = {
        name: {
            str(each["seed"]): [(point["steps"], share_right(out / point["run"])) for point in each["curve"]]
            for each in own
        }
        for name, own in arms.items()
    }
    if not any(points for seeds in found.values() for points in seeds.values()):
        return ""
    write_atomically(report / "curves.json", json.dumps(found, indent=1) + "\n")
    curves = [
        LearningCurve(name, seeds, f"C{place % 10}", "-" if place < 10 else "--")
        for place, (name, seeds) in enumerate(found.items())
    ]
    draw(report / "curves.png", curves, height=5, font_size=7, each_seed=True)
    lines = [
        "| row | steps: share of questions right, in per cent (mean ± standard deviation over seeds) |",
        "|---|---|",
    ]
    for name, seeds in found.items():
        shown = (f"{step}: {mean_cell(own)}" for step, own in by_step(seeds).items())
        lines.append(f"| {name} | {', '.join(shown)} |")
    return "\n".join(
        [
            "On the subset of the curve, over tasks without a judge; steps count all stages of a row. Sooner and "
            "better are different findings.\n",
            *lines,
            "\n![Learning curves](curves.png)",
        ]
    )


def share_right(run: Path) -> float:
    """Mean worth of all scored questions of tasks without a judge, under their headline protocols.

    Raises:
        UserError: nothing is scored there.
    """
    values = []
    for path in sorted(run.glob("*/metrics.json")):
        if path.parent.name in JUDGED:
            continue
        headline = json.loads(path.read_text("utf-8"))["headline"]
        lines = (path.parent / "scores.jsonl").read_text("utf-8").splitlines()
        scores = [score for score in map(json.loads, lines) if score["protocol"] == headline]
        values += [score["value"] for score in scores if score["value"] is not None]
    if not values:
        raise UserError(f"{run}: no question without a judge is scored there")
    return float(mean(values))
