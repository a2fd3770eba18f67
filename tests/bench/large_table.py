"""Time and peak memory of a table of SEED-Bench's size: `python tests/bench/large_table.py [--rows N] [--folder DIR]`.

Writes a table of pictures of about 70 KB, reads it in a fresh process, builds every prompt and decodes every picture
once; then once more, with the Arrow file already there. Goal: a peak below 1.5 GB for 15,000 rows.
"""

from __future__ import annotations

import argparse
import base64
import csv
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

READ = """
import resource, sys, time
from pathlib import Path
from benchmarks.data.load import checksum, load_samples
from benchmarks.tasks import TASKS
task, started = TASKS["seed_image"], time.perf_counter()
samples = load_samples(task, Path(sys.argv[1]))
checksum(task, Path(sys.argv[1]))
loaded = time.perf_counter() - started
prompts = [task.prompts["aki"](sample) for sample in samples]
pixels = sum(prompt.images[0].decode().convert("RGB").width for prompt in prompts)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
anonymous = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) / 1024
print(f"{len(samples)} samples: {loaded:.1f} s to load, {time.perf_counter() - started:.1f} s in all, "
      f"peak {peak:.0f} MB (of which at the end not mapped from the file: {anonymous:.0f} MB)")
"""


def jpeg(seed: int) -> bytes:
    """A noisy picture of about 70 KB."""
    import io

    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=85)
    return file.getvalue()


def write_table(path: Path, num_rows: int) -> None:
    pictures = [jpeg(seed) for seed in range(50)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["index", "image", "question", "A", "B", "C", "D", "answer", "category"])
        for index in range(num_rows):
            # A comment behind the picture's end makes every picture another content.
            image = base64.b64encode(pictures[index % 50] + random.Random(index).randbytes(16)).decode()
            writer.writerow(
                [index, image, f"What is in picture {index}?", "a", "b", "c", "d", "A", f"Dimension {index % 9}"]
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=15_000)
    parser.add_argument("--folder", type=Path, help="where to put the table; a temporary folder without")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        table = Path(scratch) / "SEEDBench_IMG.tsv"
        write_table(table, given.rows)
        print(f"{table.stat().st_size / 2**20:.0f} MB")
        environment = os.environ | {"XDG_CACHE_HOME": scratch}
        for _ in range(2):
            subprocess.run([sys.executable, "-c", READ, scratch], check=True, env=environment)


if __name__ == "__main__":
    main()
