"""`aki-eval plan`: what a run would take and could find out, before anything is paid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmarks.data.root import OFFICIAL
from benchmarks.records import PromptStyle
from benchmarks.results.folder import open_run
from benchmarks.tasks import headline_labels
from reports.formats import print_tables
from reports.tables import DASH, Cell, Column, Row, Table

from ..chat.prices import Price, known_price
from ..judges import JudgeOptions
from ..predictors import make_predictor
from ..predictors.continuous import ROWS
from ..predictors.make import GENERATE, Engine
from ..run import plan as planning
from ..run.inputs import TaskInput, find_tasks, load
from ..run.plan import RunPlan, make_plan
from ..run.subset import parse
from .options import Dtype, takes_judge

GIBIBYTE = 2**30


@takes_judge
def command(
    bench: Annotated[str, typer.Option(help="As for aki-eval run.")],
    model: Annotated[str, typer.Option(help="As for aki-eval run; weights are not loaded.")],
    data: Annotated[str, typer.Option(help="official, toy, or a folder of tables.")] = OFFICIAL,
    past: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="RUN_DIR", help="A past run: its speed, its answers' lengths, its judge's work."
        ),
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Questions a second, where it is known.", min=1e-6)] = None,
    answer_tokens: Annotated[float | None, typer.Option(help="Mean tokens of an answer.", min=0.1)] = None,
    subset: Annotated[str | None, typer.Option(help="As for aki-eval run.")] = None,
    prompts: Annotated[PromptStyle, typer.Option(help="Wording of the prompts.")] = "aki",
    base_url: Annotated[str | None, typer.Option(help="Of an OpenAI-compatible server, for openai:NAME.")] = None,
    dtype: Annotated[Dtype, typer.Option(help="auto: as the checkpoint's.")] = "auto",
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Instead of each benchmark's own limit.", min=1, max=1_000_000)
    ] = None,
    on: Annotated[
        Literal["a100", "h100", "h200"] | None, typer.Option("--on", help="Compute the time on such a card, and on 8.")
    ] = None,
    engine: Annotated[Engine, typer.Option(help="As for aki-eval run; for the time on a card.")] = GENERATE,
    format: Annotated[Literal["term", "json"], typer.Option(help="A table for the terminal, or JSON.")] = "term",
    *,
    judge: JudgeOptions,
) -> None:
    """Questions, tokens, time, memory, the judge's dollars and detectable differences of a run that is not made."""
    predictor = make_predictor(model, base_url=base_url, dtype=dtype)
    judge.resolve(data)
    inputs = load(find_tasks(bench), data, prompts, parse(subset), max_new_tokens)
    before = open_run(past) if past else None
    if before is not None:
        planning.check_past(before, inputs)
    price = Price.parse(judge.price) if judge.price else known_price(judge.name)
    plan = make_plan(
        inputs,
        predictor,
        past=before,
        rate=rate,
        answer_tokens=answer_tokens,
        judge_price=price if judge.is_served else None,
        judge_repeats=judge.repeats,
        judged=judge.is_served,
        on=on,
        engine=engine,
    )
    if format == "json":
        typer.echo(json.dumps(asdict(plan), indent=1))
    else:
        print_tables([plan_table(plan, inputs, judge, model)])


HEADINGS = ("questions", "pictures", "prompt tokens", "longest", "answer tokens", "judge asks", "detectable")


def plan_table(plan: RunPlan, inputs: list[TaskInput], judge: JudgeOptions, model: str) -> Table:
    rows = [
        Row(
            label=task.task,
            cells=tuple(
                Cell(text=text)
                for text in (
                    f"{task.questions:,}",
                    f"{task.pictures:,}",
                    f"{task.prompt_tokens:,}",
                    f"{task.longest_prompt:,}",
                    f"{task.questions * task.answer_tokens:,.0f}",
                    f"{task.judge_requests:,}",
                    _differences(given, task.detectable),
                )
            ),
        )
        for task, given in zip(plan.tasks, inputs, strict=True)
    ]
    sums = [plan.total(name) for name in ("questions", "pictures", "prompt_tokens")]
    answers = sum(task.questions * task.answer_tokens for task in plan.tasks)
    total = (*(f"{value:,}" for value in sums), "", f"{answers:,.0f}", f"{plan.total('judge_requests'):,}", "")
    rows.append(Row(label="all", cells=tuple(Cell(text=text) for text in total)))
    return Table(
        key="plan",
        title=f"A run of {model}",
        corner="benchmark",
        columns=tuple(Column(label=name, kind="run", text=name == "detectable") for name in HEADINGS),
        rows=tuple(rows),
        remarks=tuple(_remarks(plan, judge)),
    )


