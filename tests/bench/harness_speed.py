"""How fast the harness is, as ratios measured in one run on one machine.

    python tests/bench/harness_speed.py --model runs/demo/model

Two models: the toy AKI over all toy tables, and a random AKI of about sixty million weights over a table of POPE's
shape (eighteen questions a picture). Four ways: VLMEvalKit's own inference loop (`infer_data_job`: one sample at a
time, every picture encoded anew, as its own wrapper of AKI does), ours one by one, ours in batches without the vision
cache, ours in batches with it. Loading and scoring are not counted, neither theirs nor ours.

Two runs on two shared, busy cores, one thread each: on the toy tables 6.3 and 3.8 times the kit's loop at batch 16 and
8.3 and 6.6 times with `--batch-size auto` (by CPU time; by the clock 29 and 6.4), 4.1 times on POPE's shape; 88 to 93 %
of the time inside the model at batch 16 with the toy, 99 % with the larger model. The larger model gains from the
cache, hardly from batches: on a CPU its arithmetic, not its overhead, is what takes the time.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aki_eval.run.progress import Progress

KIT_LOOP = """
import json, sys, tempfile, time
from functools import partial
from pathlib import Path
checkpoint, limit, threads, *tables = sys.argv[1:]
import torch
torch.set_num_threads(int(threads))
from aki_eval import vlmevalkit
from aki_eval.predictors.aki import AkiPredictor
with vlmevalkit.importing_the_kit():
    from vlmeval.dataset import build_dataset
    from vlmeval.inference import infer_data_job
vlmevalkit._accept_tables(tables)
predictor = AkiPredictor(Path(checkpoint), device="cpu", cache_megabytes=0)
predictor.model, predictor.processor
model = vlmevalkit._model_class()(predictor=predictor, max_new_tokens=int(limit))
seconds = cpu = rows = 0
with tempfile.TemporaryDirectory() as folder:
    for table in tables:
        dataset = build_dataset(table)
        start, cpu_start = time.perf_counter(), time.process_time()
        infer_data_job(model, work_dir=folder, model_name="model", dataset=dataset)
        seconds += time.perf_counter() - start
        cpu += time.process_time() - cpu_start
        rows += len(dataset.data)
print("RESULT", json.dumps({"seconds": seconds, "cpu": cpu, "rows": rows}))
"""


@dataclass(frozen=True)
class Measured:
    """Samples a second by the clock and by the process's own CPU time, which a busy machine disturbs less; and, for
    ours, the share of the time (by the clock) spent inside the model's own calls."""

    rate: float
    cpu_rate: float
    in_model: float | None = None


def measure_kit(checkpoint: Path, tables: Path, names: Sequence[str], limit: int, threads: int) -> Measured:
    arguments = [sys.executable, "-c", KIT_LOOP, str(checkpoint), str(limit), str(threads), *names]
    with tempfile.TemporaryDirectory() as scratch:
        for table in tables.glob("*.tsv"):
            (Path(scratch) / table.name).symlink_to(table)
        environment = os.environ | {"LMUData": scratch, "PRED_FORMAT": "tsv"}
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))[7:])
    return Measured(found["rows"] / found["seconds"], found["rows"] / found["cpu"])


class Inside:
    """Adds up the seconds of the calls it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += time.perf_counter() - start

        return timed


def measure_ours(
    checkpoint: Path, data: str, bench: str, limit: int, batch_size: int | None, cache_megabytes: int = 512
) -> Measured:
    from aki_eval.judges import JudgeOptions
    from aki_eval.predictors.aki import AkiPredictor
    from aki_eval.run.inputs import find_tasks
    from aki_eval.run.run import RunOptions, run

    predictor = AkiPredictor(checkpoint, device="cpu", cache_megabytes=cache_megabytes)
    predictor.self_test()  # loads the weights, and is not counted
    inside = Inside()
    for name in ("generate", "get_image_features"):
        setattr(predictor.model, name, inside.wrap(getattr(predictor.model, name)))
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(
            tasks=find_tasks(bench),
            data=data,
            out=Path(folder) / "run",
            prompts="vlmevalkit",
            batch_size=batch_size,
            max_new_tokens=limit,
            judge=JudgeOptions(name="none"),
        )
        clock = Clock()
        result = run(options, predictor, clock)
    return Measured(
        result.num_predicted / result.seconds, result.num_predicted / clock.cpu, inside.seconds / result.seconds
    )


class Clock(Progress):
    """The process's CPU seconds between the first prompt and the last answer."""

    def __init__(self) -> None:
        super().__init__(quiet=True)

    @contextmanager
    def predicting(self, totals: Mapping[str, int]) -> Iterator[None]:
        start = time.process_time()
        with super().predicting(totals):
            yield
        self.cpu = time.process_time() - start


