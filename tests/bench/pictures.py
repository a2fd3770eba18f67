"""How many new pictures a second a process prepares, by one thread and by a pool: `python tests/bench/pictures.py`.

Photo-like JPEGs of 640 x 480, decoded and brought to SigLIP's 384 x 384 as a run does. Both ways take turns, and the
best of several rounds counts, which a busy machine disturbs least. Pictures come out equal, bit for bit, or it stops.

A machine that never leaves the process two cores cannot show a gain. `--asleep` shows how far the pool overlaps
anyway: each picture sleeps as long as Pillow works without Python's lock, and then, one picture at a time, as long as
it holds the lock (both as measured here by CPU time); no core is needed for that.
"""

from __future__ import annotations

import argparse
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image

from aki_eval.predictors.aki import AkiPredictor
from benchmarks.cores import cores
from benchmarks.records import ImageRef
from model.image_processing_aki import AkiImageProcessor


def photos(count: int) -> list[ImageRef]:
    """Smooth colors with noise: as large as photos are as JPEGs."""
    source = np.random.default_rng(0)
    found = []
    for number in range(count):
        small = Image.fromarray(source.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        photo = np.asarray(small.resize((640, 480), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = (photo + source.integers(-12, 13, photo.shape)).clip(0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
        found.append(ImageRef(str(number), buffer.getvalue))
    return found


WITHOUT_LOCK, WITH_LOCK = 0.0064, 0.0021
"""Seconds of CPU for one of `photos`."""


class Asleep:
    """Stands for the image processor."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self, images: ImageRef, return_tensors: str) -> dict[str, torch.Tensor]:
        time.sleep(WITHOUT_LOCK)
        with self.lock:
            time.sleep(WITH_LOCK)
        return {"pixel_values": torch.tensor([[float(images.key)]])}


class Sleeping(ImageRef):
    def decode(self) -> ImageRef:  # type: ignore[override]
        return self


class Pictures(AkiPredictor):
    """The half of the predictor that prepares pictures."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads)

    @property
    def processor(self) -> object:
        return self

    image_processor: Any = AkiImageProcessor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--asleep", action="store_true", help="Overlap alone, with 1, 2, 4, 8 and 16 threads.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    images = [Sleeping(str(number), bytes) for number in range(given.count)] if given.asleep else photos(given.count)
    counts = (1, 2, 4, 8, 16) if given.asleep else (1, given.threads)
    ways = {threads: Pictures(threads) for threads in dict.fromkeys(counts)}
    if given.asleep:
        for pictures in ways.values():
            pictures.image_processor = Asleep()
    best = dict.fromkeys(ways, float("inf"))
    made = {}
    for _ in range(given.rounds):
        for threads, pictures in ways.items():
            start = time.perf_counter()
            made[threads] = pictures._pixels(images)
            best[threads] = min(best[threads], time.perf_counter() - start)
    assert all(torch.equal(a, b) for each in made.values() for a, b in zip(made[1], each, strict=True))
    for threads, seconds in best.items():
        print(f"{threads:3} threads {given.count / seconds:8.1f} pictures a second, {best[1] / seconds:.2f} times")


if __name__ == "__main__":
    main()
