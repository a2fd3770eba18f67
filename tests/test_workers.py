"""Workers at one run folder: they come late, die, stand still and are added; every question once, the same results."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from forked import forking
from run_helpers import TASK, ScriptedPredictor, prompt, results, write_table
from run_worker import work

from aki_eval.judges import JudgeOptions
from aki_eval.run.chunks import LARGEST, SMALLEST, cut
from aki_eval.run.distributed import World, find_world
from aki_eval.run.inputs import find_tasks
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, RunResult, run
from aki_eval.run.subset import Subset
from aki_eval.run.threads import VARIABLE as THREADS
from aki_eval.run.threads import share_machine
from benchmarks.errors import UserError
from benchmarks.results import roll

ROWS = 120
WORKER = Path(__file__).with_name("run_worker.py")
VARIABLES = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "JOB_COMPLETION_INDEX"),
    *("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_JOB_ID", "SLURM_STEP_ID"),
    *("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"),
)


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


class Team:
    """Real processes at one run folder, made by a fork server that has everything imported."""

    def __init__(self, root: Path, rows: int = ROWS) -> None:
        self.tables = write_table(root / "tables", rows=rows, pictures=30)
        self.out, self.log = root / "run", root / "log"
        self.context = forking()
        self.workers: list[BaseProcess] = []

    def start(self, seconds: float = 0.02, **options: Any) -> BaseProcess:
        process = self.context.Process(
            target=_quietly, args=(self.out.parent / "said", self.tables, self.out, self.log, seconds, options)
        )
        process.start()
        self.workers.append(process)
        return process

    def go(self, **options: Any) -> RunResult:
        """In this process."""
        given: dict[str, Any] = {"tasks": [TASK], "data": str(self.tables), "out": self.out, "batch_size": 4} | options
        return run(RunOptions(**given), ScriptedPredictor(), Progress(quiet=True))

    def asked(self) -> list[str]:
        return self.log.read_text().split("\n")[:-1] if self.log.exists() else []

    def wait_asked(self, number: int) -> None:
        while len(self.asked()) < number:
            time.sleep(0.005)

    def said(self) -> list[str]:
        said = self.out.parent / "said"
        return said.read_text().splitlines() if said.exists() else []

    def read(self, name: str) -> Any:
        return json.loads((self.out / name).read_text())

    def wait_all(self) -> list[int | None]:
        for worker in self.workers:
            worker.join(60)
        return [worker.exitcode for worker in self.workers]


def _quietly(said: Path, tables: Path, out: Path, log: Path, seconds: float, options: dict[str, Any]) -> None:
    with said.open("a", buffering=1) as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        work(tables, out, log, seconds, **options)


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    team = Team(tmp_path)
    yield team
    for worker in team.workers:
        worker.kill()
        worker.join()


def found(out: Path) -> dict[str, Any]:
    """And no file of a worker is left."""
    return results(out) | {"files": sorted(path.name for path in (out / "small").iterdir())}


@pytest.fixture
def undisturbed(team: Team, tmp_path: Path) -> dict[str, Any]:
    """Results of one process that nobody disturbs."""
    team.go(out=tmp_path / "undisturbed")
    return found(tmp_path / "undisturbed")


def test_killed_at_random_on_two_hosts_and_replaced_every_question_stands_once(
    team: Team, undisturbed: dict[str, Any]
) -> None:
    source, kills = random.Random(2503), 0
    for name in ("node1", "node1", "node2", None):
        team.start(host=name, join=True)
    while len(set(team.asked())) < ROWS - 8:
        time.sleep(source.uniform(0.0, 0.05))
        living = [worker for worker in team.workers if worker.is_alive()]
        if kills < 6 and living:
            source.choice(living).kill()
            kills += 1
            team.start(host=source.choice(["node1", "node2", "node3", None]), join=True)
    codes = team.wait_all()
    assert found(team.out) == undisturbed
    assert codes.count(-signal.SIGKILL) <= kills == 6
    assert set(codes) == {0, -signal.SIGKILL}
    assert team.said() == ["scored"]
    asked = Counter(team.asked())
    assert set(asked) == {str(index) for index in range(ROWS)}
    assert asked.total() <= ROWS + 2 * 4 * kills  # what was in flight, or on its way to the disk
    session = team.read("run.json")["sessions"][-1]
    assert session["finished"]
    assert session["world_size"] == len(session["workers"]) > 1


def test_workers_share_what_there_is_and_one_scores(team: Team, undisturbed: dict[str, Any]) -> None:
    hold = team.log.with_name("hold")
    hold.touch()
    first = team.start()  # not knowing that anybody will come
    team.wait_asked(4)
    with pytest.raises(UserError, match=r"another process is working on .* --join works with it"):
        team.go()
    for _ in range(2):
        team.start(join=True)
    while len(list((team.out / ".workers/1").glob("[0-9]"))) < 3:
        time.sleep(0.01)
    hold.unlink()
    assert team.wait_all() == [0, 0, 0]
    assert team.said() == ["scored"]
    assert found(team.out) == undisturbed
    assert sorted(map(int, team.asked())) == list(range(ROWS))
    (session,) = team.read("run.json")["sessions"]
    assert f"-{first.pid}-" in session["workers"][0]
    assert session["num_predicted"] == {"small": ROWS}
    assert len(session["workers"]) == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"version": "2"}, "holds another run: model.version was '1' and would now be '2'"),
        ({"tasks": [TASK, replace(TASK, name="other")]}, "the workers there are at small, and this one would be at"),
        ({"fresh": True}, "--fresh: nothing says which workers belong together"),
    ],
)
def test_who_is_not_at_the_same_run_is_refused_and_the_others_go_on(
    team: Team, options: dict[str, Any], says: str
) -> None:
    first = team.start(join=True)
    team.wait_asked(4)
    if "version" in options:
        other = team.start(join=True, **options)
        other.join(20)
        assert other.exitcode == 2
        assert any(says in line for line in team.said())
    else:
        with pytest.raises(UserError, match=says):
            team.go(join=True, **options)
    first.join(30)
    assert first.exitcode == 0
    assert found(team.out)["complete"]


def test_who_dies_while_scoring_is_followed_by_another_that_asks_nothing(
    team: Team, undisturbed: dict[str, Any]
) -> None:
    team.start(0.0, join=True, dies_scoring=True)
    assert team.wait_all() == [9]
    assert not (team.out / "small/metrics.json").exists()
    num_asked = len(team.asked())
    result = team.go(join=True)
    assert (result.scored, result.num_predicted, len(team.asked())) == (True, 0, num_asked)
    assert found(team.out) == undisturbed


def test_who_dies_before_it_is_ready_is_followed_by_those_who_wait(
    team: Team, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    team.out.mkdir()
    ended = subprocess.Popen(["sleep", "60"])
    worker = replace(roll.this_process(), pid=ended.pid, started=str(roll._started(ended.pid)))
    assert roll.enter(team.out, worker, joins=True) is not None
    waiting = [team.start(join=True) for _ in range(2)]
    time.sleep(0.3)
    assert all(each.is_alive() for each in waiting)
    assert not (team.out / "run.json").exists()
    ended.kill()
    ended.wait()
    assert team.wait_all() == [0, 0]
    assert found(team.out) == undisturbed
    assert team.said() == ["scored"]


def test_another_hosts_worker_is_believed_dead_by_its_silence_only(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    first = team.start(0.05, host="node1", join=True)
    team.wait_asked(4)
    for name in ("BEAT_SECONDS", "STALE_SECONDS", "POLL_SECONDS"):
        monkeypatch.setattr(roll, name, {"BEAT_SECONDS": 0.1, "STALE_SECONDS": 1.5, "POLL_SECONDS": 0.05}[name])
    with pytest.raises(UserError, match=r"another process is working on .* \(node1, process"):
        team.go()
    first.kill()
    first.join()
    start = time.monotonic()
    assert team.go().results[0].complete
    assert time.monotonic() - start >= 1.4
    assert [session["finished"] is None for session in team.read("run.json")["sessions"]] == [True, False]


def test_a_worker_that_stood_still_for_long_is_given_up_and_writes_nothing_more(
    team: Team, undisturbed: dict[str, Any]
) -> None:
    still = team.start(0.05, host="node1", join=True)
    team.wait_asked(8)
    assert still.pid is not None
    os.kill(still.pid, signal.SIGSTOP)
    second = team.start(0.0, host="node2", join=True)
    second.join(30)
    assert second.exitcode == 0
    assert found(team.out) == undisturbed
    os.kill(still.pid, signal.SIGCONT)
    still.join(30)
    assert still.exitcode == 2
    assert any("this process stood still for more than 1 s" in line for line in team.said())
    assert found(team.out) == undisturbed


def test_late_workers_of_a_job_do_nothing_again(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    assert team.go().scored
    scored = (team.out / "small/metrics.json").stat().st_mtime_ns
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    for fresh in (False, True):
        late = team.go(fresh=fresh)
        assert (late.scored, late.num_predicted, late.results) == (False, 0, [])
    assert (team.out / "small/metrics.json").stat().st_mtime_ns == scored
    assert team.go(tasks=[TASK, replace(TASK, name="other")]).scored, "the same job may ask for more"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "4712")
    assert team.go(fresh=True).num_predicted == ROWS


def test_chunks_are_whole_groups_in_the_order_of_batching() -> None:
    prompts = [prompt(str(number), f"Question {number % 2}?", f"picture {number // 5}") for number in range(2000)]
    chunks = cut(prompts)
    assert [int(index) for chunk in chunks for index in chunk] == list(range(2000))
    assert all(SMALLEST <= len(chunk) <= LARGEST + 5 and len(chunk) % 5 == 0 for chunk in chunks)
    without = cut([replace(each, parts=each.parts[1:]) for each in prompts])
    assert sorted(map(len, without)) == [1000, 1000], "the same words stand together, so that they are asked once"
    assert cut([]) == []


@pytest.mark.parametrize(
    ("variables", "world"),
    [
        ({}, World()),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8"}, World()),  # set inside sbatch too, where only one process runs
        (
            {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "x"},
            World(3, 8, 1, True, "torchrun x"),
        ),
        (
            {
                **{"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"},
                **{"SLURM_JOB_ID": "47", "SLURM_STEP_ID": "0"},
            },
            World(5, 8, 1, True, "47.0"),
        ),
        ({"SLURM_ARRAY_JOB_ID": "47", "SLURM_ARRAY_TASK_ID": "3"}, World(0, 1, 0, True, "array 47")),
        ({"JOB_COMPLETION_INDEX": "2"}, World(0, 1, 0, True, "kubernetes eval")),
    ],
)
def test_the_world_is_what_the_launcher_says(
    variables: dict[str, str], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "eval-2")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_world() == world


def test_torchrun_without_a_run_id_is_one_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "none"}.items():
        monkeypatch.setenv(name, value)
    assert find_world().job == find_world().job is not None


def test_another_host_has_another_place(monkeypatch: pytest.MonkeyPatch) -> None:
    here = roll.this_process()
    code = "import run_worker; run_worker.on_another_host('node9'); print(run_worker.roll.this_process().name)"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=WORKER.parent, check=True)
    assert there.stdout.startswith("node9-")
    assert not here.has_ended()
    assert not replace(here, place="elsewhere", pid=1, started="never").has_ended(), "nobody knows from here"
    assert replace(here, started="1").has_ended(), "its number is somebody else's now"


class Sure(ScriptedPredictor):
    """Holds the first option for probable; at the third batch something breaks that is no sample's fault."""

    knows_texts = False
    breaks = False

    def continuation_logprobs(self, prompts: Any, continuations: Any) -> list[list[tuple[float, int]]]:
        self.batches.append([f"probability {prompt.index}" for prompt in prompts])
        if self.breaks and len(self.batches) == 3:
            raise KeyboardInterrupt
        return [[(-0.1 - place, 1) for place, _ in enumerate(texts)] for texts in continuations]