def write_large_checkpoint(folder: Path) -> Path:
    """Random weights, about sixty million, in proportions like AKI-4B's: a real vision tower in front of a decoder."""
    import torch
    from transformers import Phi3Config, SiglipVisionConfig

    from model import AkiConfig, AkiForConditionalGeneration, AkiImageProcessor, AkiProcessor
    from train.toy.build import build_processor

    torch.manual_seed(0)
    tokenizer = build_processor().tokenizer
    processor = AkiProcessor(AkiImageProcessor(size=224), tokenizer, num_latents=64)
    vision = SiglipVisionConfig(
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=8,
        num_attention_heads=8,
        image_size=224,
        patch_size=16,
    )
    text = Phi3Config(
        vocab_size=len(tokenizer),
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=1024,
        original_max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        sliding_window=None,
    )
    model = AkiForConditionalGeneration(
        AkiConfig(
            vision_config=vision,
            text_config=text,
            num_latents=64,
            resampler_depth=3,
            image_token_id=processor.image_token_id,
            question_end_token_id=processor.question_end_token_id,
        )
    )
    print(f"random model: {sum(weight.numel() for weight in model.parameters()) / 1e6:.0f} million weights")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_pope(root: Path, pictures: int) -> Path:
    """POPE's shape: eighteen yes/no questions about each of some pictures."""
    import numpy as np
    from PIL import Image

    from benchmarks.toy_world import COLORS, SHAPES

    root.mkdir(parents=True)
    lines = ["index\timage\timage_path\tquestion\tanswer\tcategory"]
    questions = [f"is there a {color} {shape} in the picture?" for color in COLORS for shape in SHAPES]
    for picture in range(pictures):
        noise = np.random.default_rng(picture).integers(0, 256, (28, 28, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).resize((640, 480)).save(buffer, "PNG")
        image = base64.b64encode(buffer.getvalue()).decode()
        for number, question in enumerate(questions):
            answer, category = ("Yes", "No")[number % 2], ("random", "popular", "adversarial")[number % 3]
            row = (
                18 * picture + number,
                image,
                f"{picture}.png",
                f"{question} Please answer yes or no.",
                answer,
                category,
            )
            lines.append("\t".join(map(str, row)))
    (root / "POPE.tsv").write_text("\n".join(lines) + "\n")
    return root


def report(title: str, rows: dict[str, Measured]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for heading in (
        "",
        "samples/s",
        "times the kit",
        "by CPU time",
        "times one by one",
        "by CPU time",
        "time in the model",
    ):
        table.add_column(heading, justify="left" if heading == "" else "right")
    kit, single = rows["VLMEvalKit's loop"], rows["ours, one by one"]
    for name, measured in rows.items():
        ratios = [
            ratio for base in (kit, single) for ratio in (measured.rate / base.rate, measured.cpu_rate / base.cpu_rate)
        ]
        share = f"{measured.in_model:.1%}" if measured.in_model is not None else ""
        table.add_row(name, f"{measured.rate:.1f}", *(f"{ratio:.1f}" for ratio in ratios), share)
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a toy AKI, such as runs/demo/model")
    parser.add_argument("--pictures", type=int, default=16, help="of the POPE-shaped table")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for theirs and ours")
    parser.add_argument("--only", choices=["toy", "large"])
    given = parser.parse_args()
    import torch

    from benchmarks.tasks import TASKS
    from benchmarks.toy_world import ensure_tables

    torch.set_num_threads(given.threads)
    if given.only != "large":
        names = [table.name for task in TASKS.values() for table in task.tables]
        toy = {"VLMEvalKit's loop": measure_kit(given.model, ensure_tables(), names, 64, given.threads)}
        toy["ours, one by one"] = measure_ours(given.model, "toy", "all", 64, 1)
        toy["ours, batch 16, no cache"] = measure_ours(given.model, "toy", "all", 64, 16, 0)
        toy["ours, batch 16"] = measure_ours(given.model, "toy", "all", 64, 16)
        toy["ours, batch auto"] = measure_ours(given.model, "toy", "all", 64, None)
        report("toy model, all toy tables", toy)
    if given.only != "toy":
        with tempfile.TemporaryDirectory() as scratch:
            checkpoint = write_large_checkpoint(Path(scratch) / "model")
            tables = write_pope(Path(scratch) / "tables", given.pictures)
            large = {"VLMEvalKit's loop": measure_kit(checkpoint, tables, ["POPE"], 2, given.threads)}
            large["ours, one by one"] = measure_ours(checkpoint, str(tables), "pope", 2, 1)
            large["ours, batch 16, no cache"] = measure_ours(checkpoint, str(tables), "pope", 2, 16, 0)
            large["ours, batch 16"] = measure_ours(checkpoint, str(tables), "pope", 2, 16)
            report("random model of sixty million weights, POPE's shape", large)


if __name__ == "__main__":
    main()
