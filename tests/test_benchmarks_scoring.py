"""Right, wrong, unscored: what becomes of answers that are missing, failed, ungraded, or half of something."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.data.load import load_samples
from benchmarks.errors import UserError
from benchmarks.judged import read_reply
from benchmarks.records import JudgeRequest, Prediction, Sample, Score, Verdict
from benchmarks.scoring import metrics_of, score_task
from benchmarks.tasks import TASKS
from benchmarks.tasks.mmbench import ROTATION, is_full_circle
from benchmarks.toy_world import ensure_tables


class Judge:
    """Replies with what `reply` makes of a request; None: the call failed."""

    name = "test"

    def __init__(self, reply: Callable[[JudgeRequest], str | None], repeats: int = 1, comparable: bool = True) -> None:
        self.reply, self.repeats, self.comparable = reply, repeats, comparable
        self.requests: list[JudgeRequest] = []

    def grade(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        self.requests += requests
        return [self.verdict(request, repeat) for request in requests for repeat in range(self.repeats)]

    def verdict(self, request: JudgeRequest, repeat: int) -> Verdict:
        raw = self.reply(request)
        value = None if raw is None else read_reply(request, raw)[0]
        error = "unreadable" if value is None else None
        return Verdict(
            index=request.index,
            kind=request.kind,
            judge="test",
            prompt_hash="",
            raw=raw,
            value=value,
            error=error,
            repeat=repeat,
        )


@pytest.fixture(scope="module")
def toy() -> Path:
    return ensure_tables()


def answers(samples: Sequence[Sample], text: Callable[[Sample], str]) -> dict[str, Prediction]:
    return {s.index: Prediction(index=s.index, prompt="", text=text(s)) for s in samples}


def right(sample: Sample) -> str:
    return sample.target


def metric(task: str, scores: Mapping[str, Sequence[Score]], name: str, protocol: str = "kit") -> dict[str, Any]:
    found: dict[str, Any] = metrics_of(TASKS[task], scores)["protocols"][protocol][name]
    return found


def scored(
    task: str, samples: Sequence[Sample], predictions: Mapping[str, Prediction], judge: Judge | None = None
) -> dict[str, list[Score]]:
    return score_task(TASKS[task], samples, predictions, judge)


EXACT = [name for name, task in TASKS.items() if not task.judged]


@pytest.mark.parametrize("task", EXACT)
def test_right_answers_get_everything(task: str, toy: Path) -> None:
    samples = load_samples(TASKS[task], toy)
    scores = scored(task, samples, answers(samples, right))
    full = {"perception": 2000, "cognition": 800}
    for protocol in set(scores) - ({"kit"} if task == "mathvista" else set()):  # the kit calls lists wrong
        for name in TASKS[task].headline_metrics:
            found = metric(task, scores, name, protocol)
            assert found["value"] == pytest.approx(full.get(name, 100)), protocol
            assert (found["num_unscored"], found["num_samples"] > 0) == (0, True)


@pytest.mark.parametrize("task", TASKS)
def test_missing_and_failed_answers_are_counted_and_not_scored(task: str, toy: Path) -> None:
    samples = load_samples(TASKS[task], toy)
    predictions = answers(samples, right)
    del predictions[samples[0].index]
    failure = "CUDA error: no kernel image"
    predictions[samples[-1].index] = Prediction(index=samples[-1].index, prompt="", text=None, error=failure)
    judge = Judge(lambda request: {"mm_vet": "0.5", "llava_bench": "8 4"}.get(request.kind))
    for scores in scored(task, samples, predictions, judge).values():
        assert [score.index for score in scores] == [sample.index for sample in samples]
        assert (scores[0].value, scores[0].reason) == (None, "missing")
        assert (scores[-1].value, scores[-1].reason) == (None, "error")


def test_a_circular_group_with_an_unscored_roll_is_unscored(toy: Path) -> None:
    samples = load_samples(TASKS["mmbench"], toy)
    predictions = answers(samples, right)
    del predictions[samples[0].index]
    group = [sample for sample in samples if sample.cluster == samples[0].cluster]
    found = metric("mmbench", scored("mmbench", samples, predictions), "overall")
    num_groups = len({sample.cluster for sample in samples})
    assert (found["num_scored"], found["num_units"]) == (len(samples) - len(group), num_groups - 1)
    assert found["value"] == 100
    assert found["num_unscored"] == len(group) >= 2
    assert found["num_samples"] == len(samples)


def test_one_wrong_roll_loses_the_group(toy: Path) -> None:
    samples = load_samples(TASKS["mmbench"], toy)
    predictions = answers(samples, right)
    predictions[samples[0].index] = Prediction(index=samples[0].index, prompt="", text="Z")
    groups = len({sample.cluster for sample in samples})
    assert metric("mmbench", scored("mmbench", samples, predictions), "overall")["value"] == pytest.approx(
        100 - 100 / groups
    )


@pytest.mark.parametrize("task", ["mme", "mmbench"])
def test_half_a_group_in_the_table_is_named_and_not_scored(task: str, toy: Path) -> None:
    """A circular group without a roll, a picture of MME with one question."""
    samples = load_samples(TASKS[task], toy)
    cut = samples[1:]
    scores = scored(task, cut, answers(cut, right))
    left = [score for score in scores["kit"] if score.cluster == samples[0].cluster]
    assert left
    assert {(score.value, score.reason) for score in left} == {(None, "incomplete_group")}
    assert metric(task, scores, TASKS[task].headline_metrics[0])["num_unscored"] == len(left)


ROLLS = [  # options of each rotation, whether the group is whole
    ("all move, either way", ["abcd", "bcda", "cdab", "dabc"], True),
    ("all move, the other way", ["abcd", "dabc", "cdab", "bcda"], True),
    ("the last stays", ["abcd", "cabd", "bcad"], True),
    ("the last two stay", ["abcd", "bacd"], True),
    ("one of four is lost", ["abcd", "dabc", "cdab"], False),
    ("one of three that move is lost", ["abcd", "cabd"], False),
    ("two options", ["ab", "ba"], True),
    ("nothing but the unrotated one", ["abcd"], False),
    ("two options that read the same", ["abb", "bab", "bba"], True),
    ("three that read the same", ["xxx", "xxx", "xxx"], True),
]


@pytest.mark.parametrize(("rolls", "whole"), [case[1:] for case in ROLLS], ids=[case[0] for case in ROLLS])
def test_a_circular_group_has_as_many_rolls_as_options_move(rolls: list[str], whole: bool) -> None:
    members = [
        Sample(
            index=str(7 + number * ROTATION),
            images=(),
            question="?",
            target="A",
            choices=dict(zip("ABCD", roll, strict=False)),
            cluster="7",
            row={},
        )
        for number, roll in enumerate(rolls)
    ]
    assert is_full_circle(members) is whole


def test_a_roll_given_twice_breaks_the_circle(toy: Path) -> None:
    samples = load_samples(TASKS["mmbench"], toy)
    group = [sample for sample in samples if sample.cluster == samples[0].cluster]
    assert is_full_circle(group)
    assert not is_full_circle([*group[:-1], group[0]])


def test_a_third_question_on_a_picture_of_mme_breaks_its_pair(toy: Path) -> None:
    samples = load_samples(TASKS["mme"], toy)
    more = [*samples, replace(samples[0], index="extra")]
    scores = scored("mme", more, answers(more, right))["kit"]
    assert [score.reason for score in scores].count("incomplete_group") == 3


def test_without_a_judge_open_answers_are_unscored(toy: Path) -> None:
    for task in ("mm_vet", "llava_bench"):
        samples = load_samples(TASKS[task], toy)
        scores = scored(task, samples, answers(samples, right))
        assert {score.reason for score in scores["kit"]} == {"no_judge"}
        found = metric(task, scores, "overall")
        assert (found["value"], found["ci95"], found["num_unscored"]) == (None, None, len(samples))


def test_mm_vet_with_a_judge_that_sometimes_fails(toy: Path) -> None:
    samples = load_samples(TASKS["mm_vet"], toy)
    bad = {samples[0].index: "garbage", samples[1].index: None, samples[2].index: "nan", samples[3].index: "1.1"}
    scores = scored("mm_vet", samples, answers(samples, right), Judge(lambda r: bad.get(r.index, "0.4")))
    assert [score.reason for score in scores["kit"][:5]] == ["judge_error"] * 4 + [None]
    found = metric("mm_vet", scores, "overall")
    assert found["value"] == pytest.approx(40)
    assert found["num_unscored"] == 4


def test_repeats_are_averaged_and_all_must_be_readable(toy: Path) -> None:
    samples = load_samples(TASKS["mm_vet"], toy)[:2]
    replies = iter(["0.2", "0.4", "0.9", "0.5", "oops", "0.5"] * 2)
    first, second = scored("mm_vet", samples, answers(samples, right), Judge(lambda _: next(replies), repeats=3))["kit"]
    assert first.value == pytest.approx(0.5)
    assert first.parts == {"repeat_0": 0.2, "repeat_1": 0.4, "repeat_2": 0.9}
    assert (second.value, second.reason) == (None, "judge_error")


def test_llava_bench_is_a_ratio_of_means(toy: Path) -> None:
    samples = load_samples(TASKS["llava_bench"], toy)
    grades = {sample.index: (8 + number % 3, 1 + number % 7) for number, sample in enumerate(samples)}
    judge = Judge(lambda request: "{} {}".format(*grades[request.index]))
    scores = scored("llava_bench", samples, answers(samples, right), judge)
    mine = 100 * sum(answer for _, answer in grades.values()) / sum(reference for reference, _ in grades.values())
    assert metric("llava_bench", scores, "overall")["value"] == pytest.approx(mine)
    assert judge.requests[0].system is not None
    assert judge.requests[0].parameters == {"temperature": 0.2}


def test_the_judge_is_asked_only_what_matching_leaves_open(toy: Path) -> None:
    samples = load_samples(TASKS["seed_image"], toy)
    odd = {samples[0].index, samples[1].index, samples[2].index}
    predictions = answers(samples, lambda s: "I would rather not say" if s.index in odd else s.target)
    replies = {samples[0].index: samples[0].target, samples[1].index: "Z", samples[2].index: "hmm"}
    judge = Judge(lambda request: replies[request.index])
    scores = scored("seed_image", samples, predictions, judge)["kit"]
    assert {request.index for request in judge.requests} == odd
    assert [(score.value, score.reason) for score in scores[:4]] == [
        (1, None),
        (0, None),
        (None, "judge_error"),
        (1, None),
    ]


def test_yes_no_believes_a_judge_that_says_unknown(toy: Path) -> None:
    samples = load_samples(TASKS["pope"], toy)[:3]
    replies = {samples[0].index: samples[0].target, samples[1].index: "Unknown", samples[2].index: "?"}
    judge = Judge(lambda request: replies[request.index])
    scores = scored("pope", samples, answers(samples, lambda _: "perhaps"), judge)["kit"]
    assert [(score.value, score.reason) for score in scores] == [(1, None), (0, None), (None, "judge_error")]


def test_a_rubric_extracts_nothing(toy: Path) -> None:
    """A judge that is not comparable grades open answers of the toy world; matched answers stay matched exactly."""
    samples = load_samples(TASKS["seed_image"], toy)
    judge = Judge(lambda _: "A", comparable=False)
    scores = scored("seed_image", samples, answers(samples, lambda _: "hmm"), judge)["kit"]
    assert judge.requests == []
    assert {score.answer for score in scores} == {"Z"}


def test_official_judge_protocols_are_asked_for_by_name(toy: Path) -> None:
    samples = load_samples(TASKS["mm_vet"], toy)[:2]
    judge = Judge(lambda _: "0.5")
    given = answers(samples, right)
    assert set(score_task(TASKS["mm_vet"], samples, given, judge)) == {"kit", "strict"}
    assert set(score_task(TASKS["mm_vet"], samples, given, judge, ["vlmevalkit", "kit"])) == {"kit"}
    judge.requests.clear()
    assert set(score_task(TASKS["mm_vet"], samples, given, judge, ["official"])) == {"official"}
    assert {request.kind for request in judge.requests} == {"mm_vet_official"}
    with pytest.raises(UserError, match="mm_vet has no protocol 'oficial'; it has kit, strict, official"):
        score_task(TASKS["mm_vet"], samples, given, judge, ["oficial"])


def test_pope_shows_the_size_of_the_kits_defect(toy: Path) -> None:
    """Unreadable on every question with the answer No: wrong for accuracy, and still right in the kit's F1."""
    samples = load_samples(TASKS["pope"], toy)
    predictions = answers(samples, lambda s: "Yes" if s.target == "Yes" else "Maybe")
    scores = scored("pope", samples, predictions)
    assert metric("pope", scores, "accuracy")["value"] == pytest.approx(50)
    assert metric("pope", scores, "f1")["value"] == pytest.approx(100)
    assert metric("pope", scores, "f1", "strict")["value"] == pytest.approx(200 / 3)


