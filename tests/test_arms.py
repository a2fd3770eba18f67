"""Arms of training seeds: variances by hand, pairing, what is refused, and what every surface says about seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_helpers import record
from scipy.stats import t as student
from scipy.stats import ttest_ind, ttest_rel
from scored_run_helpers import scores, write_scored_run

from aki_eval.cli import main
from benchmarks.arms import (
    ArmDifference,
    Variances,
    arm_difference,
    arm_estimate,
    assumed_variances,
    needed,
)
from benchmarks.errors import UserError
from benchmarks.estimates import Estimate, mean_by_group
from benchmarks.paired_tests import McNemar, paired_difference
from benchmarks.records import Score
from benchmarks.results.arms import SEEDS_NOT_INCLUDED, make_arm
from benchmarks.results.comparison import compare
from benchmarks.results.folder import open_runs
from reports.cli import make_plan
from reports.formats import Output, produce
from reports.pages import write_site
from reports.paper_tables import Plan, all_tables, main_table
from reports.sides import BETWEEN, groups_of

TASK = "real_world_qa"


def estimate(values: Any, per_cluster: int = 1) -> Estimate:
    own = [Score(index="", protocol="", value=float(v), cluster=f"{n // per_cluster:04}") for n, v in enumerate(values)]
    return mean_by_group(own)["overall"]


def arm_values(num_seeds: int, num_questions: int, seed: int, seed_sd: float = 0.1) -> np.ndarray[Any, Any]:
    """(S, G) grades with an effect of each seed and each question."""
    random = np.random.default_rng(seed)
    effects = random.normal(0, seed_sd, (num_seeds, 1)) + random.normal(0, 0.2, (1, num_questions))
    return np.asarray(0.5 + effects + random.normal(0, 0.1, (num_seeds, num_questions)))


def found_between(a: Any, b: Any, keys_a: Any = None, keys_b: Any = None) -> ArmDifference:
    one = {key: estimate(row) for key, row in zip(keys_a or range(len(a)), a, strict=True)}
    two = {key: estimate(row) for key, row in zip(keys_b or range(len(b)), b, strict=True)}
    found = arm_difference(one, two)
    assert isinstance(found, ArmDifference)
    assert found.variances is not None
    return found


def anova(d: Any) -> tuple[float, float, float]:
    """(questions, seeds, interaction) as variances of the grand mean of (S, G) differences, by mean squares."""
    num_seeds, num = d.shape
    rest = d - d.mean(0) - d.mean(1, keepdims=True) + d.mean()
    both = (rest**2).sum() / ((num_seeds - 1) * (num - 1))
    return d.mean(0).var(ddof=1) / num, d.mean(1).var(ddof=1) / num_seeds, both / (num_seeds * num)


def test_paired_seeds_are_the_two_way_analysis_of_variance() -> None:
    a, b = 100 * arm_values(4, 30, 1), 100 * arm_values(4, 30, 2)
    found = found_between(a / 100, b / 100)
    assert found.variances is not None
    questions, seeds, both = anova(b - a)
    own = found.variances
    assert (own.questions, own.seeds, own.interaction) == pytest.approx((questions, seeds, both))
    assert own.num_matched == 4
    assert found.value == pytest.approx((b - a).mean())
    variance = questions + seeds - both
    assert found.std_error == pytest.approx(variance**0.5)
    degrees = variance**2 / (questions**2 / 29 + seeds**2 / 3 + both**2 / 87)
    assert found.degrees == pytest.approx(degrees)
    half = student.ppf(0.975, degrees) * variance**0.5
    assert found.ci95 == pytest.approx((found.value - half, found.value + half))
    assert found.p == pytest.approx(2 * student.sf(abs(found.value) / variance**0.5, degrees))


def test_seeds_that_happen_to_agree_are_not_known_for_certain() -> None:
    """Three differences of equal value: the interaction says how far apart they could have been, with two degrees."""
    a = 100 * arm_values(3, 200, 5)
    b = a + np.random.default_rng(6).normal(0, 20, a.shape)
    b -= (b - a).mean(1, keepdims=True) - 2.0
    found = found_between(a / 100, b / 100)
    assert found.variances is not None
    own = found.variances
    assert own.seeds == pytest.approx(0, abs=1e-12)
    assert own.interaction > 0.5 * own.questions
    assert own.total == max(own.questions, own.interaction)
    degrees = own.total**2 / (own.questions**2 / 199 + own.interaction**2 / 2 + own.interaction**2 / 398)
    assert found.degrees == pytest.approx(degrees)
    assert found.degrees < 8


def test_seeds_alone_are_the_t_tests_of_their_values() -> None:
    """Many questions that all differ alike: what is left is the paired t of seeds, or Welch's where none are shared."""
    a, b = np.random.default_rng(0).normal(0.5, 0.1, (2, 5, 1))
    steps = np.linspace(-0.1, 0.1, 400)
    a, b = a + steps, b + steps
    paired, unpaired = found_between(a, b), found_between(a, b, keys_b=list("vwxyz"))
    assert paired.p == pytest.approx(ttest_rel(b.mean(1), a.mean(1)).pvalue, rel=1e-6)
    assert unpaired.p == pytest.approx(ttest_ind(b.mean(1), a.mean(1), equal_var=False).pvalue, rel=1e-6)
    assert unpaired.variances is not None
    assert unpaired.variances.num_matched == 0


