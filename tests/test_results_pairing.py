"""Which samples of two runs are a pair, and which runs must not be paired."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scored_run_helpers import score, scores, write_scored_run

from benchmarks.errors import UserError
from benchmarks.records import Score
from benchmarks.results.arms import Arm, as_arm
from benchmarks.results.folder import RunFolder, open_run
from benchmarks.results.pairing import (
    UNPAIRED,
    align,
    asked_differently,
    asked_differently_by_arms,
    common_tasks,
    made_differently,
    not_one_recipe,
    pair,
    refusal,
    refuse_probes,
)

TASK = "real_world_qa"


def run(path: Path, own: list[Score], **fields: Any) -> RunFolder:
    return open_run(write_scored_run(path, {TASK: own}, **fields))


def test_samples_are_aligned_by_index_in_the_first_runs_order(tmp_path: Path) -> None:
    a = run(tmp_path / "a", [score(number, value) for number, value in ((3, 1.0), (1, 0.0), (2, 1.0))])
    b = run(tmp_path / "b", [score(number, value) for number, value in ((1, 1.0), (2, 0.0), (3, 1.0))])
    pairs = pair(TASK, "kit", a, b)
    assert [(each.index, each.value) for each in pairs.runs_a[0]] == [("3", 1.0), ("1", 0.0), ("2", 1.0)]
    assert [(each.index, each.value) for each in pairs.runs_b[0]] == [("3", 1.0), ("1", 1.0), ("2", 0.0)]
    assert (pairs.num_left_out, pairs.num_lost) == (0, 0)


def test_everything_left_out_is_counted(tmp_path: Path) -> None:
    """Of eight samples: two pairs; unscored in A, in B, in both; only in A, once scored; only in B."""
    values = {1: 1.0, 2: 0.0, 3: None, 4: 1.0, 5: None, 6: 1.0, 8: None}
    a = run(tmp_path / "a", [score(n, v) for n, v in values.items()])
    b = run(tmp_path / "b", [score(n, v) for n, v in ((1, 1.0), (2, 1.0), (3, 1.0), (4, None), (5, None), (7, 1.0))])
    pairs = pair(TASK, "kit", a, b)
    assert [each.index for each in pairs.runs_a[0]] == ["1", "2", "3", "4", "5"]
    assert [each.value for each in pairs.runs_a[0]] == [1.0, 0.0, None, None, None]
    assert [each.value for each in pairs.runs_b[0]] == [1.0, 1.0, None, None, None]
    assert pairs.num_left_out == 6
    assert pairs.num_lost == 2  # 4 and 6 are scored in A and not in B


def test_an_unpaired_score_gives_nothing_to_a_sum(tmp_path: Path) -> None:
    """Its parts go with its value: a reference's points without an answer's would lower every relative score."""
    a = run(tmp_path / "a", [score(1, 0.8, parts={"reference": 0.9}), score(2, 0.5, parts={"reference": 0.9})])
    b = run(tmp_path / "b", [score(1, None), score(2, 0.6, parts={"reference": 0.9})])
    pairs = pair(TASK, "kit", a, b)
    assert (pairs.runs_a[0][0].value, pairs.runs_a[0][0].reason, dict(pairs.runs_a[0][0].parts)) == (None, UNPAIRED, {})
    assert pairs.runs_b[0][0].reason == "error"  # its own reason stays
    assert dict(pairs.runs_a[0][1].parts) == {"reference": 0.9}


def test_a_sample_twice_is_an_error_in_either_run(tmp_path: Path) -> None:
    twice = run(tmp_path / "twice", [score(1, 1.0), score(2, 1.0), score(1, 0.0)])
    once = run(tmp_path / "once", [score(1, 1.0), score(2, 1.0)])
    for first, second in ((twice, once), (once, twice)):
        with pytest.raises(UserError, match=r"twice/real_world_qa/scores\.jsonl holds a sample twice under kit"):
            pair(TASK, "kit", first, second)


def test_protocols_are_not_mixed(tmp_path: Path) -> None:
    a = run(tmp_path / "a", [score(1, 1.0), score(1, 0.0, protocol="strict")])
    b = run(tmp_path / "b", [score(1, 0.0), score(1, 1.0, protocol="strict")])
    pairs = pair(TASK, "strict", a, b)
    assert ([each.value for each in pairs.runs_a[0]], [each.value for each in pairs.runs_b[0]]) == ([0.0], [1.0])


@pytest.mark.parametrize("other", [{"groups": ("category/x",)}, {"cluster": "another picture"}])
def test_another_question_under_the_same_index_is_an_error(tmp_path: Path, other: dict[str, Any]) -> None:
    a, b = run(tmp_path / "a", [score(1, 1.0)]), run(tmp_path / "b", [score(1, 1.0, **other)])
    with pytest.raises(UserError, match="sample 1 is another question in a than in b"):
        pair(TASK, "kit", a, b)


def tables(**checksums: str) -> dict[str, Any]:
    return {"source": "toy", "tables": {name: {"sha256": checksum * 64} for name, checksum in checksums.items()}}


def test_the_same_is_the_same(tmp_path: Path) -> None:
    a, b = (run(tmp_path / name, scores([1.0]), data=tables(ONE="1", TWO="2")) for name in "ab")
    assert asked_differently(TASK, a, b) == []


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"data": tables(ONE="1")}, "real_world_qa: table TWO has sha256 222222222222... and none"),
        (
            {"data": tables(ONE="1", TWO="2", THREE="3")},
            "real_world_qa: table THREE has sha256 none and 333333333333...",
        ),
        ({"data": tables(ONE="1", TWO="3")}, "real_world_qa: table TWO has sha256 222222222222... and 333333333333..."),
        ({"prompts": "vlmevalkit"}, "real_world_qa: prompts aki and vlmevalkit"),
        ({"judge": {"name": "gpt-x"}}, "real_world_qa: judge none and gpt-x"),
        ({"subset": {"size": 9}}, "real_world_qa: subset none and size 9"),
    ],
)
def test_what_was_asked_differently_is_named(tmp_path: Path, fields: dict[str, Any], sentence: str) -> None:
    common = {"data": tables(ONE="1", TWO="2")}
    a, b = run(tmp_path / "a", scores([1.0]), **common), run(tmp_path / "b", scores([1.0]), **(common | fields))
    assert asked_differently(TASK, a, b) == [sentence]


def test_a_benchmark_is_what_its_file_holds_and_not_where_it_lies(tmp_path: Path) -> None:
    sources = (f"/here/maze.py (sha256 {'1' * 16})", f"there/maze.py (sha256 {'1' * 16})", "maze 1.0")
    a, b, c = (
        run(tmp_path / name, scores([1.0]), definition={"source": source})
        for name, source in zip("abc", sources, strict=True)
    )
    assert asked_differently(TASK, a, b) == []
    assert asked_differently(TASK, b, c) == [f"{TASK}: benchmark by maze.py {'1' * 16} and maze 1.0"]


def test_arms_without_a_task_in_common_say_what_each_has(tmp_path: Path) -> None:
    a, b = (open_run(write_scored_run(tmp_path / name, {name: scores([1.0])})) for name in ("pope", "mme"))
    assert common_tasks(a, a) == ["pope"]
    with pytest.raises(UserError, match=r"^pope and both have no task in common: pope there, none that all its runs"):
        common_tasks(a, Arm("both", (a, b)))


def test_prompts_of_one_name_and_another_text_are_other_prompts(tmp_path: Path) -> None:
    a, b = (write_scored_run(tmp_path / name, {TASK: scores([1.0])}) for name in "ab")
    record = json.loads((b / "run.json").read_text())
    record["tasks"][TASK]["prompts_sha256"] = "e" * 64
    (b / "run.json").write_text(json.dumps(record))
    assert asked_differently(TASK, open_run(a), open_run(b)) == [
        "real_world_qa: hash of the prompts ffffffffffff... and eeeeeeeeeeee..."
    ]


def test_another_headline_protocol_is_named(tmp_path: Path) -> None:
    a, b = (write_scored_run(tmp_path / name, {TASK: scores([1.0])}) for name in "ab")
    file = b / TASK / "metrics.json"
    content = json.loads(file.read_text())
    content |= {"headline": "strict", "protocols": {"strict": content["protocols"]["kit"]}}
    file.write_text(json.dumps(content))
    assert asked_differently(TASK, open_run(a), open_run(b)) == ["real_world_qa: protocol kit and strict"]


def test_only_a_checksum_is_shortened(tmp_path: Path) -> None:
    a, b = (run(tmp_path / name, scores([1.0]), prompts=name * 65) for name in "ab")
    assert f"{TASK}: prompts {'a' * 65} and {'b' * 65}" in asked_differently(TASK, a, b)


def test_a_refusal_names_the_first_and_counts_the_others() -> None:
    assert "asked: one; --allow" in str(refusal(["one"]))
    assert "asked: one (and 1 more); --allow" in str(refusal(["one", "two"]))
    assert "asked: one (and 2 more); --allow" in str(refusal(["one", "two", "three"]))


def test_how_runs_were_made_is_compared_field_by_field(tmp_path: Path) -> None:
    a, b = (write_scored_run(tmp_path / name, {TASK: scores([1.0])}) for name in "ab")
    commit = {"sha": "c" * 64, "dirty": False}
    for path, extra in ((a, {"dtype": "bfloat16"}), (b, {"commit": commit, "command": ["differs", "is not asked"]})):
        record = json.loads((path / "run.json").read_text())
        (path / "run.json").write_text(json.dumps(record | extra))
    assert made_differently(open_run(a), open_run(b)) == [
        ("model.name", "a", "b"),
        ("dtype", "bfloat16", "none"),
        ("commit.sha", "none", "cccccccccccc..."),
        ("commit.dirty", "none", "False"),
    ]


def made(path: Path, own: list[Score] | None = None, **record: Any) -> RunFolder:
    """A run with other fields in its run.json; those of `model` are added to the name."""
    folder = write_scored_run(path, {TASK: own or scores([1.0])})
    content = json.loads((folder / "run.json").read_text())
    content["model"] |= record.pop("model", {})
    (folder / "run.json").write_text(json.dumps(content | record))
    return open_run(folder)


def test_of_two_runs_nobody_is_named_and_of_several_the_first_and_each_other_one(tmp_path: Path) -> None:
    """Each thing that differs stands once, however many runs share it."""
    a, b, c = (run(tmp_path / name, scores([1.0]), prompts=text) for name, text in (("a", "x"), ("b", "y"), ("c", "y")))
    assert asked_differently_by_arms(TASK, as_arm(a), as_arm(b)) == [f"{TASK}: prompts x and y"]
    assert asked_differently_by_arms(TASK, as_arm(a), Arm("two", (b, c))) == [
        f"{TASK}: prompts x and y (a, b)",
        f"{TASK}: prompts x and y (a, c)",
    ]
    assert asked_differently_by_arms(TASK, as_arm(b), as_arm(c)) == []


def test_runs_under_a_probe_are_named_with_what_they_were_asked_under(tmp_path: Path) -> None:
    plain, other = run(tmp_path / "plain", scores([1.0])), run(tmp_path / "other", scores([1.0]))
    blind = replace(other, record=other.record.model_copy(update={"probe": SimpleNamespace(name="blank")}))
    refuse_probes(as_arm(plain), as_arm(plain))
    refuse_probes(as_arm(blind), as_arm(blind))
    with pytest.raises(
        UserError, match=r"^plain was asked plainly and other was asked under the probe blank: such runs"
    ):
        refuse_probes(as_arm(plain), Arm("two", (plain, blind)))


def test_between_arms_counts_what_is_the_same_within_each(tmp_path: Path) -> None:
    """A's runs differ in the device: that says nothing about A against B. B's share a type that A's do not have."""
    a = [made(tmp_path / f"a{n}", device=device, model={"name": "m"}) for n, device in enumerate(("cpu", "cuda"))]
    b = [made(tmp_path / f"b{n}", device="mps", dtype="float32", model={"name": "m"}) for n in range(2)]
    assert made_differently(Arm("a", tuple(a)), Arm("b", tuple(b))) == [("dtype", "none", "float32")]
    assert made_differently(Arm("b", tuple(b)), Arm("a", tuple(a))) == [("dtype", "float32", "none")]


