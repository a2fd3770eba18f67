"""Every command, parameter and kind of wrong value: one line that names the fault, exit code 2, nothing touched.

The commands and their parameters are read from the command lines themselves, so that a new command or option is tried
from the day it is there. `GOOD` says how each is called rightly; a case puts one wrong thing in its place. What looks
wrong and is not stands in `FINE`, with the reason.
"""

from __future__ import annotations

import inspect
import random
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest
from predictor_helpers import write_checkpoint
from scored_run_helpers import scores, write_scored_run

import aki_eval.cli
import train.cli

MAINS: dict[str, Callable[[], None]] = {"aki-eval": aki_eval.cli.main, "aki-train": train.cli.main}

GOOD = {
    "aki-eval list": "",
    "aki-eval run": "--bench pope --model {model} --data toy --subset 2 --out {new}",
    "aki-eval score": "{run}",
    "aki-eval import": "{answers} --bench pope --out {new}",
    "aki-eval report": "{run} --format md",
    "aki-eval view": "{run}",
    "aki-eval compare": "{run} {run}",
    "aki-eval power": "{run}",
    "aki-eval plan": "--bench pope --model {model} --data toy --subset 2",
    "aki-eval export": "{run} --format parquet --out {new}",
    "aki-eval watch": "{empty} --bench pope --data toy --once",
    "aki-eval judge-calibrate": "{run} --labels {answers}",
    "aki-eval judge-position": "{run}",
    "aki-eval probes": "{run}",
    "aki-eval gate": "{run} --baseline {run}",
    "aki-eval inspect": "{model} --image {picture} --prompt color --out {new}",
    "aki-eval judge-agreement": "{run} --judges a,b",
    "aki-eval vlmevalkit": "--model tiny={model} --data POPE",
    "aki-eval data fetch": "--offline",
    "aki-eval data verify": "",
    "aki-eval data list": "",
    "aki-train toy": "--out {new}",
    "aki-train ablation": "--out {new} --rows causal --seeds 1 --steps 2",
    "aki-train plan": "mma --data {empty}",
    "aki-train run": "mma --data {empty} --out {new}",
    "aki-train pretrain": "mma --data {empty} --out {new}",
    "aki-train sft": "mma --data {empty} --out {new}",
    "aki-train convert": "{model} {new}",
    "aki-train data check": "{empty}",
    "aki-train data show": "{empty}",
}


SECONDS = 10
"""Then a case has gone to work instead of refusing."""


class Parameter(NamedTuple):
    """`option`: as it is given (--out), None for an argument by place. `kind`: int, float, path, text or flag."""

    name: str
    option: str | None
    kind: str
    required: bool
    many: bool


def commands() -> dict[str, Callable[..., Any]]:
    """Words of the command line -> the function behind it."""
    found: dict[str, Callable[..., Any]] = {}
    for name, (module, attribute, _) in aki_eval.cli.COMMANDS.items():
        found[f"aki-eval {name}"] = getattr(import_module(module), attribute)
    for name, (module, attribute, _) in aki_eval.cli.GROUPS.items():
        found |= _of_app(f"aki-eval {name}", getattr(import_module(module), attribute))
    return found | _of_app("aki-train", train.cli.app)


def _of_app(words: str, app: Any) -> dict[str, Callable[..., Any]]:
    found = {}
    for each in app.registered_commands:
        found[f"{words} {each.name or each.callback.__name__.replace('_', '-')}"] = each.callback
    for group in app.registered_groups:
        found |= _of_app(f"{words} {group.name}", group.typer_instance)
    return found


def parameters(function: Callable[..., Any]) -> Iterator[Parameter]:
    hints = get_type_hints(function, include_extras=True)
    for name, each in inspect.signature(function, eval_str=True).parameters.items():
        if "Context" in str(each.annotation):
            continue
        hint = each.annotation if each.annotation is not inspect.Parameter.empty else hints[name]
        plain, *notes = get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
        note = next((note for note in notes if hasattr(note, "param_decls")), None)
        kinds = {plain, *get_args(plain)}
        kind = next((label for label, kind in KINDS.items() if kind in kinds), "text")
        placed = type(note).__name__ == "ArgumentInfo"
        words = (note.default, *(note.param_decls or ())) if note else ()  # typer takes the first name for a default
        declared = [word for word in words if isinstance(word, str) and word.startswith("--")]
        option = None if placed else (declared[0].split("/")[0] if declared else "--" + name.replace("_", "-"))
        many = "list" in str(plain) or "List" in str(plain)
        yield Parameter(name, option, kind, each.default is inspect.Parameter.empty, many)