def _differences(given: TaskInput, detectable: dict[str, float | None]) -> str:
    labels = headline_labels(given.task)
    known = [(labels.get(name, name), value) for name, value in detectable.items()]
    return ", ".join(f"{label} {DASH if value is None else f'{value:.1f}'}" for label, value in known)


def _remarks(plan: RunPlan, judge: JudgeOptions) -> Iterator[str]:
    counted = "by the model's own tokenizer, pictures included"
    assumed = f"assumed, one in {planning.CHARACTERS_A_TOKEN} characters, pictures not included"
    yield f"Prompt tokens: {counted if plan.exact_tokens else assumed}."
    if plan.answers_from:
        yield f"Answers: as long as those of {plan.answers_from}, where it has the benchmark."
    else:
        yield (
            f"Answers: assumed, {planning.SHORT_ANSWER} tokens, and {planning.LONG_ANSWER} where a judge grades them "
            "(--answer-tokens, or --from a past run)."
        )
    if plan.seconds is None:
        yield "Time: not known; give --rate, or --from a past run on this machine."
    else:
        yield f"Time: {_duration(plan.seconds)}, at {plan.total('questions') / plan.seconds:.1f} questions a second."
    if plan.on:
        yield _computed(plan)
    if plan.weight_bytes is not None:
        cache = (
            ""
            if plan.cache_bytes is None
            else (
                f", and {plan.cache_bytes / GIBIBYTE:.2f} GiB of keys and values for {plan.batch_size} of the longest "
                "at once"
            )
        )
        yield f"Memory: {plan.weight_bytes / GIBIBYTE:.2f} GiB of weights{cache}."
    yield from _judge_remarks(plan, judge)
    yield (
        "Detectable: the smallest true difference between two runs on these same questions that is found with 80 % "
        f"power if {planning.FLIPPED:.0%} of their answers differ in worth. It is paired: not one run's interval. Of "
        "judged benchmarks from a past run's error."
    )


def _computed(plan: RunPlan) -> str:
    if plan.computed is None:
        return f"On one {plan.on.upper() if plan.on else ''}: nothing is known of this model's size."
    time = plan.computed
    rows = planning.BATCH if plan.engine == GENERATE else ROWS
    return (
        f"On one {str(plan.on).upper()}: {_duration(time.total)} computed ({time.pictures:.0f} s pictures, "
        f"{time.prompts:.0f} s prompts, {time.answers:.0f} s answers), on eight {_duration(time.total / 8)}: at "
        f"{planning.UTILISATION:.0%} of its operations, {planning.BANDWIDTH_SHARE:.0%} of its bandwidth and "
        f"{1000 * planning.STEP_SECONDS:.0f} ms or more a step for {rows} "
        f"answers by {plan.engine}. Loading and the judge are not included."
    )


def _judge_remarks(plan: RunPlan, judge: JudgeOptions) -> Iterator[str]:
    if not judge.is_served:
        yield "Judge: none is asked (--judge NAME counts its requests and dollars)."
        return
    counts = (plan.total("judge_input_tokens"), plan.total("judge_output_tokens"))
    cost = "its price is not known (--judge-price)" if plan.judge_cost_usd is None else f"${plan.judge_cost_usd:.2f}"
    basis = "on the past run's answers" if plan.answers_from else "for grading alone; reading odd answers costs more"
    yield (
        f"Judge {judge.name}: {cost} for about {counts[0]:,} tokens read and {counts[1]:,} written, {basis}. Tokens "
        f"are assumed, one in {planning.CHARACTERS_A_TOKEN} characters."
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
