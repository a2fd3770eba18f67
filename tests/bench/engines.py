"""What an engine saves where answers are of mixed length: `python tests/bench/engines.py`.

The toy checkpoint answers questions about one picture, as long as lengths drawn beforehand say (exponential, cut at a
limit), because the toy's own answers are too short. Forward passes and the rows in them are counted, and are the same
on any machine; a batch of `generate` computes its finished rows until its longest answer ends. CPU time is this
process's. Answers come out equal, token for token, or it stops.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from aki_eval.predictors.continuous import REFILL
from aki_eval.run.plan import TaskPlan, answer_steps
from model import AkiForConditionalGeneration
from model.continuous import Asked, ContinuousBatching

TOY = Path(__file__).parents[1] / "data/toy_model"


def questions(model: Any, count: int, mean: float, limit: int) -> list[Asked]:
    source = random.Random(0)
    generator = torch.Generator().manual_seed(0)
    config = model.config
    size = config.vision_config.image_size
    picture = [config.image_token_id] * config.num_latents
    found = []
    for _ in range(count):
        words = [source.randrange(20, config.text_config.vocab_size) for _ in range(source.randrange(10, 40))]
        vectors = model.get_image_features(torch.randn(1, 3, size, size, generator=generator)).pooler_output
        length = min(1 + int(source.expovariate(1 / mean)), limit)
        found.append(Asked([*picture, *words, config.question_end_token_id], vectors, length))
    return found


def by_generate(model: Any, batch: list[Asked]) -> list[list[int]]:
    """Each cut to its own length: what the others' made the batch compute behind it is waste."""
    width = max(len(each.ids) for each in batch)
    ids = torch.tensor([[0] * (width - len(each.ids)) + each.ids for each in batch])
    mask = torch.tensor([[0] * (width - len(each.ids)) + [1] * len(each.ids) for each in batch])
    vectors = torch.cat([each.vectors for each in batch if each.vectors is not None])
    output = model.generate(
        input_ids=ids,
        attention_mask=mask,
        mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=vectors)},
        max_new_tokens=max(each.max_new_tokens for each in batch),
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return [row[: each.max_new_tokens] for row, each in zip(output[:, width:].tolist(), batch, strict=True)]


def by_engine(engine: ContinuousBatching, asked: list[Asked]) -> list[list[int] | str]:
    waiting, answers = list(enumerate(asked))[::-1], dict[str, list[int] | str]()
    while waiting or engine.active:
        if engine.wants_more:
            while waiting and engine.fits(waiting[-1][1]):
                number, each = waiting.pop()
                engine.add(str(number), each)
        answers |= engine.step()
    return [answers[str(number)] for number in range(len(asked))]


def compare(model: Any, count: int, mean: float, limit: int, rows: int) -> None:
    asked = questions(model, count, mean, limit)
    batches = [asked[start : start + rows] for start in range(0, count, rows)]
    longest = [max(each.max_new_tokens for each in batch) for batch in batches]
    start = time.process_time()
    reference = [ids for batch in batches for ids in by_generate(model, batch)]
    generate_time = time.process_time() - start
    engine = ContinuousBatching(model, [], rows=rows, tokens=rows * 512, refill=max(1, rows // REFILL))
    start = time.process_time()
    found = by_engine(engine, asked)
    engine_time = time.process_time() - start
    assert found == reference, "the engine says something else"
    passes, computed = sum(longest), sum(len(batch) * most for batch, most in zip(batches, longest, strict=True))
    mean = sum(each.max_new_tokens for each in asked) / count
    print(f"{count} answers of {mean:.1f} tokens on average (up to {max(longest)}), {rows} rows, by")
    for name, steps, num_rows, seconds in (
        ("generate", passes, computed, generate_time),
        ("continuous", engine.num_steps, engine.num_rows, engine_time),
    ):
        expected = answer_steps(plan(count, mean, limit), name, rows)[1]
        print(f"  {name:10} {steps:6} passes ({expected:.0f} computed), {num_rows:7} rows, {seconds:6.1f} s")
    print(
        f"  {passes / engine.num_steps:.2f} times fewer passes, {computed / engine.num_rows:.2f} times fewer rows, "
        f"{generate_time / engine_time:.2f} times the speed"
    )


def plan(count: int, mean: float, limit: int) -> TaskPlan:
    """What decides the number of steps as `aki-eval plan` computes it: of answers alone, without those of prompts."""
    nothing = dict.fromkeys(
        ("pictures", "prompt_tokens", "longest_prompt", "judge_requests", "judge_input_tokens", "judge_output_tokens"),
        0,
    )
    return TaskPlan(task="", questions=count, answer_tokens=mean, most_answer_tokens=limit, **nothing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--limit", type=int, default=256)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = AkiForConditionalGeneration.from_pretrained(TOY, dtype=torch.float32).eval()
    with torch.inference_mode():
        for mean in (2, 8, 40):
            compare(model, given.count, mean, given.limit, given.rows)


if __name__ == "__main__":
    main()
