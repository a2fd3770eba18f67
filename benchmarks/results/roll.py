"""Who is at work in a run folder: a roll that processes sign, on any host that sees the folder. Nothing is locked.

    RUN_DIR/.workers/latest     the number of the last session
    RUN_DIR/.workers/3/0        its first line: who opened it. 1, 2, ...: who came later, and who closed it

A line of the roll is a file of its own, made with `O_CREAT | O_EXCL` under the first free number. So of two processes
that want a line exactly one gets it, and the other sees whose it is and looks again: joining, closing and opening are
decided by the file server, in one order for all. What a file system must do for that: create exclusively (local ones
do, and NFS from version 3 on), and show a file as it is now to who opens it now (NFS calls that close-to-open; a mount
with `nocto` breaks it). Listings of folders, which NFS may show late, decide nothing.

Who is at work touches its line every few seconds. The others judge by their own clock how long it has not changed, so
clocks may differ; on the same machine a process that has ended is known at once by its number.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import UserError
from ..files import write_atomically

FOLDER = ".workers"
BEAT_SECONDS = 5.0
"""Between two touches of one's line."""
STALE_SECONDS = 60.0
"""Who has not touched its line for so long counts as dead. Caches of network file systems live up to half of it."""
FIRST_POLL_SECONDS, POLL_SECONDS = 0.02, 1.0
"""Between two looks at others: at first, and at most."""

READY, LEFT, SCORED, IN_PART, OVER = "ready", "left", "scored", "scored in part", "over"
"""What is noted behind a line: the session may be worked on; this process writes nothing more; everything has a score,
or what has an answer; nobody is left, and who goes on opens the next session."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One process. `place`: the machine on which its `pid` and `started` mean something. `task`: run, or what else."""

    host: str
    pid: int
    place: str
    started: str
    job: str = ""
    task: str = "run"

    @property
    def name(self) -> str:
        """Of no other process, ever; fit for a file's name."""
        return f"{re.sub(r'[^A-Za-z0-9-]', '-', self.host)}-{self.pid}-{self.started}"

    def has_ended(self) -> bool:
        """True where that is certain: it was started on this machine, and is gone."""
        return self.place == _place() and _started(self.pid) != self.started


def this_process(job: str = "", task: str = "run") -> Worker:
    pid = os.getpid()
    return Worker(host=socket.gethostname(), pid=pid, place=_place(), started=_started(pid) or "0", job=job, task=task)


@cache
def _place() -> str:
    """The boot of a machine and the container in it, within which a process's number is its own."""
    found = [socket.gethostname()]
    with suppress(OSError):
        found += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return " ".join(found)


def _started(pid: int) -> str | None:
    """When a process of this machine began, in its kernel's ticks; "0" where nothing tells; None when it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "0"


@dataclass(frozen=True)
class Signature:
    """A line of the roll as it is now. `worker` None: being written, or cut by a kill; a touch changes `stamp`."""

    number: int
    worker: Worker | None
    closes: bool
    notes: Sequence[str]
    stamp: tuple[int, int]


def create(path: Path, content: str) -> bool:
    """Makes the file if nobody has; False if somebody had. Only the answer of who made it counts.

    Raises:
        OSError: it can be neither.
    """
    try:
        number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(content)
    return True


def note(path: Path, word: str) -> None:
    """Adds a line to the file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{word}\n")


def read(path: Path) -> tuple[list[str], tuple[int, int]] | None:
    """The whole lines of the file and its stamp, as the file server has them; None when there is none."""
    try:
        with path.open(encoding="utf-8") as file:
            stat = os.fstat(file.fileno())
            lines = file.read().split("\n")[:-1]
    except FileNotFoundError:
        return None
    return lines, (stat.st_mtime_ns, stat.st_size)


@dataclass
class Watch:
    """When this process saw which stamp for the first time, by its own clock."""

    seen: dict[Path, tuple[tuple[int, int], float]] = field(default_factory=dict)
    moved: set[Path] = field(default_factory=set)
    """Files that were seen to change."""

    def is_fresh(self, path: Path, stamp: tuple[int, int]) -> bool:
        now, known = time.monotonic(), self.seen.get(path)
        if known is not None and known[0] == stamp:
            return now - known[1] < STALE_SECONDS
        if known is not None:
            self.moved.add(path)
        self.seen[path] = stamp, now
        return True


