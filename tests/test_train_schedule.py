"""The learning rate, number by number."""

from __future__ import annotations

import itertools
import math

import pytest

from train.schedule import CosineSchedule

SFT = CosineSchedule(peak=2e-5, minimum=1e-6, warmup_steps=150, horizon=5000)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 1e-6),  # the warm-up starts at the minimum, not at zero
        (75, 1e-6 + 1.9e-5 / 2),
        (150, 2e-5),
        (150 + 4850 // 2, 1e-6 + 1.9e-5 / 2),
        (5000, 1e-6),
        (5002, 1e-6),  # the original's last two steps turned up again
    ],
)
def test_values(step: int, rate: float) -> None:
    assert SFT(step) == pytest.approx(rate, rel=1e-9)


def test_quarter_of_the_cosine() -> None:
    schedule = CosineSchedule(peak=1e-4, minimum=1e-5, warmup_steps=2000, horizon=50_000)
    assert schedule(14_000) == pytest.approx(1e-5 + 9e-5 * (1 + math.cos(math.pi / 4)) / 2)


def test_falls_after_the_warm_up() -> None:
    rates = [SFT(step) for step in range(150, 5001)]
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))


def test_longer_horizon_leaves_the_rate_high() -> None:
    """The original's configuration: a cosine of 50,000 steps that is left after 5,000."""
    long = CosineSchedule(peak=2e-5, minimum=1e-6, warmup_steps=150, horizon=50_000)
    assert long(5000) == pytest.approx(1.96e-5, rel=5e-3)


@pytest.mark.parametrize(("horizon", "after"), [(10, 1e-5), (11, 1e-5), (12, 5.5e-5)])
def test_a_stage_that_ends_with_its_warm_up(horizon: int, after: float) -> None:
    """Peak at the end of the warm-up, whatever is left of the stage; a step later the minimum, or half way to it."""
    schedule = CosineSchedule(peak=1e-4, minimum=1e-5, warmup_steps=10, horizon=horizon)
    assert schedule(10) == pytest.approx(1e-4)
    assert schedule(11) == pytest.approx(after)
