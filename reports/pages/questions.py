"""The questions behind stored scores, read again from the run's tables for the sample browser."""

from __future__ import annotations

from benchmarks.data.load import checksum, load_samples
from benchmarks.data.root import data_root
from benchmarks.errors import UserError
from benchmarks.records import Sample
from benchmarks.results.folder import RunFolder


def questions(run: RunFolder, task: str) -> tuple[dict[str, Sample], str | None]:
    """Samples by index, or none with the reason: the tables moved, changed, or are not on this machine."""
    data = run.results[task].data
    try:
        root = data_root(str(data.get("source", "")))
        about = run.results[task].about
        found = checksum(about, root)
        for name, table in data.get("tables", {}).items():
            if found.get(name, {}).get("sha256") != table.get("sha256"):
                return {}, f"Questions and pictures are not shown: table {name} is not the one the run was made with."
        return {sample.index: sample for sample in load_samples(about, root)}, None
    except (UserError, OSError) as error:
        return {}, f"Questions and pictures are not shown: {error}"