def test_some_seeds_in_common_count_as_pairs() -> None:
    a, b = arm_values(3, 40, 3), arm_values(4, 40, 4)
    found = found_between(a, b, keys_a=[0, 1, 2], keys_b=[1, 2, 7, 8])
    assert found.variances is not None
    assert found.variances.num_matched == 2
    assert found.variances.seed_degrees == 2
    off_a, off_b = (100 * (x.mean(1) - x.mean()) for x in (a, b))
    weigh_a, weigh_b = 1 / (3 * 2) ** 0.5, 1 / (4 * 3) ** 0.5
    by_seed = {0: -off_a[0] * weigh_a, 7: off_b[2] * weigh_b, 8: off_b[3] * weigh_b}
    by_seed |= {1: off_b[0] * weigh_b - off_a[1] * weigh_a, 2: off_b[1] * weigh_b - off_a[2] * weigh_a}
    assert found.variances.seeds == pytest.approx(sum(value**2 for value in by_seed.values()))


def test_order_of_runs_does_not_matter() -> None:
    a, b = arm_values(3, 40, 5), arm_values(3, 40, 6)
    turned = found_between(a[::-1], b[[1, 2, 0]], keys_a=[2, 1, 0], keys_b=[1, 2, 0])
    assert turned.p == pytest.approx(found_between(a, b).p)


def test_one_run_a_side_is_the_paired_comparison() -> None:
    a, b = estimate([0, 1, 0, 0, 1, 0]), estimate([1, 1, 1, 0, 1, 1])
    found = arm_difference({0: a}, {0: b})
    assert found == paired_difference(a, b)
    assert found is not None
    assert isinstance(found.test, McNemar)


def test_no_component_is_negative() -> None:
    """Seeds that differ by less than their questions' luck: the total is never below the clustered one."""
    found = found_between(arm_values(2, 20, 7, 0.0), arm_values(2, 20, 9, 0.0))
    own = found.variances
    assert own is not None
    assert own.total >= max(own.questions, own.seeds) - 1e-12


def test_nothing_moved_has_p_one() -> None:
    same = [[1, 0, 1, 1], [1, 0, 1, 1]]
    found = found_between(same, same)
    assert (found.value, found.p, found.num_moved) == (0.0, 1.0, 0)


def test_means_that_are_equal_in_another_order_have_not_moved() -> None:
    a = [[0.1, 1, 0], [0.2, 1, 0], [0.3, 1, 1]]
    b = [[0.3, 1, 1], [0.1, 1, 0], [0.2, 1, 0]]
    assert found_between(a, b).num_moved == 0


def test_other_questions_and_empty_arms_are_refused() -> None:
    with pytest.raises(ValueError, match="same samples"):
        arm_difference({0: estimate([1, 0]), 1: estimate([1, 0, 1])}, {0: estimate([1, 0]), 1: estimate([0, 0])})
    with pytest.raises(ValueError, match="without runs"):
        arm_difference({}, {0: estimate([1, 0])})


def test_macro_means_keep_their_parts_degrees() -> None:
    from benchmarks.estimates import weighted_sum

    def macro(values: Any) -> Estimate:
        own = [
            Score(index="", protocol="", value=float(v), cluster=f"{n:04}", groups=("few" if n < 4 else "many",))
            for n, v in enumerate(values)
        ]
        groups = mean_by_group(own)
        return weighted_sum([groups["few"], groups["many"]], 0.5)

    a, b = arm_values(3, 40, 11), arm_values(3, 40, 12)
    found = arm_difference(*({k: macro(row) for k, row in enumerate(x)} for x in (a, b)))
    assert isinstance(found, ArmDifference)
    assert found.variances is not None
    d = 100 * (b - a).mean(0)
    parts = [0.25 * part.var(ddof=1) / len(part) for part in (d[:4], d[4:])]
    assert found.variances.questions == pytest.approx(sum(parts))
    assert found.variances.question_degrees == pytest.approx(sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 35))


