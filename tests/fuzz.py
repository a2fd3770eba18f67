"""Anything that a model can say and any file that a disk can spoil: nothing raises, nothing hangs, no score from noise.

    python tests/fuzz.py answers --count 100000     answers through every reader and every task's scoring
    python tests/fuzz.py files --count 10000        damaged files through every path that reads them

Prints how many inputs were tried and every kind of failure once, with the input that shows it; exit code 1 if there was
one. The same `--seed` tries the same inputs. A small slice of both is part of the suite (test_fuzz.py).
"""

from __future__ import annotations

import argparse
import math
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from answer_readers import PIECES, READERS
from damaged_files import KINDS, damaged, workshop

from benchmarks.data.load import load_samples
from benchmarks.errors import UserError
from benchmarks.reading_quality import SETS, own_answers
from benchmarks.records import Prediction
from benchmarks.scoring import metrics_of, score_task
from benchmarks.tasks import TASKS
from benchmarks.toy_world import ensure_tables

SECONDS = 20
"""Of the processor, for one input: what else the machine does is not counted."""
NOISE = "().,:;!?*_`#|/\\{}[]<>$%^+=~'\" \n\t\u200b\ufeff\x00\x1b\ud800\ue000、。：（）…"
"""Of this no letter, no word and no number can be made."""
LONGEST_REFUSAL = 1500
"""Characters: one line that a person reads."""
AT_ONCE = 500
"""Answers to a task that are scored together."""


class TooSlow(Exception):
    """An input took longer than `SECONDS`."""


@dataclass
class Findings:
    """`failures`: by kind, the first input that shows it. `outcomes`: how often what came out."""

    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")

    def fail(self, kind: str, shown: str) -> None:
        self.outcomes["failed"] += 1
        self.failures.setdefault(kind, shown)


@contextmanager
def bounded() -> Iterator[None]:
    def strike(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, strike)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def attempt(found: Findings, name: str, shown: str, action: Callable[[], Any], refused: type[Exception]) -> Any:
    """What `action` gives; None where it refuses by `refused`. Any other exception is a failure, by its last place."""
    started = time.process_time()
    try:
        with bounded():
            result = action()
        found.outcomes["read"] += 1
        return result
    except refused as refusal:
        found.outcomes["refused"] += 1
        if len(str(refusal)) > LONGEST_REFUSAL:
            found.fail(f"{name}: a refusal of {len(str(refusal))} characters", f"{shown}\n{refusal!s:.500}")
        return None
    except Exception as error:  # noqa: BLE001 - what this is for: whatever it is, it is told
        places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        found.fail(f"{name}: {type(error).__name__} at {places[-1]} ({error!s:.80})", f"{shown}\n{places[-4:]}")
        return None
    finally:
        found.slowest = max(found.slowest, (time.process_time() - started, f"{name}: {shown:.120}"))


class Nothing(Exception):
    """Is never raised: a reader of answers refuses none."""


# Answers


def answers(rng: random.Random) -> Iterator[str]:
    """Answers without end: those of our own wording spoilt, pieces put together, noise, and numbers of any size."""
    known = [case.answer for half in SETS for case in own_answers(half)]
    while True:
        way = rng.random()
        if way < 0.45:
            yield _spoilt(rng.choice(known), known, rng)
        elif way < 0.8:
            yield "".join(rng.choice(PIECES) for _ in range(rng.randrange(25)))
        elif way < 0.9:
            yield "".join(chr(rng.randrange(0x11_0000)) for _ in range(rng.randrange(60)))
        elif way < 0.95:
            yield "".join(rng.choice(NOISE) for _ in range(rng.randrange(40)))
        else:
            digits = "".join(rng.choice("0123456789.,-+eE/ ") for _ in range(rng.choice((3, 8, 30, 400))))
            yield rng.choice(("", "Answer: ", "\\boxed{")) + digits