KINDS = {"flag": bool, "int": int, "float": float, "path": Path}
WRONG = {
    "int": ("many", "1.5", "-7", "", "9" * 400),
    "float": ("many", "nan", "-inf", ""),
    "path": ("{missing}", "{noise}", "{empty}", "{inside_a_file}", ""),
    "text": ("no-such-thing", "", "\x1b[31mred", "{noise}"),
    "flag": (),
}


class Case(NamedTuple):
    command: str
    what: str
    arguments: tuple[str, ...]


def cases() -> Iterator[Case]:
    for words, function in commands().items():
        good = tuple(GOOD.get(words, "").split())
        yield Case(words, "unknown option", (*good, "--no-such-option"))
        yield Case(words, "option cut short", (*good, "--x"))
        taken = list(parameters(function))
        placed = [each for each in taken if each.option is None]
        if not any(each.many for each in placed):
            yield Case(words, "surplus argument", (*good, "surplus", "surplus"))
        for position, each in enumerate(placed):
            if each.required:
                yield Case(words, f"without {each.name}", good[:position])
            for value in WRONG[each.kind]:
                yield Case(words, f"{each.name}={value[:12]}", (*good[:position], value, *good[position + 1 :]))
        for each in taken:
            if each.option is None:
                continue
            kept = list(good)
            if each.option in kept:
                place = kept.index(each.option)
                del kept[place : place + 2]
                if each.required:
                    yield Case(words, f"without {each.option}", tuple(kept))
            if each.kind != "flag":
                yield Case(words, f"{each.option} without a value", (*kept, each.option))
            for value in WRONG[each.kind]:
                yield Case(words, f"{each.option}={value[:12]}", (*kept, each.option, value))


FINE = {
    "aki-eval run: --out={missing}": "a new folder",
    "aki-eval run: --out={empty}": "a new run may live there",
    "aki-eval run: --protocols=": "none beside the usual ones, as without it",
    "aki-eval plan: --judge=no-such-thin": "a model that may be there; nobody is asked",
    "aki-eval plan: --judge=\x1b[31mred": "a model that may be there; nobody is asked",
    "aki-eval plan: --judge={noise}": "a model that may be there; nobody is asked",
    "aki-eval plan: --protocols=": "none beside the usual ones, as without it",
    "aki-eval export: --out={missing}": "a new folder",
    "aki-eval export: --out={empty}": "an export may live there",
    "aki-eval watch: unknown option": "for aki-eval run, which is called for each checkpoint; here is none yet",
    "aki-eval watch: option cut short": "for aki-eval run, which is called for each checkpoint; here is none yet",
    "aki-eval watch: surplus argument": "for aki-eval run, which is called for each checkpoint; here is none yet",
    "aki-eval watch: folder={empty}": "a training that has written nothing yet",
    "aki-eval watch: --out={missing}": "a new folder",
    "aki-eval watch: --out={empty}": "runs may live there",
    "aki-eval report: --out={missing}": "a new folder",
    "aki-eval report: --out={empty}": "a report may live there",
    "aki-eval gate: --markdown={missing}": "a new file",
    "aki-eval gate: --markdown={noise}": "is written over",
    "aki-eval gate: --junit={missing}": "a new file",
    "aki-eval gate: --junit={noise}": "is written over",
    "aki-eval gate: --write-baseline={missing}": "a new file",
    "aki-eval gate: --write-baseline={noise}": "is written over",
    "aki-eval gate: --links=no-such-thin": "an address is not looked up",
    "aki-eval gate: --links=": "as without it",
    "aki-eval gate: --links=\x1b[31mred": "an address is not looked up, and printed harmlessly",
    "aki-eval gate: --links={noise}": "an address is not looked up",
    "aki-eval inspect: --out={missing}": "a new folder",
    "aki-eval inspect: --out={empty}": "figures may live there",
    "aki-eval inspect: --prompt=no-such-thin": "anything may be asked",
    "aki-eval inspect: --prompt=\x1b[31mred": "anything may be asked",
    "aki-eval inspect: --prompt={noise}": "anything may be asked",
    "aki-eval inspect: --other=no-such-thin": "anything may be asked",
    "aki-eval inspect: --other=": "the usual other question, as without it",
    "aki-eval inspect: --other=\x1b[31mred": "anything may be asked",
    "aki-eval inspect: --other={noise}": "anything may be asked",
    "aki-eval data verify: --root={missing}": "says of each table that it is absent",
    "aki-eval data verify: --root={empty}": "says of each table that it is absent",
    "aki-eval data list: --root={missing}": "says of each table that it is absent",
    "aki-eval data list: --root={empty}": "says of each table that it is absent",
    "aki-eval vlmevalkit: unknown option": "the kit's options are its own to check",
    "aki-eval vlmevalkit: option cut short": "the kit's options are its own to check",
    "aki-eval vlmevalkit: surplus argument": "the kit's options are its own to check",
    "aki-train toy: --out={missing}": "a new folder",
    "aki-train ablation: --out={missing}": "a new folder",
    "aki-train ablation: --out={empty}": "an experiment may live there",
    "aki-train ablation: --launch=": "nothing before aki-train run, as without it",
    "aki-train toy: --out={empty}": "a model may live there",
    "aki-train plan: --data={empty}": "lists what is missing",
    "aki-train run: --log=": "no logger, as without it",
    "aki-train pretrain: --log=": "no logger, as without it",
    "aki-train sft: --log=": "no logger, as without it",
}
"""What looks wrong and is not, with the reason."""
HANDED_ON = {f"aki-train ablation: --{name}" for name in ("bench", "evaluation", "subset", "judge")}
"""Options for aki-eval run, which refuses them in a process of its own: tests/test_train_ablation.py tries each."""


