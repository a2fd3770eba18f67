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

from benchmarks.errors import UserError
from benchmarks.kit import _process_state_kept as process_state_kept
from benchmarks.records import ImageRef, Prompt
from benchmarks.redaction import redact

from ..predictors import make_predictor
from ..run.specification import file_checksums


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
    """The kit's run.py: inside the package (ms-vlmeval) or beside it (upstream)."""
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


def _accept_tables(names: Sequence[str]) -> None:
    """Tables of ours: no MD5 sum is expected, so the kit never downloads over them."""
    dataset = importlib.import_module("vlmeval.dataset")
    for kind in {kind for kind in vars(dataset).values() if isinstance(kind, type)}:
        sums = getattr(kind, "DATASET_MD5", {})
        sums.update(dict.fromkeys(set(names) & set(sums)))


def hide_keys() -> None:
    """The kit logs the judge's key at level INFO; no record leaves this process with it."""
    make_record = logging.getLogRecordFactory()

    def make_scrubbed(*arguments: Any, **options: Any) -> logging.LogRecord:
        record = make_record(*arguments, **options)
        record.msg, record.args = redact(record.getMessage()), ()
        return record

    logging.setLogRecordFactory(make_scrubbed)


def tables_folder(root: Path, work_dir: Path) -> Path:
    """A folder of links to the tables in `root`, one for each version of them.

    The kit writes pictures beside its tables and never refreshes them: two versions in one folder would mix.
    """
    tables = sorted(root.glob("*.tsv"))
    if not tables:
        raise UserError(f"--tables: no *.tsv in {root}")
    folder = work_dir.resolve() / f"LMUData-{file_checksums(tables)[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        link = folder / table.name
        if not link.is_symlink():
            link.symlink_to(table.resolve())
    return folder


def check_names(models: Sequence[str], tables: Sequence[str]) -> None:
    """Raises UserError for a model or a table that the kit does not know: its own loop ends in a traceback, or goes on.

    A table of any other name counts when its file lies in the kit's folder.
    """
    with importing_the_kit():
        config, dataset = (importlib.import_module(f"vlmeval.{name}") for name in ("config", "dataset"))
    _refuse_unknown("--model", models, config.supported_VLM, "NAME=CHECKPOINT is an AKI of yours")
    root = Path(os.environ.get("LMUData", ""))  # noqa: SIM112 (the kit's name)
    own = [name for name in tables if (root / f"{name}.tsv").is_file()]
    known = [*own, *dataset.SUPPORTED_DATASETS, *dataset.supported_video_datasets]
    _refuse_unknown("--data", tables, known, "names are the kit's, such as MMBench_DEV_EN")


def _refuse_unknown(option: str, names: Sequence[str], known: Iterable[str], hint: str) -> None:
    names_known = list(known)
    for name in names:
        if name not in names_known:
            close = difflib.get_close_matches(name, names_known, n=3)
            advice = f"; close to it are {', '.join(close)}" if close else ""
            raise UserError(f"{option}: VLMEvalKit knows no {name!r}{advice}; {hint}")


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
        if specification["own_tables"]:
            _accept_tables(specification["data"])
    for name, checkpoint in specification["models"].items():
        register(name, checkpoint, **specification["options"])
    check_names(specification["names"], specification["data"])
    runner.main()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print("aki-eval:", " ".join(redact(str(error)).split()), file=sys.stderr)
        sys.exit(2)
