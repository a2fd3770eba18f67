"""Linear probes: what can be read off hidden states by a ridge regression onto classes (numpy, closed form).

A probe that finds something says that it is there, linearly; one that finds nothing says less. What it finds is
therefore held against controls: labels shuffled among the training questions (how much such a probe learns where there
is nothing; Hewitt and Liang 2019, arXiv 1909.03368, on why one needs such a control), and what is known without the
states at all: from the picture alone and from the words alone.

Letters: N questions, D features, C classes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]
Bools = NDArray[np.bool_]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Of the ridge, in units of N, the mean square of a standardised feature over all questions."""
FOLDS = 5
MOST_FEATURES = 2048


def classes(labels: Sequence[str]) -> tuple[list[str], Ints]:
    """The different labels in order, and each label's number, (N,)."""
    names = sorted(set(labels))
    number = {name: place for place, name in enumerate(names)}
    return names, np.array([number[label] for label in labels], dtype=np.int_)


@dataclass(frozen=True)
class _Decomposed:
    """Standardised features as U S V^T, and how to standardise others."""

    mean: Floats
    spread: Floats
    left: Floats
    values: Floats
    right: Floats

    @classmethod
    def of(cls, features: Floats) -> _Decomposed:
        mean, spread = features.mean(0), features.std(0)
        spread = np.where(
            spread > 1e-8 * max(1e-12, float(spread.max(initial=0.0))), spread, np.inf
        )  # constant: left out
        left, values, right = np.linalg.svd((features - mean) / spread, full_matrices=False)
        return cls(mean, spread, left, values, right)

    def predictions(self, labels: Ints, others: Floats, strengths: Sequence[float]) -> list[Ints]:
        """For each strength the classes of other features, (M,)."""
        num = len(labels)
        wanted = np.eye(int(labels.max()) + 1)[labels]
        offset = wanted.mean(0)
        projected = self.left.T @ (wanted - offset)
        seen = ((others - self.mean) / self.spread) @ self.right.T
        shrunk = [self.values / (self.values**2 + strength * num) for strength in strengths]
        return [np.argmax(seen @ (each[:, None] * projected) + offset, axis=1) for each in shrunk]


def probe(fit: Floats, groups: Sequence[str], test: Floats, labels: Sequence[Ints]) -> list[Ints]:
    """Classes of the test questions, (M,), for each set of labels.

    The strength of the ridge is chosen on the training questions alone, by five folds of whole groups.

    Args:
        fit: features (N, D).
        groups: of each training question; those of one group are in one fold.
        test: features (M, D).
        labels: sets of classes (N,); all are fitted on the same features.
    """
    order = {group: place % FOLDS for place, group in enumerate(dict.fromkeys(groups))}
    folds = np.array([order[group] for group in groups])
    hits = np.zeros((len(labels), len(STRENGTHS)))
    for fold in range(FOLDS):
        inside, outside = folds != fold, folds == fold
        if not inside.any() or not outside.any():
            continue
        found = _Decomposed.of(fit[inside])
        for place, own in enumerate(labels):
            predicted = found.predictions(own[inside], fit[outside], STRENGTHS)
            hits[place] += [float((each == own[outside]).sum()) for each in predicted]
    every = _Decomposed.of(fit)
    best = [STRENGTHS[len(STRENGTHS) - 1 - int(np.argmax(row[::-1]))] for row in hits]  # of equal ones the strongest
    return [every.predictions(own, test, [strength])[0] for own, strength in zip(labels, best, strict=True)]


def shuffled(labels: Ints, seed: int = 0) -> Ints:
    """The same labels on other questions."""
    return np.random.default_rng(seed).permutation(labels)


def knowing_the_picture(labels: Sequence[str], pictures: Sequence[str]) -> Floats:
    """The most that anybody reaches who sees the picture and not the question, (N,): one answer for all its questions.

    The share of the commonest label among the picture's questions. Exact, whatever the predictor: on these questions no
    function of the picture alone is right more often.
    """
    by_picture: dict[str, list[str]] = defaultdict(list)
    for label, picture in zip(labels, pictures, strict=True):
        by_picture[picture].append(label)
    most = {picture: max(Counter(own).values()) / len(own) for picture, own in by_picture.items()}
    return np.array([most[picture] for picture in pictures], dtype=np.float64)


def knowing_the_words(fit: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]]) -> Bools:
    """Who knows the question and not the picture: right or not, (M,), with the commonest label of the same words.

    `fit` and `test`: (words, label). Words that are new get the commonest label of all.
    """
    by_words: dict[str, Counter[str]] = defaultdict(Counter)
    for words, label in fit:
        by_words[words][label] += 1
    usual = Counter(label for _, label in fit).most_common(1)[0][0]
    answers = {words: counts.most_common(1)[0][0] for words, counts in by_words.items()}
    return np.array([answers.get(words, usual) == label for words, label in test], dtype=np.bool_)


def sketch(states: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., any shape) -> at most `MOST_FEATURES` numbers of it: as it is, or each added with a sign to one of so many.

    A count sketch (Charikar, Chen and Farach-Colton 2002): linear, the same for all states of a size, and in
    expectation it keeps inner products, which is all that a ridge regression looks at.
    """
    flat = states.reshape(-1)
    if len(flat) <= MOST_FEATURES:
        return flat
    places, signs = _hashes(len(flat))
    return np.bincount(places, weights=flat * signs, minlength=MOST_FEATURES).astype(np.float32)


@lru_cache(maxsize=2)
def _hashes(size: int) -> tuple[Ints, Floats]:
    rng = np.random.default_rng(size)
    return rng.integers(0, MOST_FEATURES, size), rng.choice((-1.0, 1.0), size)
