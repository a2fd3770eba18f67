"""What two runs say about each other, as tables: `aki-eval compare` and `aki-eval report` show the same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from benchmarks.arms import ArmEstimate
from benchmarks.results.comparison import Comparison, Flip, MetricComparison
from benchmarks.results.pairing import WARNING
from benchmarks.tasks import TASKS

from .links import Links
from .tables import DASH, Cell, Column, Row, Table

HOW = (
    "B - A with its 95 % interval (both bounds where it is not in the middle), paired question by question; ▲ and ▼: "
    "p < 0.05 after Holm's correction, which is over the columns, or over the sub-scores of one task.",
    "exact McNemar: right or wrong, one independent question each. clustered t: everything else, by picture or "
    "circular group. detectable: the true difference that two runs on these same questions show with 80 % power, if as "
    "many answers change as did here. It is paired: compare it with ± of B - A, never with the ± of one run.",
)


ARMS = (
    "Arms: means over training seeds. ±q is half the width of the 95 % interval for other questions, ±s for other "
    "seeds; B - A has both in one, what a seed does with a question counted once. by questions, by seeds: standard "
    "errors of B - A.",
    "crossed t: questions x seeds, {pairing}; detectable: with 80 % power by these seeds and questions. `aki-eval "
    "power` says how many more a difference needs.",
)


def title(comparison: Comparison) -> str:
    return f"A: {comparison.a}   B: {comparison.b}"


def metric_table(comparison: Comparison, metrics: Sequence[MetricComparison], key: str = "compare") -> Table:
    """Both runs' values on the pairs, B - A, and every number that says how sure it is."""
    names = ["A", "B", "B - A", "p", "p, Holm", "test", "detectable", "pairs"]
    if comparison.arms:
        names[3:3] = ["by questions", "by seeds"]
    return Table(
        key=key,
        title=title(comparison),
        corner="metric",
        columns=tuple(Column(label=name, kind="run", text=name == "test") for name in names),
        rows=tuple(_metric_row(metric, arms=comparison.arms) for metric in metrics),
        notices=(WARNING, *comparison.warnings) if comparison.warnings else (),
        remarks=(*_how(comparison), *(f"Not compared. {why}." for why in chain(*comparison.left_out.values()))),
    )


def _how(comparison: Comparison) -> tuple[str, ...]:
    """How to read the numbers, and what they leave open."""
    lines = list(HOW)
    if comparison.arms:
        num = comparison.num_matched
        pairing = f"{num} seeds paired" if num else "no seed is on both sides, so seeds are not paired"
        lines += [line.format(pairing=pairing) for line in ARMS]
        lines += [f"Not the seed alone. {warning}." for warning in comparison.arm_warnings]
    if comparison.seeds_left_out:
        lines.append(f"Every verdict here: {comparison.seeds_left_out}.")
    return tuple(lines)


def _metric_row(metric: MetricComparison, *, arms: bool) -> Row:
    every = "all" if arms else "both"
    left_out = f"{metric.num_left_out} samples of {metric.task} are not scored in {every} runs and left out"
    return Row(
        label=metric.label,
        cells=(
            *([arm_cell(side) for side in metric.arms] if arms else [Cell(value=metric.a), Cell(value=metric.b)]),
            difference_cell(metric),
            *(_source_cells(metric) if arms else ()),
            Cell(text=p_text(metric.p)),
            Cell(text=p_text(metric.p_holm)),
            Cell(text=metric.test or DASH),
            Cell(value=metric.detectable),
            Cell(text=f"{metric.num_pairs} in {metric.paired.num_clusters if metric.paired else 0}"),
        ),
        notes=(left_out,) if metric.num_left_out else (),
    )


def arm_cell(arm: ArmEstimate) -> Cell:
    """An arm's mean with its two error bars."""
    return Cell(value=arm.mean.value, ci95=arm.question_interval, seed_ci95=arm.seed_interval)


def _source_cells(metric: MetricComparison) -> tuple[Cell, Cell]:
    """Standard errors of the difference by questions and by seeds."""
    found = metric.variances
    if found is None:
        return Cell(), Cell()
    seeds = Cell() if found.seed_degrees is None else Cell(value=found.seeds**0.5)
    return Cell(value=found.questions**0.5), seeds


def difference_cell(metric: MetricComparison) -> Cell:
    """B - A as a cell of any table, with a note where it could not be tested."""
    return Cell(
        value=metric.difference,
        ci95=metric.ci95,
        p_value=metric.p,
        p_holm=metric.p_holm,
        test=metric.test,
        significant=metric.significant,
        signed=True,
        task=metric.task,
        metric=metric.metric,
        protocol=metric.protocol,
        notes=(f"Not tested: {metric.reason}.",) if metric.reason else (),
    )


def moved_texts(metric: MetricComparison, gained: int, lost: int) -> tuple[str, str]:
    """How many answers moved for the better and for the worse, with the groups that the metric and its p count.

    MMBench's answers are to rolls of a question, which is right when all are: `1 roll, 0 groups`.
    """
    if metric.groups_moved is None:
        return str(gained), str(lost)
    word = _answer_word(metric)
    pairs = zip((gained, lost), metric.groups_moved, strict=True)
    first, second = (
        f"{_counted(own, word)}, {_counted(groups, 'group')}" if own or groups else "0" for own, groups in pairs
    )
    return first, second


