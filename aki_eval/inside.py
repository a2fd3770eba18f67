"""What image tokens know of the question, layer by layer, over a data set: probes, attention, change by the question.

A causal model that reads the picture first cannot know at the picture what will be asked: its states are the same for
every question about it, so no probe on them does better than knowing the picture alone. That is arithmetic, and the
check of the instrument. What lies above is what the mask lets through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.asked_about import AskedAbout, checksum
from benchmarks.errors import UserError
from benchmarks.linear_probe import classes, knowing_the_words, probe, shuffled, sketch
from benchmarks.records import Prompt
from benchmarks.results.inside import InsideRecord, ProbedProperty

from .attention_maps import LayerPass, layer_pass, refuse_slow_tokenizer
from .predictors.aki import AkiPredictor


class Gathered(NamedTuple):
    """Of N questions. features: (N, D) of each of the layers and of what comes into the first."""

    features: list[NDArray[np.float32]]
    passes: list[LayerPass]
    """Without their states."""
    change: list[list[float | None]]
    """By layer from 1 on: of each question, None for a picture's only one."""


def look_inside(
    predictor: AkiPredictor, questions: Sequence[AskedAbout], data: str, tell: Callable[[int], None] = lambda done: None
) -> InsideRecord:
    """Passes over all questions, then a probe for every layer and property.

    Args:
        predictor: the checkpoint.
        questions: those about one picture stand together.
        data: what they are called in the record.
        tell: takes the number of questions that are done.

    Raises:
        UserError: the checkpoint's tokenizer cannot say which characters a token came from, or a picture is none.
    """
    refuse_slow_tokenizer(predictor)
    gathered = gather(predictor, questions, tell)
    fit = [place for place, each in enumerate(questions) if each.side == "fit"]
    test = [place for place, each in enumerate(questions) if each.side == "test"]
    tested = [gathered.passes[place] for place in test]
    kinds = list(predictor.model.config.layer_kinds)
    return InsideRecord(
        format=1,
        model={"name": predictor.name, **predictor.describe()},
        data=data,
        data_sha256=checksum(questions),
        num_fitted=len(fit),
        layers=kinds,
        pictures=[questions[place].image.key for place in test],
        properties=list(probed(gathered.features, questions, fit, test)),
        image_to_question=[[each.image_to_question[layer] for each in tested] for layer in range(len(kinds))],
        image_to_image=[[each.image_to_image[layer] for each in tested] for layer in range(len(kinds))],
        change=[[row[place] for place in test] for row in gathered.change],
    )


def gather(predictor: AkiPredictor, questions: Sequence[AskedAbout], tell: Callable[[int], None]) -> Gathered:
    """One pass a question."""
    rows: list[list[NDArray[np.float32]]] = []
    passes: list[LayerPass] = []
    moved: list[list[float | None]] = []
    before: tuple[str, int, list[NDArray[np.float32]]] | None = None
    for place, each in enumerate(questions):
        try:
            seen = layer_pass(predictor, Prompt(each.index, (each.image, each.prompt)), each.question)
        except (OSError, ValueError) as error:
            raise UserError(f"{each.image.key}: cannot be read as a picture ({error})") from error
        if before is not None and before[0] == each.image.key:
            changes = [_change(now, then) for now, then in zip(seen.states[1:], before[2][1:], strict=True)]
            moved.append(list(changes))
            if all(value is None for value in moved[before[1]]):  # the picture's first question has none before it
                moved[before[1]] = [
                    _change(then, now) for now, then in zip(seen.states[1:], before[2][1:], strict=True)
                ]
        else:
            moved.append([None] * (len(seen.states) - 1))
        rows.append([sketch(states) for states in seen.states])
        passes.append(seen._replace(states=[]))
        before = (each.image.key, place, seen.states)
        tell(place + 1)
    features = [np.stack([row[layer] for row in rows]) for layer in range(len(rows[0]))]
    return Gathered(features, passes, [list(layer) for layer in zip(*moved, strict=True)])


def _change(states: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """How far the tokens (N, T) lie from the others, relative to their length, on average."""
    return float((np.linalg.norm(states - others, axis=-1) / np.linalg.norm(states, axis=-1)).mean())


def probed(
    features: Sequence[NDArray[Any]], questions: Sequence[AskedAbout], fit: Sequence[int], test: Sequence[int]
) -> list[ProbedProperty]:
    """A probe for every property and layer, and its controls.

    Raises:
        UserError: a property has one value only.
    """
    names = list(questions[0].asked)
    labels = {name: [each.asked[name] for each in questions] for name in names}
    numbers = {name: classes(own) for name, own in labels.items()}
    for name, (values, _) in numbers.items():
        if len(values) < 2:
            raise UserError(f"asked.{name} is {values[0]!r} everywhere: there is nothing to tell apart")
    truths = {name: numbers[name][1] for name in names}
    sets = [own[fit] for own in truths.values()]
    sets += [shuffled(own) for own in sets]
    groups = [questions[place].image.key for place in fit]
    right: dict[str, list[list[int]]] = {name: [] for name in names}
    control: dict[str, list[list[int]]] = {name: [] for name in names}
    for layer in features:
        found = probe(layer[fit].astype(np.float64), groups, layer[test].astype(np.float64), sets)
        for place, name in enumerate(names):
            for own, target in ((found[place], right), (found[place + len(names)], control)):
                target[name].append([int(same) for same in own == truths[name][test]])
    words = [each.question for each in questions]
    return [
        ProbedProperty(
            name=name,
            num_classes=len(numbers[name][0]),
            labels=[labels[name][place] for place in test],
            right=right[name],
            shuffled=control[name],
            words_alone=[
                int(same)
                for same in knowing_the_words(
                    [(words[place], labels[name][place]) for place in fit],
                    [(words[place], labels[name][place]) for place in test],
                )
            ],
        )
        for name in names
    ]