TRIED = [
    case
    for case in cases()
    if f"{case.command}: {case.what}" not in FINE and f"{case.command}: {case.what}".partition("=")[0] not in HANDED_ON
]


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("things")
    write_checkpoint(folder / "model")
    write_scored_run(folder / "run", {"pope": scores([1.0, 0.0, 1.0, 1.0])})
    (folder / "empty").mkdir()
    (folder / "noise").write_bytes(random.Random(0).randbytes(1000))
    (folder / "answers").write_text('{"index": "1", "prediction": "Yes"}\n')
    from PIL import Image

    Image.new("RGB", (28, 28), "red").save(folder / "picture.png")
    names = {name: str(folder / name) for name in ("model", "run", "empty", "noise", "missing")}
    return names | {
        "answers": str(folder / "answers"),
        "picture": str(folder / "picture.png"),
        "inside_a_file": str(folder / "noise" / "x"),
    }


class TooLong(BaseException):
    """Not an Exception: nothing that goes on after a fault may go on after this."""


def _too_long(*_: object) -> None:
    raise TooLong


def inventory(folder: Path) -> dict[str, int]:
    return {
        str(path): path.stat().st_mtime_ns
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".workers" not in path.parts
    }


@pytest.mark.parametrize("case", TRIED, ids=lambda case: f"{case.command}: {case.what}")
def test_one_line(
    case: Case,
    things: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    program, *words = case.command.split()
    given = [argument.format(**things, new=str(tmp_path / "new")) for argument in case.arguments]
    before = inventory(Path(things["empty"]).parent)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(sys, "argv", [program, *words, *given])

    capfd.readouterr()
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with pytest.raises(SystemExit) as ended:
            MAINS[program]()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    out, err = capfd.readouterr()
    said = f"exit code {ended.value.code}\n{out[-500:]}\n{err[-1500:]}"
    assert ended.value.code == 2, said
    assert out == "", said
    (line,) = err.splitlines() or [""]
    assert line.startswith(f"{program}: "), said
    assert len(line) < 700, said
    assert "\x1b" not in line
    assert inventory(Path(things["empty"]).parent) == before
    assert list(tmp_path.iterdir()) == [], "something was written"


def test_every_command_is_called_rightly_somewhere() -> None:
    assert set(GOOD) == set(commands())


def test_what_is_said_to_be_fine_is_still_asked() -> None:
    """A reason that stands for no case is of an option that is gone."""
    assert set(FINE) <= {f"{case.command}: {case.what}" for case in cases()}
