"""Subsets: nested, stratified, whole clusters."""

from __future__ import annotations

from collections import Counter

import pytest

from aki_eval.run.subset import CI_SIZE, Subset, choose, from_record, parse
from benchmarks.data.load import load_samples
from benchmarks.errors import UserError
from benchmarks.records import Sample
from benchmarks.tasks import TASKS
from benchmarks.toy_world import ensure_tables


def sample(number: int) -> Sample:
    """18 questions a picture; two pictures in three are of kind a."""
    picture = number // 18
    return Sample(
        index=str(number),
        images=(),
        question="?",
        target="Yes",
        groups=(f"kind/{'aab'[picture % 3]}",),
        cluster=f"picture {picture}",
        row={},
    )


SAMPLES = [sample(number) for number in range(18 * 60)]


def chosen(size: int) -> list[str]:
    return [one.index for one in choose("pope", SAMPLES, Subset(size=size))]


def test_smaller_lies_within_larger() -> None:
    sizes = [1, 50, 100, 400, 1080]
    subsets = [set(chosen(size)) for size in sizes]
    for size, smaller, larger in zip(sizes, subsets, subsets[1:], strict=False):
        assert smaller < larger
        assert size <= len(smaller) < size + 18


def test_clusters_are_never_cut() -> None:
    pictures = Counter(int(index) // 18 for index in chosen(100))
    assert set(pictures.values()) == {18}


def test_each_subtask_keeps_its_share() -> None:
    kinds = Counter("aab"[int(index) // 18 % 3] for index in chosen(18 * 30))
    assert kinds == {"a": 18 * 20, "b": 18 * 10}


def test_order_is_the_tables_and_the_same_for_everybody() -> None:
    indices = [int(index) for index in chosen(100)]
    assert indices == sorted(indices)
    assert chosen(36) == [str(number) for picture in (1, 26) for number in range(18 * picture, 18 * picture + 18)]


def test_the_seed_matters() -> None:
    other = [one.index for one in choose("pope", SAMPLES, Subset(size=100, seed=1))]
    assert other != chosen(100)


@pytest.mark.parametrize("text", ["0", "-3", "half", "1.5"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--subset"):
        parse(text)


def test_the_record_brings_the_subset_back() -> None:
    for text in (None, "ci", "50"):
        subset = parse(text)
        assert from_record(subset.record() if subset else None) == subset


def test_the_committed_list_is_that_of_the_toy_world() -> None:
    """When this fails the toy world has changed: `python -m aki_eval.run.subset` makes the list anew."""
    root = ensure_tables()
    for name, task in TASKS.items():
        samples = load_samples(task, root)
        committed = choose(name, samples, Subset(size=None, name="ci"))
        assert committed == choose(name, samples, Subset(size=CI_SIZE))
        assert CI_SIZE <= len(committed) <= 2 * CI_SIZE


def test_a_committed_list_that_does_not_fit_is_explained() -> None:
    with pytest.raises(UserError, match="--data toy"):
        choose("mme", SAMPLES[:1], Subset(size=None, name="ci"))