def answers_text(metric: MetricComparison) -> str:
    """How many answers stand on either side: `200`, `27 rolls`."""
    num = metric.num_pairs
    return str(num) if metric.groups_moved is None else _counted(num, _answer_word(metric))


def _answer_word(metric: MetricComparison) -> str:
    task = TASKS.get(metric.task)
    return "roll" if task and task.rolls_options else "answer"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def verdict(comparison: Comparison) -> str:
    """One sentence over all metrics: how many differences are more than noise."""
    tested = [metric for metric in comparison.metrics if metric.p_holm is not None]
    beyond = sum(metric.significant for metric in tested)
    left = len(comparison.metrics) - len(tested)
    untested = f" {left} more could not be tested." if left else ""
    if not tested:
        return f"No difference could be tested, of {_counted(left, 'number')}."
    verb = "lies" if beyond == 1 else "lie"
    return f"{beyond} of {_counted(len(tested), 'difference')} {verb} beyond noise after Holm's correction.{untested}"


def making_lines(comparison: Comparison, names: tuple[str, str]) -> list[str]:
    """`making_table` in words, for runs that go by `names` on their page."""
    return [
        f"{row.label}: {row.cells[0].number} in {names[0]}, {row.cells[1].number} in {names[1]}"
        for row in making_table(comparison).rows
    ]


def p_text(p: float | None) -> str:
    """Four digits; a p-value is never shown as 0."""
    return DASH if p is None else "<0.0001" if p < 0.0001 else f"{p:.4f}"


def making_table(comparison: Comparison) -> Table:
    """In which fields of run.json the two differ."""
    return Table(
        key="made",
        title=f"Made differently. {title(comparison)}",
        corner="run.json",
        columns=tuple(Column(label=name, kind="run", text=True, wrap=True) for name in ("A", "B")),
        rows=tuple(
            Row(label=name, cells=(Cell(text=_cut(a, 60)), Cell(text=_cut(b, 60))))
            for name, a, b in comparison.made_differently
        ),
    )


def count_table(comparison: Comparison, links: Links | None = None) -> Table:
    """How many questions of each task flipped, and which way."""
    rows = []
    for task in dict.fromkeys(metric.task for metric in comparison.metrics):
        own = [flip for flip in comparison.flips if flip.task == task]
        better = sum(flip.b > flip.a for flip in own)
        headline = next(metric for metric in comparison.metrics if metric.task == task)
        counts = moved_texts(headline, better, len(own) - better)
        cells = tuple(
            Cell(text=text, link=links.filtered(task, result) if links and number else None)
            for result, number, text in zip(("gained", "lost"), (better, len(own) - better), counts, strict=True)
        )
        rows.append(Row(label=TASKS[task].title if task in TASKS else task, cells=cells))
    return Table(
        key="flips",
        title="Questions that flipped",
        corner="benchmark",
        columns=(Column(label="gained: better in B", kind="run"), Column(label="lost: worse in B", kind="run")),
        rows=tuple(rows),
        notices=(links.remark,) if links and links.remark and comparison.flips else (),
    )


def flip_table(
    comparison: Comparison,
    num_flips: int,
    questions: Callable[[str], Mapping[str, str]] | None = None,
    links: Links | None = None,
) -> Table | None:
    """The largest changes of every task, up to `num_flips` each; None where there are none to show.

    `questions` gives what was asked, by sample, for a task.
    """
    shown: list[tuple[Flip, str | None]] = []
    for task in dict.fromkeys(flip.task for flip in comparison.flips):
        own = [flip for flip in comparison.flips if flip.task == task]
        texts = questions(task) if questions and num_flips else {}
        largest = sorted(own, key=lambda flip: (-abs(flip.b - flip.a), flip.b - flip.a))[:num_flips]
        shown += [(flip, texts.get(flip.index)) for flip in largest]
    if not shown:
        return None
    columns = [Column(label=name, kind="run", text=True) for name in ("target", "read in A", "in B", "worth")]
    if questions:
        columns.append(Column(label="question", kind="run", text=True, wrap=True))
    if links:
        columns.append(Column(label="link", kind="run", text=True, wrap=True))
    return Table(
        key="flipped",
        title=f"Flipped questions, up to {num_flips} a benchmark",
        corner="question",
        columns=tuple(columns),
        rows=tuple(_flip_row(flip, text if questions else None, bool(questions), links) for flip, text in shown),
        notices=(links.remark,) if links and links.remark else (),
        as_list=True,
    )


def _flip_row(flip: Flip, question: str | None, asked: bool, links: Links | None) -> Row:
    link = links.sample(flip.task, flip.index) if links else None
    cells = [Cell(text=_cut(text, 18)) for text in (flip.target, flip.answer_a, flip.answer_b)]
    cells.append(Cell(text=f"{flip.a:g} -> {flip.b:g}"))
    if asked:
        cells.append(Cell(text=_cut(question, 76)))
    if links:
        cells.append(Cell(text=link, link=link))
    which = "gained" if flip.b > flip.a else "lost"
    return Row(label=f"{which} {flip.task} {flip.index}", cells=tuple(cells), section=flip.task)


def _cut(text: str | None, width: int = 30) -> str:
    plain = " ".join((text or DASH).split())
    return plain if len(plain) <= width else plain[: width - 1] + "…"
