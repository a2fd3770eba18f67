"""The gate: three outcomes, each for the right reason, and the files CI reads."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from record_helpers import record
from scipy.stats import binomtest, ttest_rel
from scored_run_helpers import score, scores, write_scored_run

from aki_eval.commands.gate import command, junit_xml
from benchmarks.errors import UserError
from benchmarks.paired_tests import paired_difference
from benchmarks.records import Score
from benchmarks.results.baseline import open_baseline, write_baseline
from benchmarks.results.folder import RunFolder, open_run
from benchmarks.results.gate import Decision, _judge, decide
from benchmarks.results.gate_policy import DEFAULT, Policy, read_policy
from benchmarks.scoring import estimates_of
from benchmarks.tasks import COLUMNS, TASKS

TASK = "real_world_qa"


def policy(drop: float = 2.0, **more: float) -> Policy:
    tasks = {(TASK, "overall"): drop} | {(task, "overall"): value for task, value in more.items()}
    return Policy(confidence=0.95, allowed_drop=tasks)


def answers(num: int, right: int, seed: int = 0) -> list[Any]:
    values = [1.0] * right + [0.0] * (num - right)
    random.Random(seed).shuffle(values)
    return values


def write_pair(root: Path, before: list[Any], after: list[Any]) -> tuple[Path, Path]:
    """(run, baseline)"""
    baseline = write_scored_run(root / "baseline", {TASK: scores(before)})
    return write_scored_run(root / "candidate", {TASK: scores(after)}), baseline


def decide_values(root: Path, before: list[Any], after: list[Any], drop: float = 2.0) -> Decision:
    run, baseline = write_pair(root, before, after)
    return decide(open_run(run), open_run(baseline), policy(drop))


def test_unchanged_run_goes(tmp_path: Path) -> None:
    decision = decide_values(tmp_path, answers(50, 30), answers(50, 30), drop=0.0)
    assert (decision.verdict, decision.checks[0].reason) == ("GO", "no cluster of questions changed its worth")


def test_large_drop_is_stopped(tmp_path: Path) -> None:
    before = [1.0] * 800 + [0.0] * 200
    decision = decide_values(tmp_path, before, [0.0] * 80 + before[80:])
    assert decision.verdict == "NO-GO"
    assert decision.checks[0].compared is not None
    assert decision.checks[0].compared.difference == pytest.approx(-8.0)


def test_reasons_name_the_bound_that_decided(tmp_path: Path) -> None:
    """What may have been lost: 1.69 points with 10 of 1,000 lost, 0.00 (never less) with 100 won."""
    lost = decide_values(tmp_path / "lost", [1.0] * 1000, [0.0] * 10 + [1.0] * 990, drop=1.0).checks[0]
    assert lost.reason.startswith("the drop may be 1.69; on these questions 0.88 can be detected")
    within = decide_values(tmp_path / "within", [1.0] * 1000, [0.0] * 10 + [1.0] * 990, drop=1.7).checks[0]
    assert within.reason == "dropped by at most 1.69, allowed are 1.7"
    better = decide_values(tmp_path / "better", [0.0] * 1000, [1.0] * 100 + [0.0] * 900).checks[0]
    assert better.reason == "dropped by at most 0.00, allowed are 2"
    beyond = decide_values(tmp_path / "beyond", [1.0] * 1000, [0.0] * 100 + [1.0] * 900).checks[0]
    assert beyond.bounds is not None
    assert beyond.reason == f"dropped by at least {-beyond.bounds[1]:.2f}, allowed are 2"


def test_few_questions_cannot_tell(tmp_path: Path) -> None:
    decision = decide_values(tmp_path, answers(40, 20, seed=1), answers(40, 20, seed=2))
    assert decision.verdict == "INCONCLUSIVE"


def test_improvement_goes(tmp_path: Path) -> None:
    before = [1.0] * 500 + [0.0] * 500
    assert decide_values(tmp_path, before, [1.0] * 600 + [0.0] * 400, drop=0.0).verdict == "GO"


def test_allowance_decides(tmp_path: Path) -> None:
    """10 of 1,000 lost, none won: 1 point down, at most 1.69 with 95 % confidence (Clopper and Pearson's)."""
    before, after = [1.0] * 1000, [0.0] * 10 + [1.0] * 990
    run, baseline = (open_run(path) for path in write_pair(tmp_path, before, after))
    verdicts = {drop: decide(run, baseline, policy(drop)).verdict for drop in (0.3, 1.0, 1.6, 1.7)}
    assert verdicts == {0.3: "NO-GO", 1.0: "INCONCLUSIVE", 1.6: "INCONCLUSIVE", 1.7: "GO"}


def test_lost_samples_never_go(tmp_path: Path) -> None:
    before: list[Any] = [1.0] * 300
    decision = decide_values(tmp_path, before, [*before[:-1], None])
    assert decision.verdict == "INCONCLUSIVE"
    assert "samples scored in the baseline and unscored in the run: 1" in decision.checks[0].reason


def test_missing_task_never_goes(tmp_path: Path) -> None:
    run, baseline = write_pair(tmp_path, answers(50, 30), answers(50, 30))
    decision = decide(open_run(run), open_run(baseline), policy(mm_vet=3.0))
    assert [(check.task, check.verdict) for check in decision.checks] == [(TASK, "GO"), ("mm_vet", "INCONCLUSIVE")]
    assert decision.verdict == "INCONCLUSIVE"


@pytest.mark.parametrize("side", ["run", "baseline"])
def test_a_task_of_one_side_never_goes(tmp_path: Path, side: str) -> None:
    both = {TASK: scores(answers(50, 30))}
    paths = {
        name: write_scored_run(tmp_path / name, both | ({} if name == side else {"seed_image": scores([1.0] * 9)}))
        for name in ("run", "baseline")
    }
    allowed = {("seed_image", "overall"): 3.0, (TASK, "overall"): 3.0}
    decided = Policy(confidence=0.95, allowed_drop=allowed)
    decision = decide(open_run(paths["run"]), open_run(paths["baseline"]), decided)
    assert [check.verdict for check in decision.checks] == ["INCONCLUSIVE", "GO"]
    assert decision.checks[0].reason == f"seed_image is not scored in the {side}"


def test_lost_samples_do_not_soften_a_clear_drop(tmp_path: Path) -> None:
    before: list[Any] = [1.0] * 300
    run, baseline = (open_run(path) for path in write_pair(tmp_path, before, [None] + [0.0] * 100 + [1.0] * 199))
    assert decide(run, baseline, policy(2.0)).verdict == "NO-GO"


def test_a_bound_at_the_limit_is_within_what_is_allowed() -> None:
    assert _judge((-2.0, 1.0), 2.0, None)[0] == "GO"
    assert _judge((-3.0, -2.0), 2.0, None)[0] == "INCONCLUSIVE"
    assert _judge((-3.0, -2.01), 2.0, None)[0] == "NO-GO"


def test_single_cluster_never_goes(tmp_path: Path) -> None:
    """Ten questions about one picture are one observation."""
    paths = [
        write_scored_run(tmp_path / name, {TASK: [score(i, 1.0, cluster="picture") for i in range(10)]})
        for name in ("run", "baseline")
    ]
    decision = decide(*(open_run(path) for path in paths), policy())
    assert (decision.verdict, decision.checks[0].reason) == ("INCONCLUSIVE", "fewer than two independent clusters")


def error_rates(per_cluster: int) -> tuple[float, float]:
    """Shares of GO and NO-GO for a model that truly lost the 2 points that are allowed."""
    draw = random.Random(3)
    verdicts = []
    for _ in range(600):
        before = [float(draw.random() < 0.7) for _ in range(400)]
        after = [(value if draw.random() > 0.1 else float(draw.random() < 0.5)) for value in before]  # -2 points
        own = [estimates_of(TASKS[TASK], "kit", scores(values, per_cluster))["overall"] for values in (before, after)]
        found = paired_difference(*own)
        assert found is not None
        low, high = found.bound(-1, 0.95), found.bound(1, 0.95)
        assert low is not None
        assert high is not None
        verdicts.append(_judge((low, high), 2.0, found.detectable)[0])
    return verdicts.count("GO") / 600, verdicts.count("NO-GO") / 600


def test_error_rates_at_the_limit() -> None:
    """About 5 % each by the t test; by the exact one, which promises at most 5 %, somewhat less."""
    for share in error_rates(per_cluster=2):
        assert 0.025 < share < 0.08
    for share in error_rates(per_cluster=1):
        assert 0.015 < share < 0.055


def test_many_metrics_are_corrected_for_no_go_only(tmp_path: Path) -> None:
    """With ten metrics in the policy a NO-GO needs 99.5 % confidence; a GO still needs 95 %."""
    run, baseline = (open_run(path) for path in write_pair(tmp_path, [1.0] * 1000, [0.0] * 12 + [1.0] * 988))
    single, others = policy(0.4), policy(0.4, **dict.fromkeys([name for name in TASKS if name != TASK], 1.0))
    assert (single.family_confidence, others.family_confidence) == pytest.approx((0.95, 0.995))
    alone, among = (decide(run, baseline, each).checks[0] for each in (single, others))
    assert (alone.verdict, among.verdict) == ("NO-GO", "INCONCLUSIVE")
    assert alone.bounds is not None
    assert among.bounds is not None
    assert alone.bounds[0] == among.bounds[0] == pytest.approx(-100 * binomtest(12, 1000).proportion_ci(0.9).high)
    assert among.bounds[1] > alone.bounds[1]


def test_graded_metrics_have_students_bounds(tmp_path: Path) -> None:
    """Eight graded answers: seven degrees of freedom, where the normal law would promise 13 % more."""
    before, after = [0.5] * 8, [0.6, 0.8, 0.3, 0.9, 0.7, 0.5, 1.0, 0.6]
    check = decide_values(tmp_path, before, after).checks[0]
    interval = ttest_rel(after, before).confidence_interval(0.9)
    assert check.bounds == pytest.approx((100 * interval.low, 100 * interval.high))


def test_different_data_is_refused(tmp_path: Path) -> None:
    baseline = write_scored_run(tmp_path / "baseline", {TASK: scores([1.0, 0.0])}, prompts="vlmevalkit")
    run = write_scored_run(tmp_path / "run", {TASK: scores([1.0, 0.0])})
    with pytest.raises(UserError, match="prompts vlmevalkit and aki"):
        decide(open_run(run), open_run(baseline), policy())
    assert decide(open_run(run), open_run(baseline), policy(), allowed=True).warnings


# The command, its files and its exit codes.


@pytest.mark.parametrize(("lost", "code"), [(0, 0), (90, 1), (6, 3)])
def test_command(tmp_path: Path, lost: int, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    run, baseline = write_pair(tmp_path, [1.0] * 300, [0.0] * lost + [1.0] * (300 - lost))
    file = tmp_path / "policy.toml"
    file.write_text("[allowed_drop.real_world_qa]\noverall = 2.0\n")
    options = {"policy": file, "markdown_file": tmp_path / "new" / "gate.md", "junit": tmp_path / "gate.xml"}
    assert command(run, baseline=baseline, **options) == code
    verdict = {0: "GO", 1: "NO-GO", 3: "INCONCLUSIVE"}[code]
    assert f"{verdict}: candidate against baseline" in capsys.readouterr().out
    assert f"{verdict}: candidate against baseline" in (tmp_path / "new" / "gate.md").read_text()
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert (suite.get("failures"), suite.get("errors")) == (str(int(code == 1)), str(int(code == 3)))


def test_baseline_file_decides_like_the_folder(tmp_path: Path) -> None:
    run, baseline = write_pair(tmp_path, answers(300, 200), answers(300, 190, seed=0))
    file = tmp_path / "stored" / "baseline.json"
    assert command(baseline, write_to=file) == 0
    by_file = decide(open_run(run), open_baseline(file), policy())
    by_folder = decide(open_run(run), open_baseline(baseline), policy())
    assert by_file == by_folder
    for name in ("again.json", "small.json.gz", "small_again.json.gz"):
        write_baseline(open_run(baseline), tmp_path / name)
        assert decide(open_run(run), open_baseline(tmp_path / name), policy()) == by_folder
    assert (tmp_path / "again.json").read_bytes() == file.read_bytes()
    assert (tmp_path / "small.json.gz").read_bytes() == (tmp_path / "small_again.json.gz").read_bytes()


def test_bad_baselines(tmp_path: Path) -> None:
    contents = {"list": "[]", "broken": "{", "other": '{"format": 1}', "old": '{"format": 0}', "plain.json.gz": "{}"}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=name):
            open_baseline(tmp_path / name)
    with pytest.raises(UserError, match="no baseline at"):
        open_baseline(tmp_path / "missing")
    run, _ = write_pair(tmp_path, [1.0, 0.0], [1.0, 0.0])
    with pytest.raises(UserError, match="--baseline is missing"):
        command(run)


@pytest.mark.parametrize("path", [DEFAULT, Path(__file__).parents[1] / ".github" / "toy-gate.toml"])
def test_committed_policies_name_the_twelve_columns(path: Path) -> None:
    assert set(read_policy(path).allowed_drop) == {(column.task, column.metric) for column in COLUMNS}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("confidence = 0.95", "names no metric"),
        ("confidence = 95\n[allowed_drop.mme]\nperception = 1", "confidence is 95"),
        ("[allowed_drop.mme]\nperception = -1", "a number of at least 0"),
        ("[allowed_drop.mme]\nperception = true", "a number of at least 0"),
        ("[allowed_drops.mme]\nperception = 1", "'allowed_drops' is no setting"),
        ("[allowed_drop", "is not TOML"),
        ("allowed_drop = 3", "expected tables"),
        ("[allowed_drop]\nmme = 3", "expected tables"),
        ('confidence = "high"\n[allowed_drop.mme]\nperception = 1', "confidence is high"),
    ],
)
def test_bad_policies(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_policy(tmp_path / "policy.toml")


def test_policy_with_a_metric_that_does_not_exist(tmp_path: Path) -> None:
    run, baseline = write_pair(tmp_path, [1.0, 0.0], [1.0, 0.0])
    wrong = Policy(confidence=0.95, allowed_drop={(TASK, "f1"): 1.0})
    with pytest.raises(UserError, match=r"names real_world_qa\.f1, which .* it has overall"):
        decide(open_run(run), open_run(baseline), wrong)
    nobodys = Policy(confidence=0.95, allowed_drop={("mmee", "perception"): 1.0})
    with pytest.raises(UserError, match="names a task 'mmee'; expected some of mme, "):
        decide(open_run(run), open_run(baseline), nobodys)


def test_junit_escapes_what_it_is_told(tmp_path: Path) -> None:
    decision = decide_values(tmp_path, answers(40, 20, seed=1), answers(40, 20, seed=2))
    assert ElementTree.fromstring(junit_xml(decision).split("?>", 1)[1]).find("testcase/error") is not None


def test_a_frozen_model_s_difference_decides_by_itself(tmp_path: Path) -> None:
    """10 of 1,000 lost: 1 point down. The questions could not tell 1.0 from 1.5, but nothing was drawn here."""
    before, after = [1.0] * 1000, [0.0] * 10 + [1.0] * 990
    run, baseline = (open_run(path) for path in write_pair(tmp_path, before, after))
    verdicts = {}
    for drop in (0.0, 0.9, 1.0, 1.5):
        frozen = Policy(confidence=0.95, allowed_drop={(TASK, "overall"): drop}, decide_by="difference")
        verdicts[drop] = decide(run, baseline, frozen).verdict
    assert verdicts == {0.0: "NO-GO", 0.9: "NO-GO", 1.0: "GO", 1.5: "GO"}


def test_a_frozen_model_loses_nothing_unseen(tmp_path: Path) -> None:
    """A sample without a score, and a task that was not run, stop a frozen model whatever it may lose."""
    before: list[Any] = [1.0] * 300
    run, baseline = (open_run(path) for path in write_pair(tmp_path, before, [*before[:-1], None]))
    allowed = {(TASK, "overall"): 50.0, ("mm_vet", "overall"): 50.0}
    decision = decide(run, baseline, Policy(confidence=0.95, allowed_drop=allowed, decide_by="difference"))
    assert [check.verdict for check in decision.checks] == ["NO-GO", "NO-GO"]
    assert "unscored in the run: 1" in decision.checks[0].reason
    assert "mm_vet is not scored in the run" in decision.checks[1].reason


def test_decide_by_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text('decide_by = "luck"\n[allowed_drop.pope]\nf1 = 1.0\n')
    with pytest.raises(UserError, match="decide_by is 'luck', expected bounds or difference"):
        read_policy(path)


@pytest.mark.parametrize(("before", "now", "verdict"), [(9, 9, "GO"), (9, 8, "GO"), (9, 10, "NO-GO"), (0, 1, "NO-GO")])
def test_a_frozen_model_may_not_become_less_readable(tmp_path: Path, before: int, now: int, verdict: str) -> None:
    """The values stay as they were, so the difference is 0; answers that were unread before may stay so."""
    runs = []
    for name, num in (("baseline", before), ("run", now)):
        values = [
            replace(one, reason="unread" if i < num else None) for i, one in enumerate(scores([0.0] * 50 + [1.0] * 50))
        ]
        runs.append(open_run(write_scored_run(tmp_path / name, {TASK: values})))
    frozen = Policy(confidence=0.95, allowed_drop={(TASK, "overall"): 5.0}, decide_by="difference")
    assert decide(runs[1], runs[0], frozen).verdict == verdict
    lenient = replace(frozen, allowed_unread=1.0)  # one of these hundred
    assert decide(runs[1], runs[0], lenient).verdict == "GO"


def test_a_frozen_models_scores_are_read_once_more_and_not_for_every_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [score(number, float(number % 2), groups=(f"dimension/{number % 5}",)) for number in range(100)]
    run = open_run(write_scored_run(tmp_path / "run", {"seed_image": given}))
    names = list(run.results["seed_image"].protocols["kit"])
    reads = []
    read = RunFolder.scores

    def counted(folder: RunFolder, task: str, protocol: str | None = None) -> list[Score]:
        reads.append(task)
        return read(folder, task, protocol)

    monkeypatch.setattr(RunFolder, "scores", counted)
    allowed = {("seed_image", name): 1.0 for name in names}
    assert decide(run, run, Policy(confidence=0.95, allowed_drop=allowed, decide_by="difference")).verdict == "GO"
    assert len(names) == 6
    assert reads == ["seed_image"] * 4  # two to compare, two to count


@pytest.mark.parametrize(("unread", "verdict"), [(99, "GO"), (100, "NO-GO")])
def test_allowed_unread_is_a_share_of_all_answers(tmp_path: Path, unread: int, verdict: str) -> None:
    values = scores([0.0] * 198)
    less = [replace(one, reason="unread" if i < unread else None) for i, one in enumerate(values)]
    run, baseline = (
        open_run(write_scored_run(tmp_path / name, {TASK: given})) for name, given in (("run", less), ("old", values))
    )
    allowed = Policy(
        confidence=0.95, allowed_drop={(TASK, "overall"): 5.0}, decide_by="difference", allowed_unread=50.0
    )
    assert decide(run, baseline, allowed).verdict == verdict


def test_a_frozen_model_that_gained_lost_nothing(tmp_path: Path) -> None:
    run, baseline = (open_run(path) for path in write_pair(tmp_path, [0.0] * 50 + [1.0] * 50, [1.0] * 100))
    frozen = Policy(confidence=0.95, allowed_drop={(TASK, "overall"): 0.0}, decide_by="difference")
    (check,) = decide(run, baseline, frozen).checks
    assert (check.verdict, check.reason) == ("GO", "dropped by 0.00, allowed are 0")


@pytest.mark.parametrize("share", ["-1", "101", '"5"', "true"])
def test_allowed_unread_is_a_percentage(tmp_path: Path, share: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(f'decide_by = "difference"\nallowed_unread = {share}\n[allowed_drop.pope]\nf1 = 1.0\n')
    with pytest.raises(UserError, match="allowed_unread is"):
        read_policy(path)


def write_other(path: Path, name: str, right: int, num: int = 400) -> Path:
    """Beside a task of the paper, one of nobody's that the folder describes."""
    write_scored_run(path, {TASK: scores([1.0] * num)})
    shutil.copytree(path / TASK, path / name)
    other = write_scored_run(path / "aside", {TASK: scores([1.0] * right + [0.0] * (num - right))}) / TASK
    (path / name / "scores.jsonl").write_bytes((other / "scores.jsonl").read_bytes())
    content = json.loads((other / "metrics.json").read_text())
    content |= {
        "task": name,
        "definition": {
            "title": name,
            "paper": "nobody's",
            "headline_metrics": ["overall"],
            "judged": False,
            "headline": content["headline"],
            "protocols": {content["headline"]: {"estimate": "mean_by_group", "extractor": "none"}},
            "scales": {"overall": 100.0},
            "source": "a file",
        },
    }
    (path / name / "metrics.json").write_text(json.dumps(content))
    shutil.rmtree(path / "aside")
    (path / "run.json").write_text(json.dumps(record(path.name, [TASK, name, "alone"])))
    return path


@pytest.mark.parametrize(
    ("others", "named", "found"),
    [
        (None, {}, [(TASK, 2.0)]),
        (5.0, {}, [(TASK, 2.0), ("quiz", 5.0)]),
        (0.0, {}, [(TASK, 2.0), ("quiz", 0.0)]),  # no drop at all is a policy, too
        (5.0, {("quiz", "overall"): 90.0}, [(TASK, 2.0), ("quiz", 90.0)]),  # what is named is not one of the others
    ],
)
def test_other_tasks_are_held_to_what_the_policy_allows_them(
    tmp_path: Path, others: float | None, named: dict[tuple[str, str], float], found: list[tuple[str, float]]
) -> None:
    """Of both runs' tasks those that are not the paper's; what only one of the two has been asked is not held."""
    run, baseline = write_other(tmp_path / "run", "quiz", 200), write_other(tmp_path / "baseline", "quiz", 390)
    shutil.copytree(run / "quiz", run / "alone")
    (run / "alone/metrics.json").write_text((run / "quiz/metrics.json").read_text().replace('"quiz"', '"alone"'))
    allowed = replace(policy(), allowed_drop=policy().allowed_drop | named, other_tasks=others)
    decision = decide(open_run(run), open_run(baseline), allowed)
    assert [(check.task, check.allowed_drop) for check in decision.checks] == found
    assert decision.verdict == ("GO" if others is None or named else "NO-GO")
