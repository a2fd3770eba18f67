"""What a run would take, before it is paid for: questions, tokens, time, memory, the judge, and what it could find out.

Prompts are the real ones, counted by the model's own tokenizer where it has one at hand. What nobody can know before
(how long answers are, how fast the model is) comes from a past run, or is an assumption that is said.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import fmean
from typing import Any

from benchmarks.errors import UserError
from benchmarks.estimates import Estimate
from benchmarks.paired_tests import paired_difference, smallest_detectable_difference
from benchmarks.records import JudgeRequest, Prediction, Prompt, Sample, Verdict
from benchmarks.results.folder import RunFolder
from benchmarks.scoring import estimates_of, score_task, scored
from benchmarks.task import Task

from ..predictors import Predictor
from ..predictors.aki import AkiPredictor
from ..predictors.continuous import REFILL, ROWS
from ..predictors.make import GENERATE, Engine
from .inputs import TaskInput

CHARACTERS_A_TOKEN = 4
"""Where no tokenizer is at hand. Of English prose; code and other scripts have fewer."""
SHORT_ANSWER, LONG_ANSWER = 8, 128
"""Tokens of an answer, where no past run says: to choices, yes/no and numbers; to what a judge grades."""
FLIPPED = 0.2
"""Share of answers that change their worth between the two runs that are to be told apart."""
JUDGE_WORDS = {"llava_bench": 150}
"""Tokens that a judge writes beside its grade; elsewhere a few."""
JUDGE_SHORT = 5


@dataclass(frozen=True)
class Accelerator:
    """What a card can do by its data sheet: dense bf16 operations and bytes of its memory a second."""

    operations: float
    bandwidth: float


ACCELERATORS = {
    "a100": Accelerator(312e12, 2.04e12),
    "h100": Accelerator(989e12, 3.35e12),
    "h200": Accelerator(989e12, 4.8e12),
}
"""NVIDIA's data sheets, SXM, 80 GB (H200: 141 GB)."""
UTILISATION, BANDWIDTH_SHARE, STEP_SECONDS, BATCH = 0.4, 0.6, 0.025, 128
"""Assumed: share of the operations in prompts and pictures, share of the bandwidth while answers are written, seconds
that one step needs however little it computes, questions in a batch of `generate`."""
CACHE_PASSES = 3
"""So often a step reads or writes the keys and values of its rows: it copies them (`torch.cat`, `index_select`), and
attends to the copy."""


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """Parameters that a token passes, bytes of keys and values that it leaves, operations for a picture."""

    parameters: float
    cache_bytes: float
    picture_operations: float


@dataclass(frozen=True, kw_only=True)
class ComputedTime:
    """Seconds on one card, by what takes them. Loading, the judge and reading picture files are not among them."""

    pictures: float
    prompts: float
    answers: float

    @property
    def total(self) -> float:
        return self.pictures + self.prompts + self.answers


def computed_time(
    tasks: Sequence[TaskPlan], size: ModelSize, card: Accelerator, engine: Engine = GENERATE
) -> ComputedTime:
    """What a run would take on a card, from data sheets and assumptions that are named.

    Lengths of answers are exponentially distributed up to the limit. Each step of answers reads the weights once and
    passes over its rows' keys and values `CACHE_PASSES` times; under the continuous engine each row also attends to
    what the mask hides of the others.
    """
    speed = UTILISATION * card.operations
    answers = 0.0
    for task in tasks:
        if not task.questions:
            continue
        rows, steps, longest = answer_steps(task, engine)
        context = task.prompt_tokens / task.questions + longest / 2
        read = 2 * size.parameters + CACHE_PASSES * rows * context * size.cache_bytes
        hidden = rows * rows * context * size.cache_bytes / speed if engine == "continuous" else 0.0
        answers += steps * (max(STEP_SECONDS, read / (BANDWIDTH_SHARE * card.bandwidth)) + hidden)
    return ComputedTime(
        pictures=sum(task.pictures for task in tasks) * size.picture_operations / speed,
        prompts=sum(task.prompt_tokens for task in tasks) * 2 * size.parameters / speed,
        answers=answers,
    )


def answer_steps(task: TaskPlan, engine: Engine, rows: int | None = None) -> tuple[int, float, float]:
    """(rows at once, steps that all answers take, tokens of the longest answer among a step's rows).

    Of exponentially distributed lengths the longest of N is the Nth harmonic number times their mean. A batch of
    `generate` lasts as long as its longest; the continuous engine keeps its rows full, but for what waits to be
    refilled, until nothing is left to ask, and then ends with the longest.
    """
    rows = min(rows or (BATCH if engine == GENERATE else ROWS), task.questions)
    longest = min(task.answer_tokens * sum(1 / n for n in range(1, rows + 1)), task.most_answer_tokens)
    if engine == GENERATE:
        return rows, task.questions / rows * longest, longest
    full = 1 - 1 / (2 * REFILL)
    return rows, (task.questions - rows) * task.answer_tokens / (rows * full) + longest, task.answer_tokens


