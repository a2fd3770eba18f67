"""How much cheaper option probabilities are than generating an answer, on the frozen toy model, in one run.

python tests/bench/likelihood_speed.py

Seconds of the processor, not of the clock: others may be at work on the machine. Pictures' features are known in both.
"""

from __future__ import annotations

import time
from pathlib import Path

from aki_eval.predictors.aki import AkiPredictor
from aki_eval.run.batching import ordered
from aki_eval.run.inputs import load
from benchmarks.likelihood import labels_of
from benchmarks.tasks import TASKS

MODEL = Path(__file__).parents[1] / "data" / "toy_model"
BATCH = 32


def main() -> None:
    predictor = AkiPredictor(MODEL, device="cpu")
    for name in ("pope", "seed_image"):
        (given,) = load([TASKS[name]], "toy", "aki", None)
        ways = {each.index: [way for said in labels_of(each).values() for way in said] for each in given.samples}
        prompts = ordered(given.prompts)
        batches = [prompts[start : start + BATCH] for start in range(0, len(prompts), BATCH)]
        for batch in batches:  # features, tokens and templates are known from here on
            predictor.continuation_logprobs(batch, [ways[each.index] for each in batch])
        seconds = {"generation": 0.0, "probabilities": 0.0}
        for _ in range(2):
            for batch in batches:
                start = time.process_time()
                predictor.predict(batch, given.max_new_tokens)
                seconds["generation"] += time.process_time() - start
                start = time.process_time()
                predictor.continuation_logprobs(batch, [ways[each.index] for each in batch])
                seconds["probabilities"] += time.process_time() - start
        ratio = seconds["generation"] / seconds["probabilities"]
        print(f"{name}: {len(prompts)} questions, generation costs {ratio:.2f} times as much as probabilities")


if __name__ == "__main__":
    main()
