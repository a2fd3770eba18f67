"""A small run of the coverage simulation (the whole one is `tests/bench/interval_coverage.py`)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent / "bench" / "interval_coverage.py"
NUM_WORLDS = 400
"""The share's own standard error is then about 1.1 points."""


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("interval_coverage", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("title", ["25 pictures of 4, ICC .3", "LLaVA-Bench: 24 pictures", "CV-Bench: 120 pictures"])
def test_intervals_hold_the_truth(title: str, simulation: ModuleType) -> None:
    shape = next(shape for shape in simulation.SHAPES if shape.title == title)
    for name, (ours, naive) in simulation.coverage(shape, NUM_WORLDS, seed=1).items():
        assert 0.925 <= ours <= 0.98, name
        assert naive < ours, name


@pytest.mark.parametrize("title", ["MM-Vet, 3 judgings, luck and moods", "LLaVA-Bench, 2 judgings, luck and moods"])
def test_intervals_hold_what_judgings_have_in_common(title: str, simulation: ModuleType) -> None:
    judged = next(each for each in simulation.JUDGED if each.title == title)
    held, means_alone, width = simulation.judged_coverage(judged, 150, seed=1)
    assert 0.91 <= held <= 0.99
    assert means_alone < held
    assert width > 1.2


@pytest.mark.parametrize(
    "title", ["200 questions, 10 % better", "300 pictures of 3, 5 % better", "CV-Bench 2D: 40 pictures"]
)
def test_paired_differences_hold_the_truth(title: str, simulation: ModuleType) -> None:
    rivals = next(each for each in simulation.RIVALS if each.title == title)
    held, alarms = simulation.difference_coverage(rivals, NUM_WORLDS // 2, seed=1)
    assert 0.91 <= held <= 0.99
    if rivals.gap == 0:
        assert alarms == pytest.approx(1 - held)
