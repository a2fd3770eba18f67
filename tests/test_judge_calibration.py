"""Judges of known bias: the corrected interval covers the people's mean, the judge's own does not."""

from __future__ import annotations

import json
import runpy
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import real_answers
from run_helpers import ScriptedPredictor

from aki_eval.commands.judge_calibrate import command, read_labels
from aki_eval.judges import JudgeOptions
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from benchmarks.calibration import calibrate, krippendorff
from benchmarks.errors import UserError
from benchmarks.records import Score
from benchmarks.results.folder import open_run
from benchmarks.tasks import TASKS


def world(seed: int, bias: float = 0.15, noise: float = 0.15, per_cluster: int = 1) -> tuple[list[Score], np.ndarray]:
    """A judge's grades of 218 answers, and people's; the judge is `bias` too kind, less so in group b."""
    random = np.random.default_rng(seed)
    people = random.beta(1.2, 1.2, 218)
    if per_cluster > 1:
        people = np.clip(people + random.normal(0, 0.2, 218 // per_cluster + 1)[np.arange(218) // per_cluster], 0, 1)
    kind = np.where(np.arange(218) % 2, bias, bias / 3)
    judge = people + kind + random.normal(0, noise, 218)
    scores = [
        Score(
            index=str(place),
            protocol="kit",
            value=float(grade),
            groups=(f"capability/{'ab'[1 - place % 2]}",),
            cluster=str(place // per_cluster),
        )
        for place, grade in enumerate(judge)
    ]
    return scores, people


@pytest.mark.parametrize("per_cluster", [1, 3])
def test_the_corrected_interval_covers(per_cluster: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.calibration.NUM_DRAWS", 2)
    truth = np.mean([world(seed, per_cluster=per_cluster)[1].mean() for seed in range(1000, 1300)])
    covered, by_judge, widths = 0, 0, []
    for seed in range(200):
        scores, people = world(seed, per_cluster=per_cluster)
        chosen = np.random.default_rng(seed + 7).choice(218, 60, replace=False)
        found = calibrate(scores, {str(place): float(people[place]) for place in chosen})
        assert found.corrected_ci95 is not None
        assert found.judged_ci95 is not None
        covered += found.corrected_ci95[0] <= truth <= found.corrected_ci95[1]
        by_judge += found.judged_ci95[0] <= truth <= found.judged_ci95[1]
        alone = 2 * 1.96 * people[chosen].std(ddof=1) / 60**0.5
        widths.append((found.corrected_ci95[1] - found.corrected_ci95[0]) / alone)
    assert 180 <= covered <= 199  # 95 % of 200, give or take
    assert by_judge < 60
    if per_cluster == 1:
        assert np.mean(widths) < 0.85  # and the judge helps: labels alone say less


@pytest.mark.parametrize(
    ("seed", "mean", "low", "high"),
    [(0, 0.46576, 0.41648, 0.51504), (1, 0.48449, 0.44137, 0.52761), (2, 0.52673, 0.47762, 0.57583)],
)
def test_it_is_what_ppi_python_says(seed: int, mean: float, low: float, high: float) -> None:
    """ppi-python 0.2.3 on the same grades; its interval is the normal law's, ours Student's, and a little wider."""
    scores, people = world(seed)
    chosen = np.random.default_rng(seed).choice(218, 60, replace=False)
    found = calibrate(scores, {str(place): float(people[place]) for place in chosen})
    assert found.corrected == pytest.approx(mean, abs=0.0005)
    assert found.corrected_ci95 == pytest.approx((low, high), abs=0.002)
    assert found.corrected_ci95 is not None
    assert found.corrected_ci95[1] - found.corrected_ci95[0] > high - low


def test_a_judge_that_says_nothing_is_not_believed() -> None:
    scores, people = world(1, noise=20.0)
    found = calibrate(scores, {str(place): float(people[place]) for place in range(0, 218, 4)})
    assert found.weight < 0.02
    assert found.alpha < 0.1


def test_bias_is_told_by_capability() -> None:
    scores, people = world(2, noise=0.02)
    found = calibrate(scores, {str(place): float(people[place]) for place in range(120)})
    biases = {bias.group: bias for bias in found.biases}
    assert biases["capability/a"].value == pytest.approx(0.15, abs=0.01)
    assert biases["capability/b"].value == pytest.approx(0.05, abs=0.01)
    assert biases["overall"].num_labels == 120


def test_alpha_is_krippendorffs() -> None:
    """By its definition: observed over expected disagreement, over all pairs of values."""
    one, other = np.array([1.0, 2, 3, 3, 2, 1, 4]), np.array([1.0, 2, 3, 4, 2, 2, 4])
    values = [*one, *other]
    pairs = list(permutations(range(len(values)), 2))
    expected = sum((values[a] - values[b]) ** 2 for a, b in pairs) / len(pairs)
    assert krippendorff(one, other) == pytest.approx(1 - np.square(one - other).mean() / expected)
    assert krippendorff(one, one) == 1.0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    options = RunOptions(tasks=[TASKS["mm_vet"]], data="toy", out=out, judge=JudgeOptions(name="offline"))
    run(options, ScriptedPredictor(lambda prompt: "red"), Progress(quiet=True))
    scores = open_run(out).scores("mm_vet", "kit")
    rows = [f"{score.index},{min(1.0, (score.value or 0.0) + 0.1):.2f}" for score in scores[::3]]
    (tmp_path / "labels.csv").write_text("index,grade\n" + "\n".join(rows) + "\n", "utf-8")
    command(out, tmp_path / "labels.csv")
    assert "Krippendorff's alpha" in capsys.readouterr().out
    command(out, tmp_path / "labels.csv", format="json")
    content = json.loads(capsys.readouterr().out)
    assert content["corrected"] > content["judged"]
    assert content["num_labels"] == len(rows)
    for text, message in (
        ("index,grade\n0,1.5\n", "0 to 1"),
        ("index,grade\n0,x\n", "expected a number"),
        ("index,grade\n0,1\n0,1\n", "twice"),
    ):
        (tmp_path / "bad.csv").write_text(text, "utf-8")
        with pytest.raises(UserError, match=message):
            read_labels(tmp_path / "bad.csv", 0.0, 1.0)
    with pytest.raises(UserError, match="too few"):
        calibrate(scores, {scores[0].index: 0.5})
    with pytest.raises(UserError, match="no grade in this run"):
        calibrate(scores, {"nobody": 0.5})


@pytest.mark.parametrize(("task", "measure"), [("mm_vet", 0.310), ("llava_bench", 5.717)])
def test_published_gradings_correct_each_other(task: str, measure: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of GPT-4's three gradings one is the judge, the mean of the others the labels of a random part: the corrected
    interval holds their mean over all answers, of the judge as it is and made too kind (table in docs/protocols.md).
    """
    folder = real_answers.real_folder()
    if folder is None:
        pytest.skip(real_answers.MISSING)
    monkeypatch.setattr("benchmarks.calibration.NUM_DRAWS", 200)
    script = runpy.run_path(str(Path(__file__).parent / "bench" / "judge_real.py"))
    (given,) = (each for each in script["published"](folder) if each.task == task)
    assert given.measure.mean() == pytest.approx(measure, abs=0.0005)
    found = {
        name: calibrate(given.scores(values), script["through_a_file"](given.labels(0), task))
        for name, values in given.judges()
    }
    first, kind, length = found.values()
    assert first.alpha > 0.98 > kind.alpha > length.alpha
    assert kind.biases[0].ci95 is not None
    assert kind.biases[0].ci95[0] > 0 > length.weight - 0.2
    for each in found.values():
        assert each.corrected_ci95 is not None
        assert each.corrected_ci95[0] <= measure <= each.corrected_ci95[1]
    assert kind.judged_ci95 is not None
    assert kind.judged_ci95[0] > measure
