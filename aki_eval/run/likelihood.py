"""Option probabilities, asked of the model and stored: the evidence of two protocols.

They are `likelihood` and `likelihood_text`. One forward pass a question (with the options' texts: one row of it for
each), nothing generated. Resumes like answers; a sample that fails is an error and asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path

from benchmarks.errors import UserError
from benchmarks.files import write_atomically
from benchmarks.likelihood import LABELS, NAMES, TEXTS, labels_of, texts_of
from benchmarks.records import Prediction, Prompt, Sample
from benchmarks.results.jsonl import cut_torn_line, read_lines, to_line
from benchmarks.results.store import RunStore

from ..predictors import Predictor, Unusable, is_out_of_memory, release_memory
from ..predictors.base import NoProbabilities, ProbabilityPredictor
from .batching import ordered
from .chunks import Chunks
from .inputs import TaskInput

Options = Mapping[tuple[str, str], tuple[str, ...]]
"""(protocol, option) -> ways to say it."""


@dataclass(frozen=True, kw_only=True)
class LikelihoodLine:
    """A line of likelihoods.jsonl: natural logarithms of probabilities by option; of texts a token's mean."""

    index: str
    logprobs: Mapping[str, float] | None = None
    text_logprobs: Mapping[str, float] | None = None
    error: str | None = None


def wanted_names(protocols: Sequence[str]) -> tuple[str, ...]:
    """Those of the protocols asked for that need probabilities."""
    return tuple(name for name in NAMES if name in protocols)


def refuse_without_probabilities(predictor: Predictor, names: Sequence[str]) -> None:
    """Raises UserError where they are wanted, and the predictor knows none, or not those of texts."""
    if names and not isinstance(predictor, ProbabilityPredictor):
        raise UserError(f"--protocols {names[0]}: {predictor.name} gives no probabilities; a checkpoint of AKI does")
    if TEXTS in names and isinstance(predictor, ProbabilityPredictor) and not predictor.knows_texts:
        raise UserError(
            f"--protocols {TEXTS}: {predictor.name} gives the probabilities of single tokens only, which are enough "
            f"for {LABELS}"
        )


def likelihood_lot(given: TaskInput) -> str:
    """The name of this work among others."""
    return f"{given.task.name}/likelihoods"


def to_ask(folder: RunStore, given: TaskInput, names: Sequence[str]) -> list[Prompt]:
    """What is not stored yet, of all that has options."""
    if not any(name in given.task.protocols for name in names):
        return []
    texts = _with_texts(given, names)
    known = read_likelihoods(folder, given.task.name)
    options = _options(given, texts=texts)
    return [
        prompt for prompt in given.prompts if options[prompt.index] and not _is_known(known.get(prompt.index), texts)
    ]


def ask_likelihoods(
    folder: RunStore,
    given: TaskInput,
    predictor: ProbabilityPredictor,
    names: Sequence[str],
    batch_size: int,
    worker: str | None,
    chunks: Chunks,
    check: Callable[[], None],
) -> int:
    """Asks the chunks of a task that nobody has; returns how many questions that were. `check` may raise."""
    prompts = {prompt.index: prompt for prompt in given.prompts}
    path = likelihoods_path(folder.root / given.task.name, worker)
    asked, own = 0, _mark(folder, given)
    options: dict[str, Options] = {}
    for chunk in chunks.take(likelihood_lot(given)):
        if not options:
            options = _options(given, texts=_with_texts(given, names))
            path.parent.mkdir(exist_ok=True)
            if path.exists():
                cut_torn_line(path)
        texts = _with_texts(given, names)
        known = read_likelihoods(folder, given.task.name) if chunk.taken_over else {}
        todo = [prompts[index] for index in chunk.indices if not _is_known(known.get(index), texts)]
        for batch in _batches(ordered(todo), batch_size):
            lines = list(_ask(predictor, batch, options))
            check()
            with path.open("a", encoding="utf-8") as file:
                file.write("".join(to_line({**vars(line), **own}) for line in lines))
            asked += len(batch)
        chunks.finish(chunk.lot, chunk.number)
    return asked


def _with_texts(given: TaskInput, names: Sequence[str]) -> bool:
    return TEXTS in names and TEXTS in given.task.protocols


def _options(given: TaskInput, *, texts: bool) -> dict[str, Options]:
    return {sample.index: _continuations(sample, texts=texts) for sample in given.samples}


def _mark(folder: RunStore, given: TaskInput) -> dict[str, str]:
    mark = folder.mark(given.task.name)
    return {"run": mark} if mark else {}


def _batches(prompts: Sequence[Prompt], size: int) -> Iterator[Sequence[Prompt]]:
    yield from (prompts[start : start + size] for start in range(0, len(prompts), size))


def likelihoods_path(task_folder: Path, worker: str | None = None) -> Path:
    return task_folder / ("likelihoods.jsonl" if worker is None else f"likelihoods.{worker}.jsonl")


