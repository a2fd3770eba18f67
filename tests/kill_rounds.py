"""Kills every long command at random moments, and looks at what is left: `python tests/kill_rounds.py --rounds 20`.

Each round forks the work, kills it with SIGKILL at a moment drawn evenly from the time it takes undisturbed, kills the
second start the same way in every other round, and lets the last one end. Nothing that was stored may be lost, nothing
may be there twice, and the end must equal that of an undisturbed start. Prints a line for each kind of work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a process with threads of its own cannot be forked
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import openai  # noqa: E402, F401 - so that the children need not
from fault_helpers import forked, was_killed  # noqa: E402
from html_helpers import write_answered_run  # noqa: E402
from judge_server import JudgeServer, Slow  # noqa: E402
from reports_helpers import plan  # noqa: E402
from run_helpers import TASK, ScriptedPredictor, results, write_table  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from train_helpers import machine, parts, sft, weights, write_root  # noqa: E402

from aki_eval.commands.import_ import command as import_answers  # noqa: E402
from aki_eval.commands.score import score as score_again  # noqa: E402
from aki_eval.run.progress import Progress  # noqa: E402
from aki_eval.run.run import RunOptions, run  # noqa: E402
from benchmarks.data.load import load_samples  # noqa: E402
from benchmarks.results.folder import open_runs  # noqa: E402
from benchmarks.tasks import TASKS  # noqa: E402
from benchmarks.toy_world import ensure_tables  # noqa: E402
from reports.pages import write_site  # noqa: E402
from train.run_stage import run_stage  # noqa: E402

CONCURRENCY = 4


@dataclass(frozen=True)
class Work:
    """`go` works in a folder that `prepare` made; `end` must be the same, `check` holds at every moment."""

    go: Callable[[Path], Any]
    end: Callable[[Path], Any]
    prepare: Callable[[Path], Any] = lambda folder: folder.mkdir(parents=True)
    check: Callable[[Path], Any] = lambda folder: None


def content(folder: Path, *left_out: str) -> dict[str, bytes]:
    """Every file of a folder but locks and those that hold when something was done."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in left_out and not path.name.endswith(".lock")
    }


def whole_lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def no_index_twice(path: Path) -> None:
    counts = Counter(line["index"] for line in whole_lines(path))
    assert not counts or max(counts.values()) == 1, f"{path.name} holds an index twice"


# aki-eval run.


class Slowly(ScriptedPredictor):
    """Answers as the others do, in a time that a kill can fall into."""

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        time.sleep(0.01)
        return super().predict(*args, **kwargs)


def go_run(folder: Path) -> None:
    options = RunOptions(tasks=[TASK], data=str(folder / "tables"), out=folder / "out", batch_size=4)
    run(options, Slowly(), Progress(quiet=True))


def prepare_run(folder: Path) -> None:
    write_table(folder / "tables", rows=120)


def check_run(folder: Path) -> None:
    no_index_twice(folder / "out/small/predictions.jsonl")


# aki-eval score, with a judge that takes its time.


def prepare_score(folder: Path) -> None:
    folder.mkdir(parents=True)
    samples = load_samples(TASKS["mm_vet"], ensure_tables())
    rows = [{"index": sample.index, "prediction": f"answer {sample.index}"} for sample in samples]
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = folder / "answers.jsonl"
    unjudged = {"judge": "none", "allow_partial": True}
    import_answers(bench="mm_vet", predictions=[answers], out=folder / "out", data="toy", name="a-model", **unjudged)


def score_with(server: JudgeServer) -> Callable[[Path], None]:
    def go(folder: Path) -> None:
        score_again(folder / "out", judge="judge-1", judge_base_url=server.url, judge_concurrency=CONCURRENCY)

    return go


def end_score(folder: Path) -> Any:
    metrics = json.loads((folder / "out/mm_vet/metrics.json").read_text())
    return (
        (folder / "out/mm_vet/scores.jsonl").read_bytes(),
        metrics["protocols"],
        sorted((line["index"], line["raw"]) for line in whole_lines(folder / "out/mm_vet/verdicts.jsonl")),
    )