def model_size(predictor: Predictor) -> ModelSize | None:
    """Of an AKI in bf16, by its settings and the size of its files; None of any other model."""
    weights = _weight_bytes(predictor)
    if not isinstance(predictor, AkiPredictor) or not weights:
        return None
    from model import AkiConfig

    config = AkiConfig(**{key: predictor.config[key] for key in ("text_config", "vision_config")})
    text, vision = config.text_config, config.vision_config
    stored = SIZES.get(str(predictor.config.get("dtype")), 4)
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    wide = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    patches = (vision.image_size // vision.patch_size) ** 2
    layer = 4 * vision.hidden_size**2 + 2 * vision.hidden_size * vision.intermediate_size
    attention = 2 * patches * vision.hidden_size
    return ModelSize(
        parameters=weights / stored,
        cache_bytes=4 * text.num_hidden_layers * heads * wide,
        picture_operations=2 * vision.num_hidden_layers * patches * (layer + attention),
    )


@dataclass(frozen=True, kw_only=True)
class TaskPlan:
    """Of one task. `answer_tokens` is a mean; `judge_requests` those that are certain, or counted on past answers."""

    task: str
    questions: int
    pictures: int
    prompt_tokens: int
    longest_prompt: int
    answer_tokens: float
    most_answer_tokens: int
    judge_requests: int
    judge_input_tokens: int
    judge_output_tokens: int
    detectable: dict[str, float | None] = field(default_factory=dict)
    """By column: the smallest true difference between two models found with 80 % power."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Of all tasks together. `seconds`, bytes and dollars are None where nothing says."""

    tasks: list[TaskPlan]
    exact_tokens: bool
    """Prompts were counted by the model's own tokenizer."""
    answers_from: str | None
    """The past run that answers' lengths, and the judge's requests, are from."""
    seconds: float | None
    weight_bytes: int | None
    cache_bytes: int | None
    """Of keys and values for one batch of `batch_size` of the longest questions with the longest answers."""
    batch_size: int
    judge_cost_usd: float | None
    on: str | None = None
    """The card for which the time was computed; None: none was asked for."""
    engine: Engine = GENERATE
    computed: ComputedTime | None = None

    def total(self, name: str) -> float:
        total: float = sum(getattr(task, name) for task in self.tasks)
        return total


class CountingJudge:
    """Writes down what it is asked, and says nothing."""

    name, comparable = "counting", True

    def __init__(self) -> None:
        self.requests: list[JudgeRequest] = []

    def grade(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        self.requests += requests
        return [
            Verdict(
                index=r.index, kind=r.kind, judge=self.name, prompt_hash="", raw=None, value=None, error="not asked"
            )
            for r in requests
        ]

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}


def make_plan(
    inputs: Sequence[TaskInput],
    predictor: Predictor,
    *,
    past: RunFolder | None = None,
    rate: float | None = None,
    answer_tokens: float | None = None,
    judge_price: Any | None = None,
    judge_repeats: int = 1,
    judged: bool = True,
    on: str | None = None,
    engine: Engine = GENERATE,
) -> RunPlan:
    """`rate` is in questions a second, `answer_tokens` a mean; both instead of what the past run says."""
    tokens = TokenCounter(predictor)
    tasks = [_plan_task(given, tokens, past, answer_tokens, judge_repeats if judged else 0) for given in inputs]
    rate = rate if rate is not None else past_rate(past)
    longest = max((task.longest_prompt + task.most_answer_tokens for task in tasks), default=0)
    cost = None
    if judge_price is not None:
        cost = judge_price.cost(
            int(sum(task.judge_input_tokens for task in tasks)), int(sum(task.judge_output_tokens for task in tasks))
        )
    return RunPlan(
        tasks=tasks,
        exact_tokens=tokens.exact,
        answers_from=past.label if past else None,
        seconds=sum(task.questions for task in tasks) / rate if rate else None,
        weight_bytes=_weight_bytes(predictor),
        cache_bytes=_cache_bytes(predictor, longest),
        batch_size=predictor.batch_size,
        judge_cost_usd=cost,
        on=on,
        engine=engine,
        computed=computed_time(tasks, size, ACCELERATORS[on], engine)
        if on and (size := model_size(predictor))
        else None,
    )


def past_rate(past: RunFolder | None) -> float | None:
    """Questions a second over the past run's sessions that ended; None where none says."""
    sessions = [s for s in past.record.sessions if s.finished] if past and past.record else []
    asked = sum(sum(session.num_predicted.values()) for session in sessions)
    seconds = sum(
        (datetime.fromisoformat(str(s.finished)) - datetime.fromisoformat(s.started)).total_seconds() for s in sessions
    )
    return asked / seconds if asked and seconds else None


class TokenCounter:
    """Counts a prompt's tokens with its pictures': exactly for AKI, else by its characters and without pictures."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.exact = isinstance(predictor, AkiPredictor)

    def count(self, prompts: Sequence[Prompt]) -> list[int]:
        if not isinstance(self.predictor, AkiPredictor):
            return [-(-len(self.predictor.render(prompt)) // CHARACTERS_A_TOKEN) for prompt in prompts]
        processor = self.predictor.processor
        texts = [self.predictor.render(prompt) for prompt in prompts]
        found = processor.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        extra = processor.num_latents - 1
        return [len(ids) + extra * len(prompt.images) for ids, prompt in zip(found, prompts, strict=True)]


def _plan_task(
    given: TaskInput, tokens: TokenCounter, past: RunFolder | None, answer_tokens: float | None, repeats: int
) -> TaskPlan:
    task = given.task
    counts = tokens.count(given.prompts)
    known = past.predictions(task.name) if past is not None and task.name in past.results else {}
    lengths = [p.num_tokens for p in known.values() if p.num_tokens is not None]
    mean = answer_tokens or (fmean(lengths) if lengths else LONG_ANSWER if task.judged else SHORT_ANSWER)
    requests = _judge_requests(given, known, mean) if repeats else []
    return TaskPlan(
        task=task.name,
        questions=len(given.samples),
        pictures=len({image.key for sample in given.samples for image in sample.images}),
        prompt_tokens=sum(counts),
        longest_prompt=max(counts, default=0),
        answer_tokens=mean,
        most_answer_tokens=given.max_new_tokens,
        judge_requests=repeats * len(requests),
        judge_input_tokens=repeats
        * sum(-(-len(each.prompt + (each.system or "")) // CHARACTERS_A_TOKEN) for each in requests),
        judge_output_tokens=repeats * sum(JUDGE_WORDS.get(request.kind, JUDGE_SHORT) for request in requests),
        detectable=_detectable(task, given.samples, past),
    )


def _judge_requests(given: TaskInput, known: Mapping[str, Prediction], mean: float) -> list[JudgeRequest]:
    """What a judge would be asked: about a past run's answers, else about answers of the assumed length.

    Answers in the form that was asked for need no judge to be read: without a past run, nothing but grading is counted.
    """
    judge = CountingJudge()
    words = "word " * max(1, round(mean))

    def stand_in(sample: Sample) -> Prediction:
        text = words if given.task.judged else sample.target
        return Prediction(index=sample.index, prompt="", text=text, finish_reason="stop")

    answers = {sample.index: known.get(sample.index) or stand_in(sample) for sample in given.samples}
    score_task(given.task, given.samples, answers, judge)
    unique = {(request.kind, request.index, request.prompt): request for request in judge.requests}
    return list(unique.values())


def _detectable(task: Task, samples: Sequence[Sample], past: RunFolder | None) -> dict[str, float | None]:
    """For each column, from two made-up runs over the real questions whose answers differ in `FLIPPED` of them.

    What a judge grades has no such answers: there the past run's own error is taken, as if both runs' were
    independent; without it, nothing is said.
    """
    if task.judged:
        return {name: _independent(task, name, past) for name in task.headline_metrics}
    source = random.Random(0)
    first = {sample.index: source.random() < 0.6 for sample in samples}
    second = {index: right != (source.random() < FLIPPED) for index, right in first.items()}
    a, b = (_made_up(task, samples, right) for right in (first, second))
    found = {name: paired_difference(a[name], b[name]) for name in task.headline_metrics if name in a and name in b}
    return {name: each.detectable if (each := found.get(name)) else None for name in task.headline_metrics}


def _made_up(task: Task, samples: Sequence[Sample], right: Mapping[str, bool]) -> dict[str, Estimate]:
    opposite = {"Yes": "No", "No": "Yes"}
    scores = [
        scored(
            sample,
            task.headline,
            float(right[sample.index]),
            answer=sample.target if right[sample.index] else opposite.get(sample.target),
        )
        for sample in samples
        if not sample.fault
    ]
    return estimates_of(task, task.headline, scores)


def _independent(task: Task, name: str, past: RunFolder | None) -> float | None:
    if past is None or task.name not in past.results:
        return None
    estimate = estimates_of(task, task.headline, past.scores(task.name, task.headline)).get(name)
    error = estimate.std_error if estimate else None
    return smallest_detectable_difference(2**0.5 * error) if error else None


def _weight_bytes(predictor: Predictor) -> int | None:
    if not isinstance(predictor, AkiPredictor):
        return None
    return sum(path.stat().st_size for path in predictor.checkpoint.glob("*.safetensors"))


SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}


def _cache_bytes(predictor: Predictor, length: int) -> int | None:
    """Keys and values of one batch. The text backbone's settings say how many; None where they do not."""
    if not isinstance(predictor, AkiPredictor):
        return None
    text = predictor.config.get("text_config") or {}
    try:
        heads = text.get("num_key_value_heads") or text["num_attention_heads"]
        wide = text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"]
        return int(
            2 * text["num_hidden_layers"] * heads * wide * SIZES[predictor.dtype] * length * predictor.batch_size
        )
    except KeyError:
        return None


def check_past(past: RunFolder, inputs: Sequence[TaskInput]) -> None:
    """Raises UserError where the past run says nothing about any of the tasks."""
    if not any(given.task.name in past.results for given in inputs):
        raise UserError(f"--from: {past.path} has none of the benchmarks asked for, but {', '.join(past.results)}")