def test_an_arm_s_runs_may_differ_in_what_every_training_has_of_its_own(tmp_path: Path) -> None:
    own = {"weights_sha256": "1" * 64, "training_seed": 1, "attention": "mma"}
    first = made(tmp_path / "a", model=own, versions={"torch": "1"}, device="cpu", dtype="float32")
    others = [
        made(
            tmp_path / name,
            model=own | {"weights_sha256": digit * 64, "training_seed": int(digit)},
            versions={"torch": "2"},
            device="cuda",
            dtype="bfloat16",
        )
        for name, digit in (("b", "2"), ("c", "3"))
    ]
    arm = Arm("mma", (first, *others))
    assert not_one_recipe(arm) == ["mma: its runs differ in dtype (float32, bfloat16)"]
    assert not_one_recipe(Arm("mma", tuple(others))) == []


def test_an_arm_is_aligned_on_what_all_of_its_runs_scored(tmp_path: Path) -> None:
    runs = [run(tmp_path / str(n), scores(values)) for n, values in enumerate(([1.0, 0.0], [1.0, None], [0.0, 1.0]))]
    for size in (1, 2, 3):
        found = align(TASK, "kit", Arm("arm", tuple(runs[:size])))
        assert [[each.value for each in own] for own in found] == [
            [[1.0, 0.0]],
            [[1.0, None], [1.0, None]],
            [[1.0, None], [1.0, None], [0.0, None]],
        ][size - 1]


def test_left_out_and_lost_of_arms(tmp_path: Path) -> None:
    """Lost is what every run of A scored and some run of B did not; what A itself lacks is only left out."""
    values = ([1.0, 1.0, 1.0, None], [1.0, 1.0, None, 1.0], [1.0, None, 1.0, 1.0])
    first, second, third = (run(tmp_path / str(n), scores(own)) for n, own in enumerate(values))
    pairs = pair(TASK, "kit", Arm("a", (first, second)), third)
    assert (pairs.num_left_out, pairs.num_lost) == (3, 1)
    pairs = pair(TASK, "kit", third, Arm("a", (first, second)))
    assert (pairs.num_left_out, pairs.num_lost) == (3, 2)
    pairs = pair(TASK, "kit", first, second, without={"0", "9"})
    assert ([each.index for each in pairs.runs_a[0]], pairs.num_left_out, pairs.num_lost) == (["1", "2", "3"], 2, 1)
