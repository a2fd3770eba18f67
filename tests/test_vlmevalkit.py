"""VLMEvalKit's own loop with AKI registered in it: the same answers and the same scores as ours, on every toy table.

The kit runs as its users run it: `aki-eval vlmevalkit`, one process, its own inference and evaluation. Whatever needs a
judge asks a server on this machine whose replies are a function of the prompt, on both sides.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from judge_server import JudgeServer
from kit_worker import canned_reply
from predictor_helpers import write_checkpoint

from aki_eval.cli import main
from aki_eval.judges import JudgeOptions
from aki_eval.predictors import make_predictor
from aki_eval.run.inputs import find_tasks
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from aki_eval.run.subset import Subset, choose
from benchmarks.data.load import load_samples
from benchmarks.tasks import TASKS
from benchmarks.toy_world import ensure_tables

JUDGE = "gpt-4o-mini-2024-07-18"
"""What the kit's alias gpt-4o-mini stands for: both sides ask the same model."""

NOTHING_DONE: subprocess.CompletedProcess[str] = subprocess.CompletedProcess([], 0)

TABLES = [table.name for task in TASKS.values() for table in task.tables]


def write_small_tables(root: Path) -> Path:
    """Some thirty rows of each toy table: whole groups, every subtask."""
    root.mkdir()
    official = ensure_tables()
    for task in TASKS.values():
        chosen = {sample.index for sample in choose(task.name, load_samples(task, official), Subset(size=28))}
        for table in task.tables:
            with (official / f"{table.name}.tsv").open(newline="") as file:
                rows = list(csv.reader(file, delimiter="\t"))
            place = rows[0].index("index")
            prefix = f"{table.name}/" if len(task.tables) > 1 else ""
            kept = [row for row in rows[1:] if prefix + row[place] in chosen]
            with (root / f"{table.name}.tsv").open("w", newline="") as file:
                csv.writer(file, delimiter="\t", lineterminator="\n").writerows([rows[0], *kept])
    return root


@dataclass(frozen=True)
class Both:
    """What the kit left behind, what we did, and what the kit printed."""

    kit: Path
    ours: Path
    log: str