def test_workers_on_one_machine_take_one_thread_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once somebody else is there, on this machine, and unless the user has said how many."""
    asked: list[int] = []
    monkeypatch.delenv(THREADS, raising=False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(set_num_threads=asked.append))
    parent = os.getppid()
    here = roll.this_process("job")
    far = replace(here, host="far", place="another machine", started="1")
    beside = replace(here, pid=parent, started=str(roll._started(parent)))
    with signed(tmp_path, here) as first:
        share_machine(first)
        first.note(roll.READY)
        with signed(tmp_path, far):
            share_machine(first)
        assert asked == []
        assert THREADS not in os.environ
        with signed(tmp_path, beside):
            share_machine(first)
        assert (asked, os.environ[THREADS]) == ([1], "1")
        monkeypatch.setenv(THREADS, "4")
        with signed(tmp_path, beside):
            share_machine(first)
        assert asked == [1]


def signed(root: Path, worker: roll.Worker) -> roll.Roll:
    line = roll.enter(root, worker, joins=True)
    assert line is not None
    return line


def test_probabilities_are_shared_like_answers(tmp_path: Path) -> None:
    pope = find_tasks("pope")
    options = RunOptions(
        tasks=pope,
        data="toy",
        out=tmp_path / "run",
        subset=Subset(size=60),
        batch_size=8,
        judge=JudgeOptions(protocols=("likelihood",)),
        join=True,
    )
    first, second = Sure(lambda prompt: "Yes"), Sure(lambda prompt: "Yes")
    run(replace(options, judge=JudgeOptions()), Sure(lambda prompt: "Yes"), Progress(quiet=True))
    first.breaks = True
    with pytest.raises(KeyboardInterrupt):
        run(options, first, Progress(quiet=True))
    result = run(options, second, Progress(quiet=True))
    stored = [json.loads(line) for line in (tmp_path / "run/pope/likelihoods.jsonl").read_text().splitlines()]
    assert [path.name for path in (tmp_path / "run/pope").glob("likelihoods*")] == ["likelihoods.jsonl"]
    asked = Counter(first.asked[:16] + second.asked)
    assert Counter(f"probability {line['index']}" for line in stored) == asked
    assert set(asked.values()) == {1}
    assert result.results[0].metrics["protocols"]["likelihood"]["f1"]["num_scored"] == len(stored)
