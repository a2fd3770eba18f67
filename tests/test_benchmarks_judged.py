"""How a judge's replies are read, and what MM-Vet's judge is asked."""

from __future__ import annotations

import pytest

from benchmarks import choice, kit
from benchmarks.errors import UserError
from benchmarks.judged import Extraction, Unreadable
from benchmarks.records import JudgeRequest, Prediction, Sample
from benchmarks.tasks import llava_bench, mm_vet


def sample(target: str) -> Sample:
    return Sample(index="0", images=(), question="What?", target=target, cluster="0", row={})


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("0.6", 0.6),
        ("1", 1.0),
        (" 0.5\n", 0.5),
        (".7", 0.7),
        ("1.", 1.0),
        ("0.8 because", 0.8),
        ("0.8 (partly right)", 0.8),
        ("0.5.", 0.5),
        ("0.5/1.0", 0.5),
        ("0.5 out of 1", 0.5),
        ("**0.5**", 0.5),
        ("$\\boxed{0.5}$", 0.5),
        ("The score is 0.5", 0.5),
        ("Correctness: 1.0", 1.0),
        ("0.5\nbecause 2 of 4 elements are there", 0.5),
        ("Two of four elements are there.\n\n0.5", 0.5),
        ("<think>0.3? No.</think>\n\n0.5", 0.5),
        ("0.3? No.</think>0.5", 0.5),
        ("[THINK]hm[/THINK]0.5", 0.5),
    ],
)
def test_mm_vet_reply(reply: str, grade: float) -> None:
    assert mm_vet.parse_grade(reply) == grade


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("1.1", "1.1 does not lie in 0 to 1"),
        ("-0.1", "no line is a grade"),
        ("nan", "no line is a grade"),
        ("inf", "no line is a grade"),
        ("1e-1", "no line is a grade"),
        ("0,5", "no line is a grade"),
        ("8/10", "8/10 does not lie in 0 to 1"),
        ("0.5 or 0.7", "no line is a grade"),
        ("1 of the 2 elements", "no line is a grade"),
        ("0.5\n\n0.7", "its first and last line differ"),
        ("", "it is empty"),
        ("<think>0.5 or", "it breaks off inside its reasoning"),
        ("<think>0.5</think>\n", "nothing follows its reasoning"),
        ("9" * 5000, "does not lie in 0 to 1"),
    ],
)
def test_mm_vet_reply_that_gives_no_grade(reply: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        mm_vet.parse_grade(reply)


@pytest.mark.parametrize(
    ("reply", "grades"),
    [
        ("8 7", (8, 7)),
        ("8 7\nBecause of 9 things.", (8, 7)),
        ("8, 7", (8, 7)),
        ("8,7", (8, 7)),
        ("8  7", (8, 7)),
        (" 8.5 7 ", (8.5, 7)),
        ("8/10 7/10", (8, 7)),
        ("**8 7**", (8, 7)),
        ("Assistant 1: 8 Assistant 2: 7", (8, 7)),
        ("Assistant 1: 8/10, Assistant 2: 7/10", (8, 7)),
        ("<think>9 9</think>8 7", (8, 7)),
    ],
)
def test_llava_bench_reply(reply: str, grades: tuple[float, float]) -> None:
    assert llava_bench.parse_grades(reply) == grades


@pytest.mark.parametrize(
    "reply", ["8/5 7/5", "8", "8 7 6", "0 7", "8 11", "Assistant 2: 8", "", "I cannot assist with that."]
)
def test_llava_bench_reply_that_gives_no_grades(reply: str) -> None:
    with pytest.raises(Unreadable):
        llava_bench.parse_grades(reply)


def test_mm_vets_official_prompt_is_the_evaluators() -> None:
    """Its few shots by their checksum, its row as mm-vet_evaluator.py joins it."""
    asked = sample("red<AND>blue <OR> green")
    few_shots = mm_vet.official_few_shots()
    assert mm_vet.official_prompt(asked, "It is red\nand blue") == (
        few_shots + "\nWhat? | red <AND> blue  <OR>  green | It is red\nand blue | "
    )
    assert few_shots.startswith("Compare the ground truth")
    assert few_shots.endswith(" | 1.0\n")
    assert few_shots.count("\n") == 11


def test_mm_vets_official_prompt_notices_another_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mm_vet, "EVALUATOR_FEW_SHOTS", "of another text")
    with pytest.raises(UserError, match="not the one of the benchmark's evaluator"):
        mm_vet.official_few_shots.__wrapped__()


def test_an_extractor_may_think_before_it_extracts() -> None:
    """The kit's rule sees the reply without the thoughts, and untouched where there are none."""
    seen: list[str] = []

    class Judge:
        name, comparable = "judge", True

        def grade(self, requests: list[JudgeRequest]) -> list[object]:
            for reply in ("<think>A or B?</think>B", " **B** "):
                requests[0].parse(reply)
            with pytest.raises(Unreadable, match="breaks off"):
                requests[0].parse("<think>A or")
            return []

    asked = JudgeRequest(index="0", kind="extract_choice", prompt="", parse=seen.append)
    reader = Extraction(match=lambda *_: None, request=lambda *_: asked, unmatched="Z")
    reader._ask(Judge(), [(sample("B"), "hm")])  # type: ignore[arg-type]
    assert seen == ["B", " **B** "]


def test_a_rule_of_the_kit_that_raises_leaves_one_sample_unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    def can_infer(answer: str, options: dict[str, str]) -> str:
        if answer == "bad":
            raise OverflowError("int too large")
        return "A"

    monkeypatch.setattr(kit.rules().matching_util, "can_infer", can_infer)
    samples = [
        Sample(
            index=index, images=(), question="", target="A", choices={"A": "cat"}, cluster=index, row={"index": index}
        )
        for index in ("good", "bad")
    ]
    given = [Prediction(index=each.index, prompt="", text=each.index) for each in samples]
    good, bad = choice.extraction().scorer("kit")(samples, given, None)
    assert good.value == 1
    assert (bad.value, bad.reason) == (None, "kit_failed: OverflowError: int too large")
