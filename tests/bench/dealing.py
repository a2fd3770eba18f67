"""How long processes wait for each other in fine-tuning: positions of a step's slowest process, by way of dealing.

    python tests/bench/dealing.py

The data sets are not at hand, so lengths are drawn: Table 4's mixture, and for each set the tokens of frame, prompt and
answer as a log-normal of our estimate; 144 image vectors come on top. The estimates make 227 positions a sample and
523 for the longest of 64; of real data 234 and 455 have been reported. The dealing is the code that trains.
"""

from __future__ import annotations

import random
from statistics import fmean

from train.data.dealing import Dealing
from train.recipe import load_recipe

STEPS = 300
NUM_LATENTS = 144
IMAGE_COST = 37.0
"""Positions, of AKI-4B (`Cost.image_cost`)."""
TEXT: dict[str, tuple[float, float, float]] = {
    "vqav2": (58, 0.08, 1.0),
    "gqa": (62, 0.10, 1.0),
    "vsr": (60, 0.08, 1.0),
    "ocrvqa": (62, 0.12, 1.0),
    "aokvqa": (88, 0.12, 1.0),
    "scienceqa": (150, 0.45, 0.48),
    "refcoco": (62, 0.08, 1.0),
    "refcocog": (68, 0.10, 1.0),
    "refcoco_plus": (62, 0.08, 1.0),
    "visual_genome": (66, 0.10, 1.0),
    "llava": (190, 0.50, 1.0),
}
"""Median tokens of chat frame, prompt and answer; sigma of their logarithm; share of samples with a picture."""


def draw(rng: random.Random) -> tuple[int, bool]:
    stage = load_recipe("mma").stages[-1]
    name = rng.choices(list(stage.data), list(stage.data.values()))[0]
    median, sigma, share = TEXT[name]
    pictured = rng.random() < share
    text = min(stage.max_length, round(median * rng.lognormvariate(0, sigma)))
    return text + (NUM_LATENTS - 1 if pictured else 0), pictured


def step_cost(dealt: list[list[int]], lengths: list[int], world_size: int) -> float:
    """Positions that the step lasts: of every slot the process with most of them, times the number of processes."""
    sizes = [len(piece) * max((lengths[index] for index in piece), default=0) for piece in dealt]
    return float(sum(max(sizes[at : at + world_size]) for at in range(0, len(sizes), world_size)) * world_size)


def main() -> None:
    stage = load_recipe("mma").stages[-1]
    rng = random.Random(0)
    steps = [[draw(rng) for _ in range(stage.batch_size)] for _ in range(STEPS)]
    for world_size, micro_batch in ((8, 8), (16, 4), (8, 4), (24, 3), (4, 8)):
        slots = -(-stage.batch_size // (world_size * micro_batch))
        ways: dict[str, Dealing] = {
            "drawn order": Dealing(world_size=world_size, slots=slots, sorts=False),
            "sorted, rows": Dealing(world_size=world_size, slots=slots, even_rows=True),
            "sorted, work": Dealing(world_size=world_size, slots=slots),
        }
        show(f"{world_size} x {micro_batch}, {slots} slots", ways, steps, world_size)


def show(title: str, ways: dict[str, Dealing], steps: list[list[tuple[int, bool]]], world_size: int) -> None:
    content = fmean(sum(length for length, _ in step) for step in steps)
    print(f"{title}: {content:,.0f} positions a step without padding")
    costs = {}
    for name, dealing in ways.items():
        found = []
        for step in steps:
            lengths = [length for length, _ in step]
            found.append(step_cost(dealing.deal(lengths, [pictured for _, pictured in step]), lengths, world_size))
        costs[name] = fmean(found)
        print(f"  {name:14s} {costs[name]:9,.0f}  {costs['drawn order'] / costs[name]:.2f}x")


if __name__ == "__main__":
    main()
