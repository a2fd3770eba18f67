"""AKI inside VLMEvalKit: its own loop and evaluation, with our model among its `supported_VLM`.

    from aki_eval.vlmevalkit.adapter import register
    register("AKI-toy", "runs/demo/model")      # now VLMEvalKit knows a model called AKI-toy

The kit shows AKI what it shows every model; our chat template goes around it, as for `--prompts vlmevalkit`. Tried with
ms-vlmeval 0.0.20 and with the upstream repository (its run.py lies beside the package).

`aki-eval vlmevalkit` runs this module in a process of its own, because importing the kit turns TLS verification off,
sets environment variables, takes over logging and makes ~/LMUData. `register` puts back what can be put back.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.command_line import complain
from benchmarks.data.fetch import md5_of
from benchmarks.data.handover import copy_checked
from benchmarks.errors import UserError
from benchmarks.kit import _process_state_kept as process_state_kept
from benchmarks.records import ImageRef, Prompt
from benchmarks.redaction import redact
from benchmarks.tasks import TASKS

from ..predictors import make_predictor
from .pickles import load_only_plain


def register(
    name: str, checkpoint: str | Path, *, device: str = "auto", dtype: str = "auto", max_new_tokens: int = 512
) -> None:
    """Makes VLMEvalKit know a checkpoint (folder or Hub id) as `name`. Its weights load when the kit builds the model.

    Raises:
        UserError: the kit is not installed or the checkpoint is none of AKI's.
    """
    predictor = make_predictor(str(checkpoint), device=device, dtype=dtype)
    with importing_the_kit():
        from vlmeval.config import supported_VLM

        supported_VLM[name] = partial(_model_class(), predictor=predictor, max_new_tokens=max_new_tokens)


@cache
def _model_class() -> Any:
    """Made when it is needed, because its base class is the kit's."""
    from vlmeval.vlm.base import BaseModel

    class AkiForVLMEvalKit(BaseModel):  # type: ignore[misc]
        """One prompt at a time, as the kit's loop asks."""

        INTERLEAVE = True

        def __init__(self, predictor: Any, max_new_tokens: int, **_: Any) -> None:
            super().__init__()
            self.predictor = predictor
            self.max_new_tokens = max_new_tokens

        def generate_inner(self, message: list[dict[str, str]], dataset: str | None = None) -> str:
            text = self.predictor.predict([to_prompt(message)], self.max_new_tokens)[0].text
            assert isinstance(text, str)
            return text

    return AkiForVLMEvalKit


def to_prompt(message: Sequence[dict[str, str]], index: str = "") -> Prompt:
    """The kit's message, parts of text and paths of pictures, as a prompt of ours. A path is read when it is needed."""
    return Prompt(
        index,
        tuple(
            ImageRef(part["value"], Path(part["value"]).read_bytes) if part["type"] == "image" else part["value"]
            for part in message
        ),
    )


@contextmanager
def importing_the_kit() -> Iterator[None]:
    """While the kit's modules are imported: keeps TLS checks, environment and logging as they are, makes no ~/LMUData.

    Raises:
        UserError: the kit is not installed.
    """
    if importlib.util.find_spec("vlmeval") is None:
        raise UserError("VLMEvalKit is not installed; pip install ms-vlmeval")
    with process_state_kept(), tempfile.TemporaryDirectory() as nowhere:
        os.environ.setdefault("LMUData", nowhere)
        yield


def kit_runner() -> ModuleType:
    """The kit's run.py: inside the package (ms-vlmeval) or beside it (upstream).

    Raises:
        UserError: there is none.
    """
    with importing_the_kit():
        package = importlib.import_module("vlmeval")
        if importlib.util.find_spec("vlmeval.run") is not None:
            return importlib.import_module("vlmeval.run")
        path = Path(str(package.__file__)).parent.parent / "run.py"
        spec = importlib.util.spec_from_file_location("vlmevalkit_run", path)
        if not path.is_file() or spec is None or spec.loader is None:
            raise UserError(f"this VLMEvalKit has no run.py, neither in the package nor at {path}")
        runner = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(runner)
        return runner


def _repair_the_kit() -> None:
    """Its LLaVA-Bench imports `vlmeval.dataset.smp`, which does not exist; it means `vlmeval.smp`."""
    for name in ("vlmeval.smp", "vlmeval.smp.log"):
        sys.modules[name.replace("vlmeval.smp", "vlmeval.dataset.smp")] = importlib.import_module(name)