class Roll:
    """One session's roll, with this process's own line in it. Inside `with`, the line is kept fresh."""

    def __init__(self, folder: Path, worker: Worker, number: int, watch: Watch) -> None:
        self.folder = folder
        self.worker = worker
        self.number = number
        self.watch = watch
        self._ended = threading.Event()
        self._beaten = time.monotonic()
        self._was_away = False
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @property
    def is_opener(self) -> bool:
        return self.number == 0

    def __enter__(self) -> Roll:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        with suppress(OSError):  # the folder is gone, or the disk is full: the line gets old by itself
            self.note(LEFT)

    def note(self, word: str) -> None:
        note(self.folder / str(self.number), word)

    def is_alive(self, number: int) -> bool:
        """Whether the process behind a line may be at work."""
        line = _read_signature(self.folder, number)
        return line is not None and _is_alive(self.folder, line, self.watch)

    def wait_until_ready(self) -> bool:
        """False when the process that opened the session has gone before it was ready."""
        while True:
            first = _read_signature(self.folder, 0)
            if first is None or READY in first.notes:
                return first is not None
            if not _is_alive(self.folder, first, self.watch):
                return False
            time.sleep(5 * FIRST_POLL_SECONDS)

    def check(self) -> None:
        """Before something is written: a process that was stopped for long may have been given up by the others.

        Raises:
            UserError: it was, and they have finished without it.
        """
        if not self._was_away and time.monotonic() - self._beaten < STALE_SECONDS / 2:
            return
        self._was_away = False
        if any(line.closes for line in _signatures(self.folder)):
            raise UserError(
                f"this process stood still for more than {STALE_SECONDS / 2:.0f} s, and other workers have finished "
                "the run without it; what they had not seen of its answers is dropped"
            )

    def close(self, wait: Callable[[float], None] = time.sleep) -> bool:
        """Waits until nobody else is at work; True for exactly one of those who wait, which has the folder to itself.

        To be called when nothing is left to do. A process that joins meanwhile finds that too.
        """
        self.note(LEFT)
        number, pause = 0, FIRST_POLL_SECONDS
        while True:
            line = _read_signature(self.folder, number)
            if line is None:
                if create(self.folder / str(number), _content(self.worker, closes=True)):
                    self.number = number
                    return True
            elif line.closes:
                return False
            elif number != self.number and _is_alive(self.folder, line, self.watch):
                wait(pause)
                pause = min(2 * pause, POLL_SECONDS)
            else:
                number += 1  # whoever has gone does not come back

    def names(self) -> list[str]:
        """Of all who worked in this session, in the order in which they came."""
        return [line.worker.name for line in _signatures(self.folder) if line.worker is not None and not line.closes]

    def has_company(self) -> bool:
        """Whether somebody else is at work here on this machine."""
        return any(
            line.number != self.number
            and not line.closes
            and line.worker is not None
            and line.worker.place == self.worker.place
            and _is_alive(self.folder, line, self.watch)
            for line in _signatures(self.folder)
        )

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            now = time.monotonic()
            self._was_away = self._was_away or now - self._beaten > STALE_SECONDS / 2
            with suppress(OSError):  # a file server that is away: the others see that, `check` says so
                os.utime(self.folder / str(self.number))
                self._beaten = now


class Busy(UserError):
    """Somebody is at work in the folder."""


def enter(root: Path, worker: Worker, *, joins: bool, say: Callable[[str], None] = lambda text: None) -> Roll | None:
    """Signs the roll of the run folder's session: opens one, or joins those who are at work where `joins`.

    None for a latecomer: those at the same job have finished everything.

    Raises:
        Busy: somebody is at work, and this process does not join or cannot be joined with it.
        UserError: the folder cannot be written.
    """
    watch, place = Watch(), root / FOLDER
    try:
        place.mkdir(exist_ok=True)
        number = _latest(place)
        while True:
            folder = place / str(number)
            folder.mkdir(exist_ok=True)
            lines = _signatures(folder)
            if not lines:
                if create(folder / "0", _content(worker)):
                    _open(place, number)
                    return Roll(folder, worker, 0, watch)
                continue
            finished = any(SCORED in line.notes for line in lines)
            if joins and _job(lines) == worker.job and (finished or _is_closing(folder, lines, watch)):
                return None
            if any({SCORED, IN_PART, OVER} & set(line.notes) for line in lines):
                number += 1
                continue
            alive = _those_at_work(folder, lines, watch, root, certain=not joins, say=say)
            if alive:
                _refuse_unless(joins and not lines[-1].closes and lines[0].worker is not None, root, alive[0], lines)
                if create(folder / str(len(lines)), _content(worker)):
                    return Roll(folder, worker, len(lines), watch)
            else:
                create(folder / str(len(lines)), _content(worker, closes=True) + f"{OVER}\n")
    except OSError as error:
        raise UserError(f"cannot write to the run folder {root}: {error.strerror}; choose another --out") from error