def test_mm_vet_shows_the_size_of_the_kits_defect(toy: Path) -> None:
    """Questions with one capability count twice in its mean."""
    samples = load_samples(TASKS["mm_vet"], toy)
    single = {sample.index for sample in samples if sample.groups == ("capability/rec",)}
    judge = Judge(lambda request: "1.0" if request.index in single else "0.0")
    scores = scored("mm_vet", samples, answers(samples, right), judge)
    members = sum("capability/rec" in sample.groups for sample in samples)
    kit, strict = (metric("mm_vet", scores, "capability/rec", protocol)["value"] for protocol in ("kit", "strict"))
    assert strict == pytest.approx(100 * len(single) / members)
    assert kit == pytest.approx(100 * 2 * len(single) / (members + len(single)))
    assert metric("mm_vet", scores, "overall") == metric("mm_vet", scores, "overall", "strict")


def test_mmmu_keeps_its_splits_apart(toy: Path) -> None:
    samples = load_samples(TASKS["mmmu"], toy)
    predictions = answers(samples, lambda s: s.target if s.groups[0] == "val" else "Z")
    scores = scored("mmmu", samples, predictions)
    assert (metric("mmmu", scores, "val")["value"], metric("mmmu", scores, "dev")["value"]) == (100, 0)
    names = set(metrics_of(TASKS["mmmu"], scores)["protocols"]["kit"])
    assert {"val/Art & Design", "dev/Tech & Engineering", "val/Architecture & Engineering"} <= names
    assert len(names) == 2 * (1 + 6 + 30)


def test_cv_bench_averages_sources_and_not_questions(toy: Path) -> None:
    samples = load_samples(TASKS["cv_bench"], toy)
    some = {s.index for s in samples if "ade20k" in s.groups} - {samples[0].index}
    kept = [s for s in samples if s.index not in set(sorted(some)[:100])]
    predictions = answers(kept, lambda s: s.target if "ade20k" in s.groups else "?")
    scores = scored("cv_bench", kept, predictions)
    for protocol in ("official", "cambrian", "kit"):
        assert metric("cv_bench", scores, "2d", protocol)["value"] == pytest.approx(50)
    assert metric("cv_bench", scores, "combined", "official")["value"] == pytest.approx(25)
    assert "combined" not in metrics_of(TASKS["cv_bench"], scores)["protocols"]["kit"]


def test_one_row_of_mmbench_with_an_index_that_is_no_number_does_not_end_the_others_scoring() -> None:
    scores = [
        Score(index=index, protocol="kit", value=value, reason=reason, cluster=index, groups=())
        for index, value, reason in (("1", 1.0, None), ("2", 0.0, None), ("3[", None, "row_error"))
    ]
    found = TASKS["mmbench"].protocols["kit"].estimate(scores)["overall"]
    assert found.value == 50.0