@pytest.fixture(scope="module")
def both(warm: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("both")
    checkpoint = write_checkpoint(folder / "model")
    tables = write_small_tables(folder / "tables")
    environment = os.environ | {"HOME": str(folder), "OPENAI_API_KEY": "sk-not-to-be-seen-anywhere"}
    arguments = ["--model", f"tiny={checkpoint}", "--data", *TABLES, "--tables", str(tables), "--max-new-tokens", "6"]
    with JudgeServer(lambda body, _: canned_reply(body["messages"][-1]["content"])) as server:
        judge = ["--judge", JUDGE, "--judge-base-url", server.url, "--api-nproc", "64"]
        done = subprocess.run(
            [warm / "aki-eval", "vlmevalkit", *arguments, *judge, "--work-dir", str(folder / "kit")],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        options = RunOptions(
            tasks=find_tasks("all"),
            data=str(tables),
            out=folder / "ours",
            prompts="vlmevalkit",
            max_new_tokens=6,
            judge=JudgeOptions(name=JUDGE, base_url=server.url),
        )
        run(options, make_predictor(str(checkpoint), device="cpu"), Progress(quiet=True))
    assert not (folder / "LMUData").exists(), "the kit's import makes ~/LMUData"
    return Both(folder / "kit/tiny", folder / "ours", done.stdout + done.stderr)


def rows(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def our_answers(ours: Path, task: str) -> dict[str, str]:
    lines = (ours / task / "predictions.jsonl").read_text().splitlines()
    return {line["index"]: line["prediction"] for line in map(json.loads, lines)}


@pytest.mark.parametrize("task", TASKS)
def test_answers_are_the_same(both: Both, task: str) -> None:
    ours = our_answers(both.ours, task)
    theirs = {}
    for table in TASKS[task].tables:
        prefix = f"{table.name}/" if len(TASKS[task].tables) > 1 else ""
        answers = rows(both.kit / f"tiny_{table.name}.tsv", "\t")
        theirs |= {prefix + row["index"]: row["prediction"] for row in answers}
    assert len(set(ours.values())) > 3, "answers that never differ prove nothing"
    assert theirs == ours


def kit_number(both: Both, file: str, column: str, **where: str) -> float:
    (row,) = (row for row in rows(both.kit / file) if all(row[name] == value for name, value in where.items()))
    return float(row[column])


@pytest.mark.parametrize(
    ("task", "metric", "file", "column", "where", "scale"),
    [
        ("mme", "perception", "tiny_MME_score.csv", "perception", {}, 1),
        ("mme", "cognition", "tiny_MME_score.csv", "reasoning", {}, 1),
        ("pope", "f1", "tiny_POPE_score.csv", "Overall", {"split": "Overall"}, 1),
        ("pope", "accuracy", "tiny_POPE_score.csv", "acc", {"split": "Overall"}, 1),
        ("mmbench", "overall", "tiny_MMBench_DEV_EN_acc.csv", "Overall", {}, 100),
        ("seed_image", "overall", "tiny_SEEDBench_IMG_acc.csv", "Overall", {}, 100),
        ("real_world_qa", "overall", "tiny_RealWorldQA_acc.csv", "Overall", {}, 100),
        ("mmmu", "val", "tiny_MMMU_DEV_VAL_acc.csv", "Overall", {"split": "validation"}, 100),
        ("cv_bench", "2d", "tiny_CV-Bench-2D_acc.csv", "Overall", {}, 100),
        ("cv_bench", "3d", "tiny_CV-Bench-3D_acc.csv", "Overall", {}, 100),
        ("mathvista", "overall", f"tiny_MathVista_MINI_{JUDGE}_score.csv", "acc", {"Task&Skill": "Overall"}, 1),
        ("mm_vet", "overall", f"tiny_MMVet_{JUDGE}_score.csv", "acc", {"Category": "Overall"}, 1),
        ("llava_bench", "overall", "tiny_LLaVABench_score.csv", "Relative Score (main)", {"split": "overall"}, 1),
    ],
)
def test_scores_are_the_same(
    both: Both, task: str, metric: str, file: str, column: str, where: dict[str, Any], scale: float
) -> None:
    metrics = json.loads((both.ours / task / "metrics.json").read_text())
    ours = metrics["protocols"]["kit"][metric]
    theirs = scale * kit_number(both, file, column, **where)
    assert ours["num_unscored"] == 0
    # The kit rounds LLaVA-Bench to one decimal.
    assert ours["value"] == pytest.approx(theirs, abs=0.05 if task == "llava_bench" else 1e-6)


def test_the_judges_key_is_nowhere(both: Both) -> None:
    assert "sk-not-to-be-seen" not in both.log
    for path in both.kit.parent.rglob("*"):
        if path.is_file() and path.suffix in (".log", ".json", ".csv", ".tsv", ".txt"):
            assert "sk-not-to-be-seen" not in path.read_text(errors="replace"), path


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str]]:
    """`aki-eval vlmevalkit` with a kit that does nothing and reports success, as the real one does when it fails."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    monkeypatch.setattr("aki_eval.commands.vlmevalkit.subprocess.run", lambda *_, **__: NOTHING_DONE)

    def call(*arguments: str) -> tuple[int, str]:
        given = ["--model", f"m={tmp_path / 'model'}", "--data", "MME", "--tables", "toy"]
        monkeypatch.setattr(
            sys, "argv", ["aki-eval", "vlmevalkit", *given, "--work-dir", str(tmp_path / "kit"), *arguments]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().err

    return call


def test_success_without_results_is_a_failure(command: Callable[..., tuple[int, str]]) -> None:
    code, said = command()
    assert code == 1
    assert "VLMEvalKit left no predictions of MME by m" in said


def test_old_predictions_are_not_scored_as_new_ones(command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "kit/m").mkdir(parents=True)
    (tmp_path / "kit/m/m_MME.tsv").write_text("")
    code, said = command()
    assert (code, "is there already" in said) == (2, True)
    code, said = command("--reuse")
    assert (code, "left no scores of MME" in said) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--judge-key", "sk-secret-secret"),
        ("--judge-ke=sk-secret-secret",),
        ("--judge-k", "sk-secret-secret"),
        ("--judge-args", '{"key": "sk-secret-secret"}'),
        ("--judge-base-url", "http://me:sk-secret-secret@host/v1"),
    ],
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(
    command: Callable[..., tuple[int, str]], arguments: tuple[str, ...]
) -> None:
    code, said = command(*arguments)
    assert (code, "set OPENAI_API_KEY instead" in said, "sk-secret" in said) == (2, True, False)