def test_an_arms_two_error_bars_are_apart() -> None:
    values = arm_values(5, 60, 13)
    found = arm_estimate(dict(enumerate(estimate(row) for row in values)))
    spread = (100 * values.mean(1)).std(ddof=1)
    assert found.seed_spread == pytest.approx(spread)
    half = student.ppf(0.975, 4) * spread / 5**0.5
    mean = 100 * values.mean()
    assert found.seed_interval == pytest.approx((mean - half, mean + half))
    assert found.question_interval == estimate(values.mean(0)).interval()
    assert arm_estimate({0: estimate(values[0])}).seed_interval is None


# Planning.


def planned(seeds: int, questions: int = 400) -> Variances:
    return assumed_variances(num_questions=questions, num_seeds=seeds, flip=0.2, seed_flip=0.1, seed_sd=1.0)


def test_what_is_planned_is_what_would_have_been_assumed() -> None:
    """Twice the seeds, four times the questions: the same variances as guesses made for those numbers."""
    wanted, found = planned(6, 1600), planned(3).planned(seeds=2, questions=4)
    for name in ("questions", "seeds", "interaction", "question_degrees", "seed_degrees"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name)), name
    assert (found.num_seeds, found.num_clusters) == ((6, 6), 1600)


def test_needed_is_the_least_that_suffices() -> None:
    found = planned(5)
    wanted = needed(found, 6.0)
    assert wanted.seeds is not None
    assert wanted.questions is not None
    enough = [found.planned(seeds=num / 5).detectable for num in (wanted.seeds - 1, wanted.seeds)]
    assert enough[0] > 6.0 >= enough[1]  # type: ignore[operator]
    enough = [found.planned(questions=num / 400).detectable for num in (wanted.questions - 1, wanted.questions)]
    assert enough[0] > 6.0 >= enough[1]  # type: ignore[operator]


def test_no_number_of_questions_makes_up_for_seeds() -> None:
    wanted = needed(assumed_variances(num_questions=9000, num_seeds=2, flip=0.2, seed_flip=0.1, seed_sd=5.0), 6.0)
    assert wanted.questions is None
    assert wanted.seeds is not None


def test_contradicting_guesses_are_refused() -> None:
    with pytest.raises(ValueError, match="seed_flip"):
        assumed_variances(num_questions=10, num_seeds=2, flip=0.1, seed_flip=0.2, seed_sd=1)


# Run folders.


