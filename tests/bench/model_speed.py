"""What AKI's own parts cost: the masks against the library's overlay, and `generate` against the bare text backbone.

    python tests/bench/model_speed.py

Medians, on one thread. A tiny model: all that is measured is overhead, which does not grow with the weights.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM
from transformers.masking_utils import sdpa_mask

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from model_helpers import IMAGE, QUESTION_END, batch, model, pixels

from model import attention

SIZES = ((64, 60, 4), (16, 256, 144), (8, 700, 144))
"""(rows of the batch, tokens, latents)."""


def milliseconds(work: Callable[[], object], repeats: int = 15) -> float:
    """Median, after one run to warm up."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def masks() -> None:
    print("mask of a prompt, ms        " + "".join(f"{kind:>10}" for kind in ("causal", "mma", "cca", "overlay")))
    for rows, length, latents in SIZES:
        ids = [1, *[IMAGE] * latents, *[5] * (length - latents - 10), QUESTION_END, *[6] * 8]
        types = attention.token_types(torch.tensor([ids] * rows), IMAGE, QUESTION_END)
        padding = torch.ones_like(types)

        def ours(kind: str, types=types, padding=padding, latents=latents) -> object:
            mask = attention.build_mask(kind, types, num_latents=latents, padding=padding)
            return attention.to_additive(mask, torch.float32)

        def overlay(types=types, padding=padding, latents=latents) -> object:
            parts = attention.layout(types, latents)
            function = attention.mask_function("mma", parts, parts)
            rows, length = types.shape
            settings = {"attention_mask": padding.bool(), "use_vmap": True, "allow_is_causal_skip": False}
            return sdpa_mask(rows, length, length, mask_function=function, **settings)

        times = [milliseconds(lambda kind=kind: ours(kind)) for kind in ("causal", "mma", "cca")]
        line = "".join(f"{value:10.2f}" for value in [*times, milliseconds(overlay)])
        print(f"{rows:4d} x {length:4d} tokens          {line}")


def decoding(num_tokens: int = 64) -> None:
    made, inputs = model(), batch()
    plain = AutoModelForCausalLM.from_config(made.config.text_config).eval()
    plain.generation_config.eos_token_id = None
    settings = {"max_new_tokens": num_tokens, "do_sample": False, "pad_token_id": 0}
    aki = milliseconds(lambda: made.generate(**inputs, pixel_values=pixels(), **settings), 7)
    bare = milliseconds(lambda: plain.generate(**inputs, **settings), 7)
    print(f"generate, ms a token: AKI {aki / num_tokens:.2f}, bare text backbone {bare / num_tokens:.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    masks()
    decoding()
