"""Option probabilities: the mask and padding of generation, calibration on answers whose truth is known."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from run_helpers import ScriptedPredictor
from scipy.stats import mannwhitneyu

from aki_eval.judges import JudgeOptions
from aki_eval.predictors.aki import AkiPredictor
from aki_eval.run.inputs import load
from aki_eval.run.likelihood import read_likelihoods
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from aki_eval.run.subset import Subset
from benchmarks.errors import UserError
from benchmarks.estimates import mean_by_group
from benchmarks.likelihood import labels_of, probabilities, rules, scorer, texts_of
from benchmarks.records import Prediction, Sample, Score
from benchmarks.results.folder import open_run
from benchmarks.results.store import RunStore
from benchmarks.tasks import TASKS

MODEL = Path(__file__).parent / "data" / "toy_model"
PAGE = (Path(__file__).parents[1] / "docs" / "run_folder.md").read_text("utf-8")


def yes_no_score(index: int, p_yes: float, is_yes: bool) -> Score:
    said = p_yes > 0.5
    return Score(
        index=str(index),
        protocol="likelihood",
        value=float(said == is_yes),
        answer="Yes" if said else "No",
        target="Yes" if is_yes else "No",
        cluster=str(index),
        parts={"confidence": max(p_yes, 1 - p_yes), "p_yes": p_yes},
    )


def drawn(count: int, seed: int, sharpen: float = 1.0) -> list[Score]:
    """Questions whose answers are yes with exactly the probability that is said, before it is sharpened."""
    random = np.random.default_rng(seed)
    truth = random.uniform(size=count)
    said = truth**sharpen / (truth**sharpen + (1 - truth) ** sharpen)
    return [
        yes_no_score(place, float(p), bool(random.uniform() < t))
        for place, (p, t) in enumerate(zip(said, truth, strict=True))
    ]


def test_calibration_of_who_knows_its_odds() -> None:
    estimate = rules(mean_by_group)["likelihood"].estimate
    honest, boasting = (estimate(drawn(4000, 1, sharpen))["calibration/ece"].metric() for sharpen in (1.0, 4.0))
    assert honest.value is not None
    assert boasting.value is not None
    assert honest.value < 3 < 10 < boasting.value
    assert boasting.ci95 is not None
    # what it is in truth: the mean over the answers of said minus true probability, with many more of them
    expected = estimate(drawn(400_000, 2, 4.0))["calibration/ece"].value
    assert expected is not None
    assert boasting.ci95[0] < expected < boasting.ci95[1]


def test_area_under_the_curve_is_mann_whitneys() -> None:
    scores = drawn(300, 3)
    scores += [yes_no_score(1000 + place, 0.5, bool(place % 2)) for place in range(20)]  # ties
    estimates = rules(mean_by_group)["likelihood"].estimate(scores)
    yes, no = ([each.parts["p_yes"] for each in scores if each.target == target] for target in ("Yes", "No"))
    expected = mannwhitneyu(yes, no).statistic / (len(yes) * len(no))
    found = estimates["yes/auc"]
    assert found.value == pytest.approx(100 * expected)
    assert found.std_error == pytest.approx(100 * delong(yes, no), rel=0.01)
    assert estimates["yes/bias"].value == pytest.approx(
        100 * (np.mean([each.parts["p_yes"] for each in scores]) - len(yes) / len(scores))
    )


def delong(yes: list[float], no: list[float]) -> float:
    """The standard error after DeLong et al. (1988), by its definition."""
    beats = np.array([[float(one > other) + 0.5 * float(one == other) for other in no] for one in yes])
    return float(np.sqrt(beats.mean(1).var(ddof=1) / len(yes) + beats.mean(0).var(ddof=1) / len(no)))


def test_what_has_no_options_or_no_probability_is_unscored() -> None:
    def sample(target: str, **choices: str) -> Sample:
        return Sample(index="0", images=(), question="?", target=target, choices=choices, cluster="0", row={})

    def scored(asked: Sample, logprobs: dict[str, float]) -> Score:
        answer = Prediction(index="0", prompt="", text="A", logprobs=logprobs)
        return scorer("likelihood")([asked], [answer], None)[0]

    assert scored(sample("a bird"), {}).reason == "no_options"
    assert scored(sample("A", A="cat", B="dog"), {}).reason == "no_probability"
    assert scored(sample("A", A="cat", B="dog"), {"A": -1.0}).reason == "option_without_probability"
    right = scored(sample("B", A="cat", B="dog"), {"A": -2.0, "B": -1.0})
    assert (right.value, right.answer) == (1.0, "B")
    assert right.parts["confidence"] == pytest.approx(1 / (1 + np.exp(-1)))
    assert sum(probabilities({"A": -900.0, "B": -901.0}).values()) == pytest.approx(1)
    assert labels_of(sample("Yes"))["No"] == ("No", "no")
    assert texts_of(sample("A", A="cat", B=" ")) == {"A": ("cat",)}


@pytest.fixture(scope="module")
def predictor() -> AkiPredictor:
    return AkiPredictor(MODEL, device="cpu", dtype="float32")


@pytest.mark.parametrize("task", ["real_world_qa", "pope", "mmmu"])
def test_batches_and_single_questions_agree(predictor: AkiPredictor, task: str) -> None:
    """Prompts of unlike lengths, several pictures and rows of several tokens: padding changes no probability."""
    (given,) = load([TASKS[task]], "toy", "aki", Subset(size=10))
    ways = [
        [way for options in (labels_of(each), texts_of(each)) for spoken in options.values() for way in spoken]
        for each in given.samples
    ]
    together = predictor.continuation_logprobs(given.prompts, ways)
    for prompt, own, found in zip(given.prompts, ways, together, strict=True):
        (alone,) = predictor.continuation_logprobs([prompt], [own])
        assert [each and each[1] for each in alone] == [each and each[1] for each in found]
        assert [each[0] for each in alone if each] == pytest.approx([each[0] for each in found if each], abs=1e-4)
        assert any(found) or not own


def test_probabilities_are_those_of_generation(predictor: AkiPredictor) -> None:
    """The most probable letter is the one that greedy generation says, wherever it says one."""
    (given,) = load([TASKS["real_world_qa"]], "toy", "aki", Subset(size=30))
    labels = [list(each.choices) for each in given.samples]
    found = predictor.continuation_logprobs(given.prompts, labels)
    said = [each.text for each in predictor.predict(given.prompts, 4)]
    pairs = [
        (text, max(zip(own, values, strict=True), key=lambda pair: pair[1][0])[0])  # type: ignore[index]
        for text, own, values in zip(said, labels, found, strict=True)
        if text in own
    ]
    assert len(pairs) > 20
    assert all(text == label for text, label in pairs)


def test_a_run_stores_them_and_scores_them_again(tmp_path: Path, predictor: AkiPredictor) -> None:
    out, tasks = tmp_path / "run", [TASKS["pope"], TASKS["real_world_qa"]]
    judge = JudgeOptions(name="none", protocols=("likelihood", "likelihood_text"))
    options = RunOptions(tasks=tasks, data="toy", out=out, subset=Subset(size=12), judge=judge, batch_size=8)
    run(options, predictor, Progress(quiet=True))
    first = open_run(out).results
    assert set(first["pope"].protocols) == {"kit", "strict", "likelihood"}
    assert {"yes/auc", "yes/bias", "calibration/ece", "f1"} <= set(first["pope"].protocols["likelihood"])
    assert {"calibration/ece", "overall"} == set(first["real_world_qa"].protocols["likelihood_text"])
    path = out / "pope" / "likelihoods.jsonl"
    lines = path.read_bytes()
    run(options, predictor, Progress(quiet=True))
    assert path.read_bytes() == lines  # nothing is asked twice
    path.write_bytes(lines[: -len(lines.splitlines()[-1]) // 2])  # killed while writing
    run(options, predictor, Progress(quiet=True))
    stored = open_run(out).path / "pope" / "likelihoods.jsonl"
    fields = re.findall(r"^\| `(\w+)` \|", PAGE.split("### likelihoods.jsonl")[1].split("###")[0], re.MULTILINE)
    assert list(json.loads(stored.read_text("utf-8").splitlines()[0])) == fields
    assert set(read_likelihoods(RunStore(out), "pope")) == {json.loads(line)["index"] for line in lines.splitlines()}
    other = RunOptions(tasks=tasks[:1], data="toy", out=tmp_path / "other", subset=Subset(size=4), judge=judge)
    with pytest.raises(UserError, match="gives no probabilities"):
        run(other, ScriptedPredictor(), Progress(quiet=True))