def write_run(path: Path, values: Any, seed: int | None, **model: Any) -> Path:
    write_scored_run(path, {TASK: scores(list(values))})
    own = {"name": path.name, "kind": "aki", **({} if seed is None else {"training_seed": seed}), **model}
    (path / "run.json").write_text(json.dumps(record(path.name, [TASK], model=own)))
    return path


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Three seeds of `base`, three of `mma`, which is better."""
    paths = []
    for name, level in (("base", 0.5), ("mma", 0.8)):
        for seed in range(3):
            random = np.random.default_rng(seed)
            right = (random.random(120) < level).astype(float)
            paths.append(write_run(tmp_path / f"{name}-seed{seed}", right, seed, attention=name))
    return paths


def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *args: object) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["aki-eval", *map(str, args)])
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    return int(stopped.value.code or 0), out, err


def test_compare_arms(runs: list[Path]) -> None:
    arms = [make_arm(open_runs(runs)[start : start + 3]) for start in (0, 3)]
    assert [arm.label for arm in arms] == ["base (3 seeds)", "mma (3 seeds)"]
    found = compare(*arms)
    metric = found.columns[0]
    assert metric.test == "crossed t"
    assert metric.variances is not None
    assert (metric.variances.num_matched, found.num_matched) == (3, 3)
    assert found.seeds_left_out is None
    assert found.made_differently == [("model.attention", "base", "mma")]
    assert list(metric.as_json()["seeds"][1]["values"]) == [arm.mean.value for arm in _single_arms(runs[3:])]
    json.dumps(found.as_json())


def _single_arms(paths: list[Path]) -> list[Any]:
    return [compare(run, run).columns[0].arms[0] for run in open_runs(paths)]


def test_command_takes_arms_and_options_anywhere(
    runs: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = call(capsys, monkeypatch, "compare", *runs[:3], "--", *runs[3:], "--format", "md")
    assert code == 0
    assert "by seeds" in out
    assert "crossed t: questions x seeds, 3 seeds paired" in out
    assert SEEDS_NOT_INCLUDED not in out
    code, out, _ = call(capsys, monkeypatch, "compare", runs[0], "--format", "md", "--", runs[3])
    assert (code, SEEDS_NOT_INCLUDED in out) == (0, True)
    code, out, _ = call(capsys, monkeypatch, "compare", runs[0], *["--", *runs[3:]], "--format", "md")
    assert f"{SEEDS_NOT_INCLUDED} for base-seed0, which has one seed" in out


def test_one_call_compares_in_several_formats(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = (*runs[:3], "--", *runs[3:])
    assert call(capsys, monkeypatch, "compare", *sides, "--format", "md, json", "--out", tmp_path)[0] == 0
    for name in ("md", "json"):
        code, out, _ = call(capsys, monkeypatch, "compare", *sides, "--format", name)
        assert (code, out) == (0, (tmp_path / f"compare.{name}").read_text())
    code, _, said = call(capsys, monkeypatch, "compare", *sides, "--format", "md,html")
    assert code == 2
    assert "--format 'html' is no format; choose from term, md, json" in said


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["0"], "1 run folders: expected two runs, or two arms"),
        (["0", "1", "2"], "3 run folders: expected two runs"),
        (["0", "--"], "nothing stands on one side of --"),
        (["0", "--", "1", "--", "2"], "3 groups: expected two runs"),
        (["0", "1", "--", "1", "2"], "the same run folder is given twice"),
    ],
)
def test_wrong_sides_are_one_line(
    args: list[str],
    line: str,
    runs: list[Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, _, err = call(capsys, monkeypatch, "compare", *(arg if arg == "--" else runs[int(arg)] for arg in args))
    assert code == 2
    assert err.count("\n") == 1
    assert line in err


def test_arms_that_were_asked_different_questions(
    runs: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = runs[4] / TASK / "metrics.json"
    content = json.loads(path.read_text())
    content["data"]["tables"][TASK.upper()]["sha256"] = "1" * 64
    path.write_text(json.dumps(content))
    code, _, err = call(capsys, monkeypatch, "compare", *runs[:3], "--", *runs[3:])
    assert code == 2
    assert err.count("\n") == 1
    assert "the runs differ in what was asked: real_world_qa: table REAL_WORLD_QA has sha256" in err
    assert "(base-seed0, mma-seed1)" in err


def test_a_training_counts_once(tmp_path: Path) -> None:
    same_seed = [write_run(tmp_path / f"x{n}", [1, 0], 4) for n in range(2)]
    with pytest.raises(UserError, match="two runs of training seed 4"):
        make_arm(open_runs(same_seed))
    same_weights = [write_run(tmp_path / f"y{n}", [1, 0], None, weights_sha256="a" * 64) for n in range(2)]
    with pytest.raises(UserError, match="made by the same weights"):
        make_arm(open_runs(same_weights))


def test_runs_that_differ_in_more_than_the_seed_are_told(tmp_path: Path, runs: list[Path]) -> None:
    odd = write_run(tmp_path / "mma-seed9", np.ones(120), 9, attention="causal")
    arms = [make_arm(open_runs([*runs[:3]])), make_arm(open_runs([*runs[3:], odd]))]
    assert compare(*arms).arm_warnings == ["mma (4 seeds): its runs differ in model.attention (mma, causal)"]


def test_unknown_seeds_are_not_paired(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    paths = [write_run(tmp_path / f"{n}", (random.random(50) < 0.5).astype(float), None) for n in range(4)]
    opened = open_runs(paths)
    assert compare(make_arm(opened[:2]), make_arm(opened[2:])).num_matched == 0


def test_samples_that_one_run_lacks_are_left_out_everywhere(tmp_path: Path) -> None:
    values = [[1.0, 0.0, 1.0, 1.0], [1.0, None, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 1.0, None, 0.0]]
    opened = open_runs([write_run(tmp_path / f"{n}", row, n % 2) for n, row in enumerate(values)])
    metric = compare(make_arm(opened[:2]), make_arm(opened[2:])).columns[0]
    assert (metric.num_pairs, metric.num_left_out, metric.num_lost) == (2, 2, 1)
    assert (metric.a, metric.b) == (75.0, 0.0)


def test_report_shows_arms_with_two_error_bars(runs: list[Path], tmp_path: Path) -> None:
    plan = make_plan([*runs[:3], Path(BETWEEN), *runs[3:]], None, "aki_4b")
    table = main_table("1", plan)
    row = next(row for row in table.rows if row.label == "mma (3 seeds)")
    cell = next(cell for cell in row.cells if cell.value is not None)
    assert cell.seed_ci95 is not None
    assert cell.interval.endswith(" s")
    assert " q ±" in cell.interval
    assert any("±s for other training seeds" in remark for remark in table.remarks)
    assert not any(row.label == "mma-seed0" for row in table.rows)
    difference = next(row for row in table.rows if row.label == "mma (3 seeds) − base (3 seeds)")
    assert any(cell.test == "crossed t" for cell in difference.cells)
    produce("csv", all_tables(plan), plan, Output(tmp_path))
    assert "seed_ci95_low" in (tmp_path / "tables.csv").read_text()


def test_html_draws_both_bars(runs: list[Path], tmp_path: Path) -> None:
    plan = make_plan([*runs[:3], Path(BETWEEN), *runs[3:]], None, "aki_4b")
    produce("html", [], plan, Output(tmp_path, pictures=False))
    page = (tmp_path / "html" / "index.html").read_text()
    overview, _, history = page.partition('id="history"')
    assert overview.count('class="interval"') == 2
    assert overview.count('class="seeds"') == 6
    assert history.count('class="interval"') == 6  # there each training stands for itself
    assert "the thin one with ends that for other seeds" in page


def test_power_from_guesses_and_from_a_pilot(
    runs: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = call(capsys, monkeypatch, "power", "--questions", "400", "--format", "json", "--difference", "4")
    guessed = json.loads(out)[0]
    assert code == 0
    assert guessed["detectable"] == pytest.approx(planned(3).detectable)
    assert guessed["needs_seeds"] == needed(planned(3), 4.0).seeds
    for sides in ([*runs[:3], "--", *runs[3:]], [*runs[:3]], [runs[0], "--", runs[3]]):
        code, out, _ = call(capsys, monkeypatch, "power", *sides, "--format", "json")
        assert code == 0
        assert json.loads(out)[0]["metric"] == "RealWorldQA"
        assert json.loads(out)[0]["detectable"] > 0
    code, out, _ = call(capsys, monkeypatch, "power", *runs[:3], "--", *runs[3:])
    assert "training-seed variance not included" in " ".join(out.split())


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ([], "give a pilot's run folders, or say how many questions"),
        (["--questions", "9", "--flip", "0.1", "--seed-flip", "0.3"], "--seed-flip 0.3 is above --flip 0.1"),
        (["--questions", "9", "--format", "pdf"], "'pdf' is not one of 'term', 'md', 'json'"),
    ],
)
def test_power_without_sense_is_one_line(
    args: list[str], line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = call(capsys, monkeypatch, "power", *args)
    assert code == 2
    assert err.count("\n") == 1
    assert line in err


def test_groups_of_paths() -> None:
    a, b, between = Path("a"), Path("b"), Path(BETWEEN)
    assert groups_of([a, between, b]) == [[a], [b]]
    assert groups_of([a, b]) == [[a, b]]
    for wrong in ([between, a], [a, between], [a, between, between, b]):
        with pytest.raises(UserError, match="nothing stands"):
            groups_of(wrong)


def test_training_seed_is_read_from_what_trainings_leave(tmp_path: Path) -> None:
    from aki_eval.predictors.weights import training_seed

    assert training_seed(tmp_path) is None
    (tmp_path / "stage.json").write_text(json.dumps({"model": {}, "stage": {"seed": 7}}))
    assert training_seed(tmp_path) == 7
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "arithmetic.json").write_text("[damaged")
    assert training_seed(tmp_path) == 7


def test_arms_stand_first_on_the_page_of_comparisons(runs: list[Path], tmp_path: Path) -> None:
    arms = tuple(make_arm(open_runs(runs)[start : start + 3]) for start in (0, 3))
    flat = tuple(run for arm in arms for run in arm.runs)
    page = (write_site(Plan(flat, grouped=arms), tmp_path / "html").parent / "compare.html").read_text("utf-8")
    assert "base (3 seeds), mma (3 seeds)" in page
    assert page.index("crossed t") < page.index("Questions gained and lost")