def _spoilt(answer: str, known: list[str], rng: random.Random) -> str:
    for _ in range(rng.randrange(1, 4)):
        at, to = sorted((rng.randrange(len(answer) + 1), rng.randrange(len(answer) + 1)))
        other = rng.choice(known)
        answer = rng.choice(
            (
                answer[:at],
                answer[at:],
                answer[:at] + answer[to:],
                answer[:to] + answer[at:],
                answer[:at] + rng.choice(PIECES) + answer[at:],
                answer + rng.choice((" ", "\n", "\n\n", ". ")) + other,
                other[: rng.randrange(len(other) + 1)] + answer[at:],
                answer.swapcase(),
                answer.replace(" ", "\n"),
                "".join(rng.sample(answer, len(answer))),
            )
        )[:5000]
    return answer


def fuzz_answers(count: int, seed: int, found: Findings) -> Findings:
    """Each answer goes through every reader; with `AT_ONCE` of them each task is answered, and scored."""
    source = answers(random.Random(seed))
    root = ensure_tables()
    samples = {name: load_samples(task, root) for name, task in TASKS.items()}
    while found.tried < count:
        batch = [next(source) for _ in range(min(AT_ONCE, count - found.tried))]
        for answer in batch:
            for name, reader in READERS.items():
                read = attempt(found, name, ascii(answer), lambda: reader(answer), Nothing)  # noqa: B023 - called at once
                if name in ("choice", "yes/no", "number", "list") and read is not None and not set(answer) - set(NOISE):
                    found.fail(f"{name}: reads noise", ascii(answer))
        for name, task in TASKS.items():
            asked = [sample for number, sample in enumerate(samples[name]) if number < len(batch)]
            given = {
                sample.index: Prediction(index=sample.index, prompt="", text=answer)
                for sample, answer in zip(asked, batch, strict=False)
            }
            attempt(found, f"score {name}", f"batch at {found.tried}", lambda: _scored(task, asked, given), Nothing)  # noqa: B023
        found.tried += len(batch)
    return found


def _scored(task: Any, samples: list[Any], given: dict[str, Prediction]) -> None:
    scores = score_task(task, samples, given, None)
    for protocol, own in scores.items():
        assert [score.index for score in own] == [sample.index for sample in samples], protocol
        for score in own:
            assert score.value is None or math.isfinite(score.value), (protocol, score)
            assert protocol != "strict" or not score.value or set(given[score.index].text or "") - set(NOISE), score
    for protocol, metrics in metrics_of(task, scores)["protocols"].items():
        for name, metric in metrics.items():
            assert metric["value"] is None or math.isfinite(metric["value"]), (protocol, name, metric)
            assert metric["num_scored"] + metric["num_unscored"] == metric["num_samples"], (protocol, name, metric)


# Files


def fuzz_files(count: int, seed: int, folder: Path, found: Findings) -> Findings:
    """Kinds of files in turn, each time one sound file damaged in one way."""
    rng = random.Random(seed)
    kinds = [kind for make in KINDS for kind in make(folder / "sound")]
    for number in range(count):
        kind = kinds[number % len(kinds)]
        way, content = damaged(kind.content, kind.path, rng)
        with workshop(kind, content, folder / "damaged") as path:
            attempt(found, kind.name, f"input {number}, {way}", lambda: kind.read(path), UserError)  # noqa: B023
        found.tried += 1
    return found


def show(found: Findings, what: str) -> None:
    print(f"{found.tried} {what} tried: {dict(found.outcomes)}; slowest {found.slowest[0]:.1f} s ({found.slowest[1]})")
    for kind, shown in found.failures.items():
        print(f"\nFAILED {kind}\n  {shown}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("answers", "files"))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = Findings()
    with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as folder:  # interrupted: what was tried so far
        if options.what == "answers":
            fuzz_answers(options.count, options.seed, found)
        else:
            fuzz_files(options.count, options.seed, Path(folder), found)
    show(found, options.what)
    sys.exit(1 if found.failures else 0)


if __name__ == "__main__":
    main()
