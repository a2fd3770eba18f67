"""Part of a benchmark, chosen so that it still means something.

A subset never cuts a cluster (a picture's questions, the rolls of a circular question, an MME pair), holds every
sub-score in its share, is the same for everybody with the same seed, and is nested: the 50 are among the 100.

`ci` is a list of toy samples under version control (`subset_ci.json`), for regression in CI; when the toy world
changes, `python -m aki_eval.run.subset` makes it anew.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.errors import UserError
from benchmarks.records import Sample
from benchmarks.results.record import SubsetRecord

SEED = 2503
"""Of the order in which clusters are taken; the paper's number in arXiv is 2503.02597."""

CI = "ci"
CI_SIZE = 48
"""Samples a task: one GO/NO-GO in seconds, each sub-score touched."""


@dataclass(frozen=True)
class Subset:
    """`size` samples a task at least (whole clusters), or the committed list `ci`."""

    size: int | None
    name: str | None = None
    seed: int = SEED

    def record(self) -> SubsetRecord:
        """For run.json and metrics.json."""
        return SubsetRecord(**asdict(self))


def parse(text: str | None) -> Subset | None:
    """`None`, `ci` or a positive number.

    Raises:
        UserError: it is something else.
    """
    if text is None:
        return None
    if text == CI:
        return Subset(size=None, name=CI)
    if not text.isdecimal() or int(text) == 0:
        raise UserError(f"--subset: {text!r} is neither a positive number of samples nor {CI!r}")
    return Subset(size=int(text))


def from_record(record: SubsetRecord | None) -> Subset | None:
    return Subset(**record.model_dump()) if record else None


def choose(task: str, samples: Sequence[Sample], subset: Subset) -> list[Sample]:
    """The samples of the subset, in the table's order.

    A task that the committed list does not name has as many of its own, the first ones of the usual order.

    Raises:
        UserError: a committed list names samples that the table does not have.
    """
    wanted = _committed(task) if subset.size is None else None
    if wanted is not None:
        missing = wanted - {sample.index for sample in samples}
        if missing:
            raise UserError(
                f"--subset {subset.name}: {len(missing)} of {len(wanted)} samples listed for {task} are not in "
                f"its table (such as {min(missing)!r}); the list was made for the toy tables: --data toy"
            )
        return [sample for sample in samples if sample.index in wanted]
    taken = _first_clusters(samples, subset.size or CI_SIZE, subset.seed)
    return [sample for sample in samples if sample.cluster in taken]


def _committed(task: str) -> set[str] | None:
    lists: dict[str, list[str]] = json.loads(Path(__file__).with_name("subset_ci.json").read_text("utf-8"))
    return set(lists[task]) if task in lists else None


def _first_clusters(samples: Sequence[Sample], size: int, seed: int) -> set[str]:
    """Clusters in the order of taking, until `size` samples are reached."""
    sizes = Counter(sample.cluster for sample in samples)
    taken: set[str] = set()
    count = 0
    for cluster in _taking_order(samples, seed):
        if count >= size:
            break
        taken.add(cluster)
        count += sizes[cluster]
    return taken


def _taking_order(samples: Sequence[Sample], seed: int) -> list[str]:
    """All clusters, so that every prefix has each stratum in its share of the whole, as nearly as whole clusters allow.

    Within a stratum clusters come in the order of a seeded hash. The k-th of a stratum's n stands at (k + 1/2) / n;
    sorting all by that number deals the strata out evenly, and the order does not depend on how many are wanted:
    subsets are nested.
    """
    strata: dict[tuple[str, ...], list[str]] = {}
    groups: dict[str, set[str]] = {}
    for sample in samples:
        groups.setdefault(sample.cluster, set()).update(sample.groups)
    for cluster, names in groups.items():
        strata.setdefault(tuple(sorted(names)), []).append(cluster)
    placed = []
    for clusters in strata.values():
        shuffled = sorted(clusters, key=lambda cluster: _hash(cluster, seed))
        placed += [((k + 0.5) / len(shuffled), _hash(cluster, seed), cluster) for k, cluster in enumerate(shuffled)]
    return [cluster for _, _, cluster in sorted(placed)]


def _hash(cluster: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{cluster}".encode()).hexdigest()


def write_ci_list() -> None:
    """Chooses the samples of `ci` from the toy world and writes them down."""
    from benchmarks.data.load import load_samples
    from benchmarks.tasks import TASKS
    from benchmarks.toy_world import ensure_tables

    root = ensure_tables()
    chosen = {name: choose(name, load_samples(task, root), Subset(size=CI_SIZE)) for name, task in TASKS.items()}
    lists = {name: [sample.index for sample in samples] for name, samples in chosen.items()}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(indices)}" for name, indices in lists.items())
    Path(__file__).with_name("subset_ci.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    write_ci_list()
