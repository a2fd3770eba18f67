"""Two judges on the same answers, over the whole way: import, judge through a server, compare the verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from judge_server import JudgeServer, Script

from aki_eval.commands.import_ import command as import_answers
from aki_eval.commands.judge_agreement import agreements, command
from aki_eval.commands.score import score
from benchmarks.data.load import load_samples
from benchmarks.errors import UserError
from benchmarks.results.folder import open_run
from benchmarks.tasks import TASKS
from benchmarks.toy_world import ensure_tables


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-the-local-server")


def judged_run(root: Path, script: Script, task: str = "mm_vet", answer: str = "red") -> Path:
    """A run whose answers a server has judged; 32 questions got the same `answer`."""
    samples = load_samples(TASKS[task], ensure_tables())[:32]
    root.mkdir(parents=True)
    file = root / "answers.json"
    file.write_text(json.dumps({sample.index: answer for sample in samples}))
    with JudgeServer(script) as server:
        import_answers(
            bench=task, predictions=[file], out=root / "run", data="toy", judge="judge", judge_base_url=server.url,
            allow_partial=True,
        )  # fmt: skip
    return root / "run"


def grade(right: str, wrong: str) -> Script:
    """Judges by whether the reference is red, which the prompt holds between bars."""
    return lambda body, nth: right if "| red | red |" in body["messages"][-1]["content"] else wrong


def test_offset_between_two_judges(tmp_path: Path) -> None:
    strict = open_run(judged_run(tmp_path / "strict", grade("0.5", "0.0")))
    kind = open_run(judged_run(tmp_path / "kind", grade("1.0", "0.0")))
    found = agreements(strict, kind, None, None)[0]
    score = strict.results["mm_vet"].protocols["kit"]["overall"].value
    assert score
    overall = found.offsets[0]
    assert (overall.metric, overall.a, overall.b) == ("overall", pytest.approx(score), pytest.approx(2 * score))
    assert overall.ci95 is not None
    assert overall.ci95[0] < score < overall.ci95[1]
    num_red = found.num_answers * score / 50
    assert found.share_equal == pytest.approx(1 - num_red / found.num_answers)
    assert found.mean_absolute == pytest.approx(score / 100)
    assert found.spearman == pytest.approx(1.0)
    assert found.largest[0][1:] == (0.5, 1.0)
    assert strict.results["mm_vet"].judge is not None
    assert "judge at 127.0.0.1" in strict.results["mm_vet"].judge["name"]


def test_unreadable_verdicts_are_not_compared(tmp_path: Path) -> None:
    a = open_run(judged_run(tmp_path / "a", grade("1.0", "0.0")))
    b = open_run(judged_run(tmp_path / "b", grade("1.0", "I cannot say")))
    found = agreements(a, b, None, None)[0]
    assert 0 < found.num_answers < 32
    assert found.num_only_one == 32 - found.num_answers
    assert found.share_equal == 1.0
    assert found.spearman is None  # one judge, one grade
    assert not b.results["mm_vet"].complete


def test_pairs_of_grades(tmp_path: Path) -> None:
    a, b = (judged_run(tmp_path / pair, lambda body, nth, pair=pair: pair, "llava_bench") for pair in ("8 4", "8 6"))
    found = agreements(open_run(a), open_run(b), None, None)[0]
    assert (found.offsets[0].a, found.offsets[0].b) == (pytest.approx(50.0), pytest.approx(75.0))
    assert found.mean_absolute == pytest.approx(2.0)


def test_other_answers_are_not_compared(tmp_path: Path) -> None:
    a = open_run(judged_run(tmp_path / "a", grade("1.0", "0.0")))
    b = open_run(judged_run(tmp_path / "b", grade("1.0", "0.0"), answer="blue"))
    with pytest.raises(UserError, match="graded no answer in common"):
        agreements(a, b, None, None)


def test_needs_two_judges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = judged_run(tmp_path / "a", grade("1.0", "0.0"))
    b = judged_run(tmp_path / "b", grade("1.0", "0.0"))
    with pytest.raises(UserError, match="no verdicts of two judges"):
        command(a)
    with (a / "mm_vet" / "verdicts.jsonl").open("a") as file:  # as if scored with both judges in one folder
        file.write((b / "mm_vet" / "verdicts.jsonl").read_text())
    capsys.readouterr()
    command(a, format="json")
    assert json.loads(capsys.readouterr().out)[0]["mean_absolute"] == 0.0
    command(a, format="term")
    assert "100% of the grades equal" in capsys.readouterr().out
    with pytest.raises(UserError, match="--judge-a: not given, expected one of judge at"):
        command(a, b)
    names: list[Any] = [verdict.judge for verdict in open_run(b).verdicts("mm_vet")]
    command(a, b, judge_a=names[0], format="md")
    assert "| overall |" in capsys.readouterr().out


def test_a_judge_that_is_not_stored_replaces_no_metrics(tmp_path: Path) -> None:
    """Of several tasks, the last is the one whose verdicts lack it: nothing of the first may be gone by then."""
    run = judged_run(tmp_path / "a", grade("1.0", "0.0"))
    answers = tmp_path / "pope.json"
    answers.write_text(json.dumps({sample.index: "Yes" for sample in load_samples(TASKS["pope"], ensure_tables())}))
    import_answers(
        bench="pope", predictions=[answers], out=run, data="toy", name="answers", judge="none", allow_partial=True
    )
    before = {path: path.read_bytes() for path in run.glob("[!.]*/*")}
    with pytest.raises(UserError, match=r"holds verdicts of judge at .*choose one with --judge replay:NAME"):
        score(run, judge="replay:nope")
    assert {path: path.read_bytes() for path in run.glob("[!.]*/*")} == before
