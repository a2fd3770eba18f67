"""Tables 7 to 10, 12 and 15: parts against totals, and whether a cell can be printed at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .. import paper
from ..paper import PaperLine, PaperValue
from .arithmetic import APPENDIX, Finding, attainable, main_cell, near, printed, weighted


def mme_sums() -> Iterator[Finding]:
    """Subtasks add to perception and cognition, within the rounding of the parts."""
    for model in APPENDIX:
        values = printed("7", model)
        for group in ("perception", "cognition"):
            parts = [value for metric, value in values.items() if metric.startswith(f"{group}/")]
            head = main_cell(model, "mme", group)
            if head:
                yield Finding(
                    head.table,
                    model,
                    f"MME {group}: sum of {len(parts)} subtasks",
                    head.printed,
                    f"{sum(parts):.1f}",
                    near(sum(parts), float(head.printed), 0.05 * (len(parts) + 1)),
                )


def mmbench_weights() -> Iterator[Finding]:
    """Six abilities weighted by the sizes of the public development set. A lone 0.65 is read as 65."""
    for model in APPENDIX:
        values = {name: value * 100 if value < 1 else value for name, value in printed("8", model).items()}
        yield _weighted("8", model, "six abilities weighted by size", values, 0.1)


def seed_weights() -> Iterator[Finding]:
    """Nine dimensions weighted by their sizes."""
    for model in APPENDIX:
        yield _weighted("9", model, "nine dimensions weighted by size", printed("9", model), 0.1)


def llava_weights() -> Iterator[Finding]:
    """Three kinds weighted by size: the judge's reference scores differ by kind, so a total within 0.6 agrees."""
    for model in APPENDIX:
        yield _weighted("10", model, "three kinds weighted by size", printed("10", model), 0.6)


def _weighted(table: str, model: str, check: str, values: dict[str, float], tolerance: float) -> Finding:
    total = paper.by_metric(table, model)[paper.entries(table)[0].task, "overall"]
    mean = weighted(table, values)
    verdict = near(mean, float(total.printed), tolerance)
    return Finding(table, model, check, total.printed, f"{mean:.2f}", verdict)


def mathvista_tasks() -> Iterator[Finding]:
    """The five tasks partition the 1,000 questions: their right answers add to the total."""
    for model in APPENDIX:
        cells = paper.by_metric("12", model)
        tasks = [entry for entry in paper.entries("12") if entry.metric.startswith("task/")]
        right = sum(_right_answers(cells["mathvista", entry.metric].printed, entry) for entry in tasks)
        total = cells["mathvista", "overall"].printed
        check, verdict = "five tasks added", near(right / 10, float(total), 0.05)
        text = f"{right} of 1000 = {right / 10:.1f}"
        yield Finding("12", model, check, total, text, verdict)


def _right_answers(text: str, entry: PaperLine) -> int:
    return round(float(text) * (entry.num_questions or 0) / 100)


def cv_bench_means() -> Iterator[Finding]:
    """2D is the mean of ADE20K and COCO, 3D is Omni3D."""
    for model in APPENDIX:
        values = printed("15", model)
        mean = (values["ade20k"] + values["coco"]) / 2
        for name, recomputed in (("2d", mean), ("3d", values["omni3d"])):
            verdict = near(recomputed, values[name], 0.1)
            check = "2D: mean of ADE20K and COCO" if name == "2d" else "3D: Omni3D"
            yield Finding("15", model, check, f"{values[name]}", f"{recomputed:.2f}", verdict)


def attainable_cells() -> Iterator[Finding]:
    """Cells that no whole number of right answers prints as, on the public question counts."""
    for number in ("8", "9", "12"):
        for model in APPENDIX:
            yield from _unattainable(number, model, paper.entries(number))
    for model in (*(each.model for each in paper.models("1")), "aki_4b"):
        cell = main_cell(model, "real_world_qa", "overall")
        if cell and not attainable(cell.printed, 765):
            yield _no_count(cell, "RealWorldQA", 765)


def _unattainable(number: str, model: str, entries: Sequence[PaperLine]) -> Iterator[Finding]:
    cells = paper.by_metric(number, model)
    for entry in entries:
        cell = cells[entry.task, entry.metric]
        if entry.num_questions and float(cell.printed) >= 1 and not attainable(cell.printed, entry.num_questions):
            yield _no_count(cell, entry.label, entry.num_questions)


def _no_count(cell: PaperValue, label: str, questions: int) -> Finding:
    below = int(float(cell.printed) * questions / 100)
    around = " or ".join(f"{100 * right / questions:.2f}" for right in (below, below + 1))
    check = f"{label}: a count of {questions} questions"
    return Finding(cell.table, cell.model, check, cell.printed, around, "unattainable")