def merge_likelihoods(folder: RunStore, given: TaskInput) -> None:
    """One file, a line a question. Only for who holds the folder alone."""
    place = likelihoods_path(folder.root / given.task.name)
    others = [path for path in place.parent.glob("likelihoods*.jsonl") if path != place]
    if not others:
        return
    own = _mark(folder, given)
    known = read_likelihoods(folder, given.task.name).values()
    write_atomically(place, "".join(to_line({**vars(line), **own}) for line in known))
    for path in others:
        path.unlink()


def _is_known(line: LikelihoodLine | None, texts: bool) -> bool:
    return line is not None and line.error is None and (not texts or line.text_logprobs is not None)


def _continuations(sample: Sample, *, texts: bool) -> dict[tuple[str, str], tuple[str, ...]]:
    """(protocol, option) -> ways to say it; empty for what has no options or makes no sense."""
    if sample.fault:
        return {}
    found = {(LABELS, name): ways for name, ways in labels_of(sample).items()}
    return found | ({(TEXTS, name): ways for name, ways in texts_of(sample).items()} if texts else {})


def _ask(
    predictor: ProbabilityPredictor,
    batch: Sequence[Prompt],
    options: Mapping[str, Options],
) -> Iterator[LikelihoodLine]:
    """A batch that does not go as one goes one by one; what fails alone is an error."""
    ways = [[way for each in options[prompt.index].values() for way in each] for prompt in batch]
    try:
        found = predictor.continuation_logprobs(batch, ways)
    except Unusable:
        raise
    except Exception as error:  # noqa: BLE001 (whatever one sample does must not end the run)
        if len(batch) == 1:
            yield LikelihoodLine(index=batch[0].index, error=f"{type(error).__name__}: {error}"[:500])
            return
        if is_out_of_memory(error):
            release_memory()
        for prompt in batch:
            yield from _ask(predictor, [prompt], options)
        return
    for prompt, values in zip(batch, found, strict=True):
        if isinstance(values, NoProbabilities):
            yield LikelihoodLine(index=prompt.index, error=values.error[:500])
        else:
            yield _line(prompt.index, options[prompt.index], iter(values))


def _line(index: str, options: Options, values: Iterator[tuple[float, int] | None]) -> LikelihoodLine:
    """Ways of saying one label are added up; a text's probability is its tokens' geometric mean."""
    found: dict[str, dict[str, float]] = {LABELS: {}, TEXTS: {}}
    for (protocol, name), ways in options.items():
        known = [value for value in (next(values) for _ in ways) if value is not None]
        if known and protocol == LABELS:
            found[protocol][name] = log(sum(exp(total) for total, _ in known)) if len(known) > 1 else known[0][0]
        elif known:
            total, num_tokens = known[0]
            found[protocol][name] = total / num_tokens
    has_texts = any(protocol == TEXTS for protocol, _ in options)
    return LikelihoodLine(index=index, logprobs=found[LABELS], text_logprobs=found[TEXTS] if has_texts else None)


def read_likelihoods(folder: RunStore, task: str) -> dict[str, LikelihoodLine]:
    """What is stored of a task, whoever asked; later counts more than earlier, an answer more than an error.

    Raises:
        UserError: a damaged line, or one of another run.
    """
    known: dict[str, LikelihoodLine] = {}
    mark = folder.mark(task)
    for path in sorted((folder.root / task).glob("likelihoods*.jsonl")):
        for number, record in enumerate(read_lines(path), 1):
            if record.get("run") != mark:
                raise UserError(f"{path}, line {number}, is of another run than run.json; start over with --fresh")
            try:
                line = LikelihoodLine(
                    index=str(record["index"]),
                    logprobs=_numbers(record["logprobs"]),
                    text_logprobs=_numbers(record["text_logprobs"]),
                    error=record["error"],
                )
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{path}, line {number}, holds no probabilities ({error}); restore the file") from error
            if line.error is None or line.index not in known:
                known[line.index] = line
    return known


def _numbers(cell: object) -> dict[str, float] | None:
    if cell is None:
        return None
    if not isinstance(cell, dict):
        raise TypeError(f"a {type(cell).__name__}, expected an object")
    return {str(name): float(value) for name, value in cell.items()}


def as_predictions(folder: RunStore, task: str, protocol: str) -> dict[str, Prediction]:
    """What is stored, for a protocol to score: the most probable option is the answer."""
    found = {}
    for index, line in read_likelihoods(folder, task).items():
        logprobs = line.logprobs if protocol == LABELS else line.text_logprobs
        chosen = max(logprobs, key=lambda name: logprobs[name]) if logprobs else ""
        text = None if line.error else chosen
        found[index] = Prediction(index=index, prompt="", text=text, error=line.error, logprobs=logprobs)
    return found