# aki-eval import.


def prepare_import(folder: Path) -> None:
    folder.mkdir(parents=True)
    samples = load_samples(TASKS["pope"], ensure_tables())
    (folder / "answers.jsonl").write_text(
        "".join(json.dumps({"index": sample.index, "prediction": "Yes"}) + "\n" for sample in samples)
    )


def go_import(folder: Path) -> None:
    import_answers(bench="pope", predictions=[folder / "answers.jsonl"], out=folder / "out", data="toy", name="a-model")


def end_import(folder: Path) -> Any:
    return {name: text for name, text in content(folder / "out", "run.json").items() if name.startswith("pope/")}


# aki-eval report.


def prepare_report(folder: Path) -> None:
    for seed, name in enumerate(("first", "second")):
        write_answered_run(folder / name, seed)
    write_site(plan(open_runs([folder / "first"])), folder / "html")


def go_report(folder: Path) -> None:
    write_site(plan(open_runs([folder / "second"])), folder / "html")


def check_report(folder: Path) -> None:
    places = [folder / "html/index.html", folder / ".html.old/index.html"]
    assert any(path.exists() for path in places), "no report is left"


# aki-train.


def go_train(folder: Path) -> None:
    model, processor = parts()
    setup = machine(2, save_steps=2)
    run_stage(sft(steps=8), model, processor, data_root=ROOT / "world", out=folder / "stage", machine=setup)
    save_file(weights(model), folder / "weights.safetensors")


def end_train(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


# The rounds.


def quietly(function: Callable[[Path], Any], folder: Path) -> None:
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        function(folder)


def killed(work: Callable[[], Any], seconds: float | None) -> bool:
    """Runs `work` in a child and kills it after `seconds`; False where it ended before. Its failure is ours."""

    def silently() -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stderr = StringIO()
        work()

    child = forked(silently)
    if seconds is not None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return was_killed(status)
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return was_killed(status)


def rounds(name: str, work: Work, number: int, draw: random.Random, paid: Callable[[], int] | None = None) -> None:
    folder = ROOT / name  # one place for all, because reports hold it
    quietly(work.prepare, folder)
    started = time.monotonic()
    killed(lambda: work.go(folder), None)
    seconds = time.monotonic() - started
    expected = work.end(folder)
    shutil.rmtree(folder)
    num_kills = most_paid = 0
    for turn in range(number):
        quietly(work.prepare, folder)
        before = paid() if paid else 0
        kills = 0
        for _ in range(1 + turn % 2):
            kills += killed(lambda: work.go(folder), draw.uniform(0, seconds))
            work.check(folder)
        killed(lambda: work.go(folder), None)
        work.check(folder)
        assert work.end(folder) == expected, f"{name}, round {turn}: not what an undisturbed start leaves"
        if paid:
            extra = paid() - before - len(expected[2])
            assert 0 <= extra <= CONCURRENCY * kills, f"{name}, round {turn}: {extra} replies were paid twice"
            most_paid = max(most_paid, extra)
        num_kills += kills
        shutil.rmtree(folder)
    more = f", at most {most_paid} replies that were in flight paid again" if paid else ""
    print(f"{name}: {number} rounds, {num_kills} kills, each end as undisturbed ({seconds:.2f} s){more}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="for each kind of work")
    parser.add_argument("--seed", type=int, default=2503)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with JudgeServer(lambda body, nth: Slow(0.02, "0.5")) as server:
        works = {
            "run": Work(
                go_run,
                lambda folder: results(folder / "out"),
                prepare_run,
                lambda f: no_index_twice(f / "out/small/predictions.jsonl"),
            ),
            "score": Work(score_with(server), end_score, prepare_score),
            "import": Work(go_import, end_import, prepare_import),
            "report": Work(go_report, lambda folder: content(folder / "html"), prepare_report, check_report),
            "train": Work(go_train, end_train),
        }
        write_root(ROOT / "world")
        for name, work in works.items():
            rounds(name, work, options.rounds, draw, (lambda: len(server.asked)) if name == "score" else None)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        ROOT = Path(temporary)
        main()
