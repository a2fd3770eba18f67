"""`aki-eval vlmevalkit`: VLMEvalKit's own loop in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.data.root import OFFICIAL, data_root
from benchmarks.errors import UserError
from benchmarks.redaction import redact_command

from ..chat.address import KEY_NAME
from ..predictors.aki import find_device
from ..predictors.make import find_checkpoint
from ..predictors.weights import settings_checksum, weights_checksum
from ..run.specification import file_checksums
from ..vlmevalkit.predictor import kit_version
from ..vlmevalkit.work import alone_in, private_tables, refuse_foreign_pickles, work_folder
from .options import Dtype

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
    dtype: Annotated[Dtype, typer.Option(help="For AKI; auto: as the checkpoint's.")] = "auto",
    max_new_tokens: Annotated[
        int, typer.Option(help="For AKI; the kit's own wrapper has 512.", min=1, max=1_000_000)
    ] = 512,
) -> int:
    """VLMEvalKit's own loop and evaluation, with AKI registered in it.

    All arguments of VLMEvalKit's run.py go through; these are read here as well:

    --model NAME=CHECKPOINT [NAME...]: an AKI of ours under a name, or models that VLMEvalKit knows. Needed.

    --data TABLE [TABLE...]: names of VLMEvalKit's tables, such as MME POPE. Needed.

    --judge MODEL: who grades or reads answers; without one and without OPENAI_API_KEY, exact_matching.

    --mode all|infer|eval: ask and score (the default), ask only, score what is there.

    --work-dir DIR: where it works, runs/vlmevalkit by default. --reuse: go on with predictions that are there.

    Unlike run.py, it ends with exit code 1 when a benchmark has no result.

    VLMEvalKit runs Python that stands in its tables' cells and loads pickles. So --tables DIR is read and checked
    first, and only a copy of what passed reaches it; pickles of anything but plain data are refused; each model works
    in a folder of its own, WORK_DIR/NAME-FINGERPRINT, to which WORK_DIR/NAME leads. Tables that the kit downloads, and
    the code that its wrappers of other models ask their repositories for, are trusted as the kit trusts them.
    """
    given, rest = _parse(context.args)
    models = dict(text.split("=", 1) for text in given.model if "=" in text)
    models = {name: str(find_checkpoint(path, offline=False).resolve()) for name, path in models.items()}
    find_device(device)  # says at once what would be said after the kit's minute
    names = [text.split("=", 1)[0] for text in given.model]
    root = data_root(tables)
    options = {"device": device, "dtype": dtype, "max_new_tokens": max_new_tokens}
    specification: dict[str, Any] = {
        "models": models,
        "names": names,
        "data": given.data,
        "options": options,
        "tables": str(root.resolve()),
        "checked": tables != OFFICIAL,
    }
    if not os.environ.get(KEY_NAME) and not any(text.startswith("--judge") for text in rest):
        print(
            f"aki-eval: no {KEY_NAME}: VLMEvalKit matches answers exactly; what needs a judge has no score",
            file=sys.stderr,
        )
        rest += ["--judge", "exact_matching"]
    code = 0
    for name in names:
        folder = _folder(given, name, _owner(name, models.get(name), options, None if tables == OFFICIAL else root))
        arguments = ["--data", *given.data, "--model", name, "--work-dir", str(folder), "--mode", given.mode, *rest]
        with alone_in(folder), private_tables(folder) as private:
            specification["private"] = str(private)
            before = _scores(folder / name)
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "aki_eval.vlmevalkit.adapter",
                    json.dumps(specification),
                    *arguments,
                ],
                env=_environment(root.resolve()),
                check=False,
            )
        if done.returncode == MISUSE:  # said by that process in a line of its own
            return MISUSE
        code = max(code, _check_results(given, folder / name, name, before))
    return code


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
    return given, [*rest, *(["--reuse"] if given.reuse else [])]


def _refuse_secrets(arguments: Sequence[str]) -> None:
    """The kit writes its arguments to log files and to status.json, and shows them in the list of processes."""
    for text, hidden, after in zip(arguments, redact_command(arguments), [*arguments[1:], ""], strict=False):
        if hidden != text or redact_command([text, after])[1] != redact_command([after])[0]:
            raise UserError(
                f"{hidden} would be written to log files and to status.json by the kit, with the key in it; "
                f"set {KEY_NAME} instead"
            )


def _environment(tables: Path) -> dict[str, str]:
    """Of the kit's process. MMEVAL_ROOT would lead it out of its work directory."""
    environment = {"PRED_FORMAT": "tsv"} | os.environ | {"LMUData": str(tables)}  # its .xlsx turns "=1" into 0
    environment.pop("MMEVAL_ROOT", None)
    return environment


def _owner(name: str, checkpoint: str | None, options: Mapping[str, Any], tables: Path | None) -> dict[str, Any]:
    """All that decides the answers of a model."""
    model = None
    if checkpoint is not None:
        folder = Path(checkpoint)
        model = {"weights": weights_checksum(folder), "settings": settings_checksum(folder), "options": options}
    sums = None if tables is None else file_checksums(sorted(tables.glob("*.tsv")))
    return {"name": name, "model": model, "tables": sums, "vlmevalkit": kit_version()}


def _folder(given: argparse.Namespace, name: str, owner: Mapping[str, Any]) -> Path:
    """Where the kit works on one model.

    A folder that this command did not make is the user's to name with --reuse: what lies there is then scored in its
    place, and holds no pickles.

    Raises:
        UserError: the kit would take up answers that it should not.
    """
    reuse = given.reuse or given.mode == "eval"
    there = given.work_dir / name
    if there.is_dir() and not there.is_symlink():
        if not reuse:
            raise UserError(
                f"{there} is there already and was not made for this checkpoint, and VLMEvalKit would score what lies "
                "in it; choose another --work-dir, or --reuse if that is meant"
            )
        refuse_foreign_pickles(there)
        print(f"aki-eval: {there} does not say which checkpoint its answers are from", file=sys.stderr)
        return Path(given.work_dir)
    folder = work_folder(given.work_dir, name, owner)
    for table in () if reuse else given.data:
        old = next((folder / name).glob(f"**/{name}_{table}.*"), None)
        if old is not None:
            raise UserError(
                f"{old} is there already, and VLMEvalKit would score it instead of asking the model; "
                "choose another --work-dir, or --reuse if that is meant"
            )
    return folder


def _scores(folder: Path) -> dict[Path, int]:
    """The kit's files of scores, and when each was written; what is new is told by that, whatever the clock did."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("**/*.csv") if path.name.endswith(RESULTS)}


def _check_results(given: argparse.Namespace, folder: Path, name: str, before: dict[Path, int]) -> int:
    """1 when a benchmark was not answered or not scored: the kit itself logs the reason and reports success."""
    code = 0
    for table in given.data:
        wanted = ["predictions"] if given.mode == "infer" else ["predictions", "scores"]
        for what in wanted:
            if not _found(folder, f"{name}_{table}", what, before):
                print(f"aki-eval: VLMEvalKit left no {what} of {table} by {name}; see its log above", file=sys.stderr)
                code = 1
                break
    return code


def _found(folder: Path, stem: str, what: str, before: dict[Path, int]) -> bool:
    if what == "predictions":
        return any(path.suffix in (".tsv", ".xlsx", ".json", ".csv") for path in folder.glob(f"**/{stem}.*"))
    return any(path.name.startswith(stem) and before.get(path) != written for path, written in _scores(folder).items())
