"""The offline judge: readable replies in each protocol's form, and a store that survives a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from aki_eval.judges import make_judge
from aki_eval.judges.offline import extract, reply_to, share_found
from benchmarks.errors import UserError
from benchmarks.records import Judge, JudgeRequest


def read_number(reply: str) -> float | None:
    try:
        return float(reply)
    except ValueError:
        return None


def request(kind: str = "mm_vet", index: str = "1", **facts: str) -> JudgeRequest:
    return JudgeRequest(index=index, kind=kind, prompt=f"prompt {facts}", facts=facts, parse=read_number)


def offline(cache: Path | None = None) -> Judge:
    judge = make_judge("offline", cache=cache)
    assert judge is not None
    return judge


@pytest.mark.parametrize(
    ("reference", "candidate", "share"),
    [
        ("-1 <AND> -5", "x = 3", 0.0),
        ("-1 <AND> -5", "x = -1", 0.5),
        ("-1 <AND> -5", "x = -5 or 5", 0.5),
        ("-1 <AND> -5", "x = -1 or x = -5", 1.0),
        ("4 <OR> four", "There are four.", 1.0),
        ("red <AND> blue <OR> none", "None of them", 1.0),
        ("a red ball", "The ball is blue", 0.5),
        ("seven", "", 0.0),
    ],
)
def test_mm_vet_rubric(reference: str, candidate: str, share: float) -> None:
    assert share_found(reference, candidate) == share


def test_llava_reply_has_the_reference_first() -> None:
    facts = {"reference": "a big red square", "candidate": "a small blue circle"}
    assert reply_to(request("llava_bench", **facts)) == "10 1"
    assert reply_to(request("llava_bench", **{**facts, "candidate": facts["reference"]})) == "10 10"


@pytest.mark.parametrize(
    ("candidate", "choices", "reply"),
    [
        ("The square, I think", {"A": "circle", "B": "square"}, "B"),
        ("Option B it must be", {"A": "circle", "B": "square"}, "B"),
        ("circle or square", {"A": "circle", "B": "square"}, "Unknown"),
        ("no idea, sorry", {}, "No"),
        ("yes and no", {}, "Unknown"),
        ("there are 12 of them", {}, "12"),
        ("somewhere between 3 and 4", {}, "Unknown"),
        ("", {}, "Unknown"),
    ],
)
def test_extraction_never_guesses(candidate: str, choices: dict[str, str], reply: str) -> None:
    assert extract(candidate, choices) == reply


def test_grades_in_order_and_is_labelled() -> None:
    judge = offline()
    requests = [request(index=str(i), reference="four", candidate=text) for i, text in enumerate(["four", "five"])]
    assert [(verdict.index, verdict.value) for verdict in judge.grade(requests)] == [("0", 1.0), ("1", 0.0)]
    assert not judge.comparable
    assert "not comparable to GPT-4" in judge.name


def test_store_is_appended_once(tmp_path: Path) -> None:
    cache = tmp_path / "mm_vet" / "verdicts.jsonl"
    for _ in range(2):
        offline(cache).grade([request(reference="four", candidate="four")])
    assert len(cache.read_text().splitlines()) == 1


def test_store_mends_a_line_cut_by_a_kill(tmp_path: Path) -> None:
    cache = tmp_path / "verdicts.jsonl"
    first, second = (request("llava_bench", reference="four", candidate=word) for word in ("four", "fünf 是"))
    offline(cache).grade([first])
    whole = cache.read_text()
    for left_open in (whole[:40].encode(), whole[:-1].encode(), '{"raw": "是'.encode()[:-1]):
        cache.write_bytes(whole.encode() + left_open)
        offline(cache).grade([first, second])
        offline(cache).grade([first, second])  # the mended file reads again
        assert cache.read_text().startswith(whole)


def test_damage_inside_the_store_is_an_error(tmp_path: Path) -> None:
    cache = tmp_path / "verdicts.jsonl"
    cache.write_text("{nonsense}\n{}\n")
    with pytest.raises(UserError, match=r"verdicts.jsonl:1 is not a verdict"):
        offline(cache)


def test_none_and_unknown_names() -> None:
    assert make_judge("none") is None
    with pytest.raises(UserError, match="no rubric"):
        offline().grade([request("poetry", reference="a", candidate="b")])
    with pytest.raises(UserError, match="needs the fact 'candidate'"):
        offline().grade([request(reference="a")])
