"""Decoding steps that a run's batches take, by how they are made: `python tests/bench/decoding_steps.py`.

A batch takes as many steps as its longest answer has tokens. Counted over the questions of the toy world or of a folder
of tables (`--data`), in the order of a run and in the order of the lengths of prompts alone. How long answers are is
assumed: to a question with options 4 tokens, to one without 40 on average, exponentially distributed, cut at the limit.
"""

from __future__ import annotations

import argparse
import random

from aki_eval.run.batching import ordered
from aki_eval.run.inputs import find_tasks, load
from benchmarks.records import Prompt

WITH_OPTIONS, WITHOUT = 4, 40


def steps(prompts: list[Prompt], lengths: dict[str, int], size: int) -> int:
    batches = [prompts[start : start + size] for start in range(0, len(prompts), size)]
    return sum(max(lengths[prompt.index] for prompt in batch) for batch in batches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="toy")
    parser.add_argument("--bench", default="mmmu,mathvista")
    parser.add_argument("--sizes", default="16,64")
    given = parser.parse_args()
    for each in load(find_tasks(given.bench), given.data, "aki", None):
        source = random.Random(0)
        lengths = {
            sample.index: WITH_OPTIONS
            if sample.choices
            else min(1 + int(source.expovariate(1 / WITHOUT)), each.max_new_tokens)
            for sample in each.samples
        }
        share = len(each.open_ended) / len(each.samples)
        for size in map(int, given.sizes.split(",")):
            before = steps(ordered(each.prompts), lengths, size)
            now = steps(ordered(each.prompts, each.open_ended), lengths, size)
            print(
                f"{each.task.name}, {len(lengths)} questions, {share:.0%} without options, batches of {size}: "
                f"{before} steps by prompts alone, {now} now, {before / now:.2f} times fewer"
            )


if __name__ == "__main__":
    main()
