"""`aki-eval vlmevalkit`: VLMEvalKit's own loop in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.data.root import OFFICIAL, data_root
from benchmarks.errors import UserError
from benchmarks.redaction import redact_command

from ..chat.address import KEY_NAME
from ..predictors.make import find_checkpoint
from ..vlmevalkit.adapter import tables_folder

RESULTS = ("_acc.csv", "_score.csv")
"""How the kit's result files end."""

MISUSE = 2
"""Exit code for what the user can fix."""


def vlmevalkit(
    context: typer.Context,
    tables: Annotated[
        str, typer.Option(help="official ($LMUData or ~/LMUData), toy, or a folder of tables.")
    ] = OFFICIAL,
    device: Annotated[str, typer.Option(help="For AKI: auto, cpu, cuda, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="For AKI: auto, float32, bfloat16 or float16.")] = "auto",
    max_new_tokens: Annotated[int, typer.Option(help="For AKI; the kit's own wrapper has 512.", min=1)] = 512,
) -> int:
    """VLMEvalKit's own loop and evaluation, with AKI registered in it.

    All arguments of VLMEvalKit's run.py go through (--data, --judge, --mode, --reuse, ...); a --model of the form
    NAME=CHECKPOINT is an AKI of ours. Unlike run.py, it ends with exit code 1 when a benchmark has no result.
    """
    given, rest = _parse(context.args)
    models = dict(text.split("=", 1) for text in given.model if "=" in text)
    models = {name: str(find_checkpoint(path, offline=False).resolve()) for name, path in models.items()}
    names = [text.split("=", 1)[0] for text in given.model]
    root = data_root(tables)
    _refuse_stale(given, names)
    specification = {
        "models": models,
        "names": names,
        "data": given.data,
        "own_tables": tables != OFFICIAL,
        "options": {"device": device, "dtype": dtype, "max_new_tokens": max_new_tokens},
    }
    arguments = [
        "--data",
        *given.data,
        "--model",
        *names,
        "--work-dir",
        str(given.work_dir),
        "--mode",
        given.mode,
        *rest,
    ]
    environment = {
        "LMUData": str(root.resolve() if tables == OFFICIAL else tables_folder(root, given.work_dir)),
        "PRED_FORMAT": "tsv",  # the kit's .xlsx turns an answer of "=1" into 0
    }
    start = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "aki_eval.vlmevalkit.adapter", json.dumps(specification), *arguments],
        env=environment | os.environ | {"LMUData": environment["LMUData"]},
        check=False,
    )
    if done.returncode == MISUSE:  # said by that process in a line of its own
        return MISUSE
    return _check_results(given, names, start)


vlmevalkit.context_settings = {"allow_extra_args": True, "ignore_unknown_options": True}  # type: ignore[attr-defined]


class _Parser(argparse.ArgumentParser):
    """Misuse is the user's to fix, in one line."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UserError(f"vlmevalkit: {message}")


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The kit's arguments that concern us, and the others."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model", nargs="+", required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--work-dir", type=Path, default=Path("runs/vlmevalkit"))
    parser.add_argument("--mode", default="all", choices=["all", "infer", "eval"])
    parser.add_argument("--reuse", action="store_true")
    given, rest = parser.parse_known_args(arguments)
    _refuse_secrets(rest)
    if not os.environ.get(KEY_NAME) and not any(text.startswith("--judge") for text in rest):
        print(
            f"aki-eval: no {KEY_NAME}: VLMEvalKit matches answers exactly; what needs a judge has no score",
            file=sys.stderr,
        )
        rest += ["--judge", "exact_matching"]
    return given, [*rest, *(["--reuse"] if given.reuse else [])]


def _refuse_secrets(arguments: Sequence[str]) -> None:
    """The kit writes its arguments to log files and to status.json, and shows them in the list of processes."""
    for text, hidden, after in zip(arguments, redact_command(arguments), [*arguments[1:], ""], strict=True):
        if hidden != text or redact_command([text, after])[1] != redact_command([after])[0]:
            raise UserError(
                f"{hidden} would be written to log files and to status.json by the kit, with the key in it; "
                f"set {KEY_NAME} instead"
            )


def _refuse_stale(given: argparse.Namespace, names: Sequence[str]) -> None:
    """The kit takes up any older predictions it finds, whatever model or prompt they came from."""
    if given.reuse or given.mode == "eval":
        return
    for name in names:
        for table in given.data:
            old = next((given.work_dir / name).glob(f"**/{name}_{table}.*"), None)
            if old is not None:
                raise UserError(
                    f"{old} is there already, and VLMEvalKit would score it instead of asking the model; "
                    "choose another --work-dir, or --reuse if that is meant"
                )


def _check_results(given: argparse.Namespace, names: Sequence[str], start: float) -> int:
    """1 when a benchmark was not answered or not scored: the kit itself logs the reason and reports success."""
    code = 0
    for name in names:
        for table in given.data:
            wanted = ["predictions"] if given.mode == "infer" else ["predictions", "scores"]
            for what in wanted:
                if not _found(given.work_dir / name, f"{name}_{table}", what, start):
                    print(
                        f"aki-eval: VLMEvalKit left no {what} of {table} by {name}; see its log above", file=sys.stderr
                    )
                    code = 1
                    break
    return code


def _found(folder: Path, stem: str, what: str, start: float) -> bool:
    if what == "predictions":
        return any(path.suffix in (".tsv", ".xlsx", ".json", ".csv") for path in folder.glob(f"**/{stem}.*"))
    return any(path.name.endswith(RESULTS) and path.stat().st_mtime >= start for path in folder.glob(f"**/{stem}*.csv"))