def _those_at_work(
    folder: Path, lines: Sequence[Signature], watch: Watch, root: Path, *, certain: bool, say: Callable[[str], None]
) -> list[Signature]:
    """Lines of processes that may be at work. A session counts while its opener or anybody who found it ready does.

    Where it has to be `certain`, a process of another machine is watched until it touches its line or gets stale.
    """
    told = False
    while True:
        alive = [line for line in lines if _is_alive(folder, line, watch)]
        if READY not in lines[0].notes and lines[0] not in alive:
            return []
        doubtful = [line for line in alive if not _is_certain(folder, line, watch)]
        if not certain or len(doubtful) < len(alive) or not doubtful:
            return alive
        if not told:
            told = True
            who = doubtful[0].worker
            host = who.host if who else "somebody"
            say(f"{root}: is {host} still at work here? Watching for up to {STALE_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
        lines = _signatures(folder)


def _is_closing(folder: Path, lines: Sequence[Signature], watch: Watch) -> bool:
    return any(line.closes and _is_alive(folder, line, watch) for line in lines)


def _is_certain(folder: Path, line: Signature, watch: Watch) -> bool:
    here = line.worker is not None and line.worker.place == _place()
    return here or folder / str(line.number) in watch.moved


def _refuse_unless(joinable: bool, root: Path, line: Signature, lines: Sequence[Signature]) -> None:
    opened = lines[0].worker
    if joinable and opened is not None and opened.task == "run":
        return
    who = f"{line.worker.host}, process {line.worker.pid}" if line.worker else "unknown"
    closing = any(each.closes for each in lines)
    hint = "it finishes the run" if closing else "aki-eval run --join works with it"
    what = hint if opened is None or opened.task == "run" else f"aki-eval {opened.task}"
    raise Busy(f"another process is working on {root} ({who}; {what}); wait for it or choose another --out")


def _job(lines: Sequence[Signature]) -> str | None:
    return lines[0].worker.job if lines[0].worker else None


def wait_until_scored(root: Path) -> bool:
    """Returns when the last session is: True where it was scored, False where all its workers have gone before that."""
    place, watch = root / FOLDER, Watch()
    while True:
        folder = place / str(_latest(place))
        lines = _signatures(folder)
        if any({SCORED, IN_PART} & set(line.notes) for line in lines):
            return True
        if not any(_is_alive(folder, line, watch) for line in lines):
            return False
        time.sleep(10 * FIRST_POLL_SECONDS)


def last_job(root: Path) -> str | None:
    """The job whose process opened the session before the last one."""
    place = root / FOLDER
    lines = _signatures(place / str(_latest(place) - 1))
    return _job(lines) if lines else None


def _latest(place: Path) -> int:
    try:
        return int((place / "latest").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return 1


def _open(place: Path, number: int) -> None:
    """Says which session is the last, for all but the first one; those long over nobody can be looking at any more."""
    if number > 1:
        write_atomically(place / "latest", f"{number}\n")
    for old in place.glob("[0-9]*"):
        if old.name.isdecimal() and int(old.name) < number - 2:
            shutil.rmtree(old, ignore_errors=True)


def _content(worker: Worker, *, closes: bool = False) -> str:
    return json.dumps(asdict(worker) | {"closes": closes}) + "\n"


def _signatures(folder: Path) -> list[Signature]:
    return list(_walk(folder))


def _walk(folder: Path) -> Iterator[Signature]:
    number = 0
    while (line := _read_signature(folder, number)) is not None:
        yield line
        number += 1


def _read_signature(folder: Path, number: int) -> Signature | None:
    """None when nobody has signed there. Who has only just is given a moment to write its name."""
    patience = time.monotonic() + 1.0
    while True:
        found = read(folder / str(number))
        if found is None:
            return None
        (first, *notes), stamp = found[0] or [""], found[1]
        try:
            content: dict[str, Any] = json.loads(first)
            closes = content.pop("closes")
            return Signature(number, Worker(**content), closes, notes, stamp)
        except (ValueError, TypeError, KeyError):
            if time.monotonic() > patience:
                return Signature(number, None, False, notes, stamp)
        time.sleep(0.01)


def _is_alive(folder: Path, line: Signature, watch: Watch) -> bool:
    if line.notes and line.notes[-1] != READY:
        return False
    if line.worker is not None and line.worker.has_ended():
        return False
    return watch.is_fresh(folder / str(line.number), line.stamp)


@contextmanager
def alone(root: Path, task: str) -> Iterator[None]:
    """The run folder for this process and nobody else.

    Raises:
        Busy: somebody is at work there.
    """
    roll = enter(root, this_process(task=task), joins=False)
    assert roll is not None, "only who joins can come too late"
    with roll:
        yield