def hand_over(names: Sequence[str], root: Path, folder: Path) -> None:
    """Puts the tables into the kit's folder.

    Those it publishes itself as they are, others as far as we know what the kit does with their cells.

    Raises:
        UserError: a table that is not there or must not be handed on.
    """
    dataset = importlib.import_module("vlmeval.dataset")
    kinds = {kind for kind in vars(dataset).values() if isinstance(kind, type)}
    every = (getattr(kind, "DATASET_MD5", None) for kind in kinds)
    sums = [known for known in every if isinstance(known, dict)]
    ours = {table.name for task in TASKS.values() for table in task.tables}
    for name in names:
        table, target = root / f"{name}.tsv", folder / f"{name}.tsv"
        if not table.is_file():
            raise UserError(f"--tables: no {table.name} in {root}")
        published = {known[name] for known in sums if known.get(name)}
        if published and md5_of(table) in published:
            target.symlink_to(table.resolve())
        elif name in ours or name not in dataset.SUPPORTED_DATASETS:
            copy_checked(table, target)
            for known in sums:  # no sum is expected of it, so the kit never downloads over it
                known.update(dict.fromkeys({name} & set(known)))
        else:
            raise UserError(
                f"{table} is not the file that VLMEvalKit publishes, and the kit runs cells of {name} as Python; "
                "checked for that are the paper's benchmarks and tables with a name of your own"
            )


def _own_tables(names: Sequence[str], root: Path) -> list[str]:
    """Tables in the kit's own folder that it does not know: it fetches and verifies the others itself."""
    dataset = importlib.import_module("vlmeval.dataset")
    known = {*dataset.SUPPORTED_DATASETS, *dataset.supported_video_datasets}
    return [name for name in names if name not in known and (root / f"{name}.tsv").is_file()]


def hide_keys() -> None:
    """The kit logs the judge's key at level INFO; no record leaves this process with it."""
    make_record = logging.getLogRecordFactory()

    def make_scrubbed(*arguments: Any, **options: Any) -> logging.LogRecord:
        record = make_record(*arguments, **options)
        record.msg, record.args = redact(record.getMessage()), ()
        return record

    logging.setLogRecordFactory(make_scrubbed)


def check_names(models: Sequence[str], tables: Sequence[str], root: Path) -> None:
    """Refuses what would end the kit's own loop in a traceback, or be left out by it.

    A table of any other name counts when its file lies in `root`.

    Raises:
        UserError: a model or a table that the kit does not know.
    """
    with importing_the_kit():
        config, dataset = (importlib.import_module(f"vlmeval.{name}") for name in ("config", "dataset"))
    own = [name for name in tables if (root / f"{name}.tsv").is_file()]
    known = [*own, *dataset.SUPPORTED_DATASETS, *dataset.supported_video_datasets]
    found = [
        *_unknown("--model", models, config.supported_VLM, "NAME=CHECKPOINT is an AKI of yours"),
        *_unknown("--data", tables, known, "names are the kit's, such as MMBench_DEV_EN"),
    ]
    if found:
        raise UserError(". ".join(found))


def _unknown(option: str, names: Sequence[str], known: Iterable[str], hint: str) -> Iterator[str]:
    """What to say of each name that is not known."""
    names_known = list(known)
    for name in names:
        if name not in names_known:
            close = difflib.get_close_matches(name, names_known, n=3)
            advice = f"; close to it are {', '.join(close)}" if close else ""
            yield f"{option}: VLMEvalKit knows no {name!r}{advice}; {hint}"


def main() -> None:
    """The process behind `aki-eval vlmevalkit`.

    `python -m aki_eval.vlmevalkit.adapter SPECIFICATION ARGUMENTS-OF-THE-KIT...`.
    """
    specification = json.loads(sys.argv[1])
    sys.argv = ["run.py", *sys.argv[2:]]
    hide_keys()
    runner = kit_runner()
    with importing_the_kit():
        _repair_the_kit()
        load_only_plain(importlib.import_module("vlmeval.smp.file"))
    for name, checkpoint in specification["models"].items():
        register(name, checkpoint, **specification["options"])
    root = Path(specification["tables"])
    check_names(specification["names"], specification["data"], root)
    if specification["checked"] or _own_tables(specification["data"], root):
        hand_over(specification["data"], root, Path(specification["private"]))
        os.environ["LMUData"] = specification["private"]  # noqa: SIM112 (the kit's name)
    runner.main()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        complain("aki-eval", str(error))
        sys.exit(2)
