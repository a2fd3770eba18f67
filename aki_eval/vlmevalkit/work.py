"""The kit's work directory: one for each model as it is, so that no answer of another one can lie in it.

WORK_DIR/NAME-<fingerprint>/owner.json    written first: whose answers these are
WORK_DIR/NAME-<fingerprint>/NAME/         the kit's files
WORK_DIR/NAME                             a link to the latest of them

The kit goes on from `01_TABLE.pkl`, the partial answers of a run that was cut off, whatever model gave them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmarks.errors import UserError

from ..run.distributed import find_world

OWNER = "owner.json"
TABLES = "tables-"
NAME = re.compile(r"\w[\w.+@ -]*")


def work_folder(root: Path, name: str, owner: Mapping[str, Any]) -> Path:
    """The private folder of a model under `root`, made when it is not there, with the link NAME to its results.

    Args:
        root: the work directory.
        name: the model's in VLMEvalKit.
        owner: all that decides the answers.

    Raises:
        UserError: a name that is no file's name, or something else lies at the link's place.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"--model: {name!r} names a folder of results; expected letters, digits and . _ + @ -")
    text = json.dumps(owner, sort_keys=True, indent=2)
    folder = root / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if folder.is_symlink() or (folder.exists() and _owner(folder) != text):
        raise UserError(
            f"{folder} was not made by this command for this model; remove it, or choose another --work-dir"
        )
    if not folder.exists():
        root.mkdir(parents=True, exist_ok=True)
        made = Path(
            tempfile.mkdtemp(dir=root)
        )  # nobody else's to write into; there under its name when it has an owner
        (made / OWNER).write_text(text, "utf-8")
        try:
            made.rename(folder)
        except OSError:  # another rank was first
            shutil.rmtree(made)
            if _owner(folder) != text:
                raise
    _link(root / name, folder / name)
    return folder


def _owner(folder: Path) -> str | None:
    try:
        return (folder / OWNER).read_text("utf-8")
    except OSError:
        return None


def _link(link: Path, results: Path) -> None:
    beside = link.with_name(f".{link.name}.{os.getpid()}-{secrets.token_hex(4)}")
    beside.symlink_to(results.relative_to(link.parent))
    os.replace(beside, link)


def refuse_foreign_pickles(folder: Path) -> None:
    """Refuses foreign pickles: loading one may run anything in it, and partial answers in it may be another model's.

    Raises:
        UserError: a pickle below a folder that this command did not make.
    """
    found = next(folder.rglob("*.pkl"), None)
    if found is not None:
        raise UserError(
            f"{found} is a pickle that this command did not make, and VLMEvalKit would load it; remove it, or choose "
            "another --work-dir"
        )


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keeps a second start out of the folder. Ranks of one torchrun share it.

    Raises:
        UserError: somebody else is at work there.
    """
    if find_world().size > 1:
        yield
        return
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise UserError(f"{folder}: another aki-eval vlmevalkit is at work there; wait for it") from error
    try:
        for stale in folder.glob(f"{TABLES}*") if (folder / OWNER).is_file() else ():
            shutil.rmtree(stale)
        yield
    finally:
        lock.release()


@contextmanager
def private_tables(folder: Path) -> Iterator[Path]:
    """A fresh folder for tables of our checking and the pictures that the kit writes beside them."""
    made = Path(tempfile.mkdtemp(prefix=TABLES, dir=folder.resolve()))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
