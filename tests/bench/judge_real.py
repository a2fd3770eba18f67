"""`judge-calibrate` on grades that nobody here gave: MM-Vet's three published gradings, LLaVA-Bench's three reviews.

    python tests/bench/judge_real.py [--draws N]

Reads the folder of published answers (AKI_REAL_DIR, or `shared/real` beside the checkout) and prints two tables in
markdown. No people's grades are published with these answers, so the measure is the mean of the second and the third
grading; what is calibrated against it, by `--labels` drawn at random, is

- the first grading: an instrument that should need next to no correction;
- the first grading, half a step too kind at the top: a bias that is known;
- the length of the answer, brought to the range of grades: an instrument that means next to nothing.

For each: the command's table for one draw of labels, and over N draws how often the corrected interval holds the
measure's mean over all answers, which is known here.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import real_answers

from aki_eval.commands.judge_calibrate import calibration_table, read_labels
from benchmarks.calibration import Calibration, calibrate
from benchmarks.estimates import mean_by_group
from benchmarks.records import Score
from benchmarks.repeats import with_repeats
from benchmarks.tasks.llava_bench import parse_grades
from reports.render import markdown

RANGES = {"mm_vet": (0.0, 1.0), "llava_bench": (1.0, 10.0)}
NUM_LABELS = {"mm_vet": 60, "llava_bench": 20}


@dataclass(frozen=True)
class Published:
    """Of a task: the grades (N, 3) of all gradings, the lengths (N,) of the answers, indices and clusters."""

    task: str
    indices: list[str]
    grades: np.ndarray
    lengths: np.ndarray

    def scores(self, values: np.ndarray) -> list[Score]:
        given = zip(self.indices, values, strict=True)
        return [Score(index=index, protocol="kit", value=float(value), cluster=index) for index, value in given]

    def judges(self) -> Iterator[tuple[str, np.ndarray]]:
        low, high = RANGES[self.task]
        first = self.grades[:, 0]
        yield "the first grading", first
        yield "the first grading, too kind", np.minimum(high, first + 0.5 * (high - first))
        ranks = self.lengths.argsort().argsort() / (len(self.lengths) - 1)
        yield "the length of the answer", low + (high - low) * ranks

    @property
    def measure(self) -> np.ndarray:
        return self.grades[:, 1:].mean(axis=1)

    def labels(self, draw: int) -> dict[str, float]:
        chosen = np.random.default_rng(draw).choice(len(self.indices), NUM_LABELS[self.task], replace=False)
        return {self.indices[place]: float(self.measure[place]) for place in chosen}


def published(real: Path) -> list[Published]:
    """MM-Vet's grades, and those of the answers (the second number) in LLaVA-Bench's reviews."""
    vet = real_answers.read_lines(real / "mmvet_llava1.5_7b.jsonl.gz")
    wild = real_answers.read_lines(real / "llava_bench_llava1.5_7b.jsonl.gz")
    read = {
        "mm_vet": (vet, [line["grades"] for line in vet]),
        "llava_bench": (wild, [[parse_grades(review)[1] for review in line["reviews"]] for line in wild]),
    }
    return [
        Published(
            task=task,
            indices=[str(line["index"]) for line in lines],
            grades=np.array(grades, dtype=np.float64),
            lengths=np.array([len(line["prediction"]) for line in lines]),
        )
        for task, (lines, grades) in read.items()
    ]


def through_a_file(labels: Mapping[str, float], task: str) -> dict[str, float]:
    """As people give them: a file that the command reads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.jsonl"
        path.write_text("".join(json.dumps({"index": i, "grade": g}) + "\n" for i, g in labels.items()), "utf-8")
        return read_labels(path, *RANGES[task])


def held(given: Published, values: np.ndarray, draws: int) -> tuple[float, float]:
    """Shares of draws in which the corrected interval, and the judge's own, hold the measure's mean."""
    truth, scores = float(given.measure.mean()), given.scores(values)
    ours = own = 0
    with patch("benchmarks.calibration.NUM_DRAWS", 2):  # alpha's interval is not looked at here
        for draw in range(draws):
            found = calibrate(scores, given.labels(draw))
            ours += _holds(found.corrected_ci95, truth)
            own += _holds(found.judged_ci95, truth)
    return ours / draws, own / draws


def _holds(interval: tuple[float, float] | None, truth: float) -> bool:
    return interval is not None and interval[0] <= truth <= interval[1]


def spread(given: Published) -> tuple[float, float, float]:
    """Half the interval's width of one grading, of three without and with what gradings have in common (grades)."""
    parts = {f"repeat_{number}": given.grades[:, number] for number in range(3)}
    three = [
        replace(score, parts={name: float(values[place]) for name, values in parts.items()})
        for place, score in enumerate(given.scores(given.grades.mean(axis=1)))
    ]
    kinds = (
        (mean_by_group, given.scores(given.grades[:, 0])),
        (mean_by_group, three),
        (with_repeats(mean_by_group), three),
    )
    errors = [estimate(scores)["overall"].std_error for estimate, scores in kinds]
    return tuple((error or 0.0) / 100 for error in errors)  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="of labels, for the shares")
    given = parser.parse_args()
    real = real_answers.real_folder()
    if real is None:
        sys.exit(real_answers.MISSING)
    print("| task | judge | measure | alpha | judge's mean | corrected | weight | holds, corrected | holds, judge's |")
    print("|---|---|---|---|---|---|---|---|---|")
    tables = []
    for each in published(real):
        for name, values in each.judges():
            found = calibrate(each.scores(values), through_a_file(each.labels(0), each.task))
            held_by = " | ".join(f"{share:.1%}" for share in held(each, values, given.draws))
            print(f"| {each.task} | {name} | {each.measure.mean():.3f} | {_row(found)} | {held_by} |")
            tables.append(calibration_table(found, f"{each.task}: {name}"))
        print(
            f"\n{each.task}: standard error of the mean of one grading, of three, of three with what they share: "
            + ", ".join(f"{error:.4f}" for error in spread(each))
            + "\n"
        )
    print("\n".join(markdown.render(table) for table in tables))


def _row(found: Calibration) -> str:
    def number(value: float, interval: tuple[float, float] | None) -> str:
        return f"{value:.3f}" + ("" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]")

    return " | ".join(
        (
            number(found.alpha, found.alpha_ci95),
            number(found.judged, found.judged_ci95),
            number(found.corrected, found.corrected_ci95),
            f"{found.weight:.2f}",
        )
    )


if __name__ == "__main__":
    main()
