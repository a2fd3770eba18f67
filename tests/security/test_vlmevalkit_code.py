"""`aki-eval vlmevalkit`: what the kit would run out of a table, a pickle or a file's name never reaches it."""

from __future__ import annotations

import base64
import csv
import importlib
import importlib.util
import io
import os
import pickle
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image
from predictor_helpers import write_checkpoint

from aki_eval.vlmevalkit.pickles import load_only_plain
from benchmarks.data.handover import copy_checked
from benchmarks.data.tsv import read_cells
from benchmarks.errors import UserError
from benchmarks.kit import _process_state_kept, _stub_packages


def picture() -> str:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def write_table(path: Path, **cells: str) -> Path:
    plain = {"index": "1", "image": picture(), "image_path": "a/1.png", "question": "Which?", "answer": "yes"}
    row = plain | {"choices": "['yes', 'no']", "skills": "['geometry']"} | cells
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([list(row), list(row.values())])
    return path


def code(marker: Path) -> str:
    return f"__import__('pathlib').Path({str(marker)!r}).touch()"


HOSTILE = {
    "choices": {"choices": "CODE"},
    "choices behind a blank": {"choices": " \tCODE"},
    "choices in a list": {"choices": "[CODE, 'no']"},
    "an f-string": {"choices": 'f"{CODE}"'},
    "a power that never ends": {"choices": "9**9**9**9"},
    "too deep for the parser": {"choices": "-" * 100_000 + "1"},
    "skills": {"skills": "CODE"},
    "a list of pictures": {"image": "[CODE]"},
    "a list of pictures' names": {"image_path": "[CODE]"},
    "an index": {"index": "CODE"},
    "an index that is a path": {"index": "../../1"},
    "image_path upwards": {"image_path": "../../stolen.png"},
    "image_path upwards in the middle": {"image_path": "a/../../../stolen.png"},
    "image_path upwards by the other slash": {"image_path": "..\\..\\stolen.png"},
    "image_path from the root": {"image_path": "/tmp/stolen.png"},
    "image_path upwards in a list": {"image": "['PICTURE']", "image_path": "['../../stolen.png']"},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_cell_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "ran"
    filled = {"CODE": code(marker), "PICTURE": picture()}
    cells = {key: re.sub("CODE|PICTURE", lambda word: filled[word[0]], cell) for key, cell in HOSTILE[name].items()}
    table = write_table(tmp_path / "MathVista_MINI.tsv", **cells)
    with pytest.raises(UserError, match=r"MathVista_MINI\.tsv"):
        copy_checked(table, tmp_path / "copy.tsv")
    assert not marker.exists()
    assert not list(tmp_path.glob("copy*"))


@pytest.mark.parametrize(
    "cells",
    [
        {},
        {"choices": "", "skills": "geometry reasoning", "image_path": ""},  # no expression: the kit takes it as text
        {"image": "['PICTURE', 'PICTURE']", "image_path": "['a/1.png', 'a/2.png']", "choices": '["1", None]'},
        {"index": "train_12.3-4", "question": 'a "quoted"\tcell\nof two lines', "answer": "f(x) = 2 ** 3"},
    ],
)
def test_an_honest_table_passes_cell_by_cell(tmp_path: Path, cells: dict[str, str]) -> None:
    cells = {key: cell.replace("PICTURE", picture()) for key, cell in cells.items()}
    table = write_table(tmp_path / "table.tsv", **cells)
    copy_checked(table, tmp_path / "copy.tsv")
    assert list(read_cells(tmp_path / "copy.tsv")) == list(read_cells(table))


def the_kits_file_module() -> Any:
    """The kit's own smp/file.py, without importing the rest of it."""
    found = importlib.util.find_spec("vlmeval")
    assert found is not None
    assert found.origin is not None
    with _process_state_kept(), _stub_packages(Path(found.origin).parent):
        return importlib.import_module("vlmeval.smp.file")


class Planted:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def test_the_kits_loader_takes_plain_pickles_only(tmp_path: Path) -> None:
    kit_file = the_kits_file_module()
    load_only_plain(kit_file)
    kit_file.dump({"a": Planted(tmp_path / "ran")}, str(tmp_path / "01_MME.pkl"))
    with pytest.raises(pickle.UnpicklingError, match=r"asks for posix\.mkdir"):
        kit_file.load(str(tmp_path / "01_MME.pkl"))
    assert not (tmp_path / "ran").exists()
    plain = {numpy.int64(3): "Yes", "4": {"hit": 1, "log": ["x", None]}, 5: numpy.float64(0.5)}
    kit_file.dump(plain, str(tmp_path / "02_MME.pkl"))
    assert kit_file.load(str(tmp_path / "02_MME.pkl")) == plain


def test_the_command_hands_no_hostile_table_to_the_kit(warm: Path, tmp_path: Path) -> None:
    """As its users run it, with the real kit behind."""
    checkpoint = write_checkpoint(tmp_path / "model")
    (tmp_path / "tables").mkdir()
    marker = tmp_path / "ran"
    write_table(tmp_path / "tables/MathVista_MINI.tsv", choices=code(marker), image_path="../../../stolen.png")
    arguments = ["--model", f"tiny={checkpoint}", "--data", "MathVista_MINI", "--tables", str(tmp_path / "tables")]
    done = subprocess.run(
        [warm / "aki-eval", "vlmevalkit", *arguments],
        env=os.environ | {"HOME": str(tmp_path / "home"), "OPENAI_API_KEY": "sk-none"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, marker.exists()) == (2, False), done.stderr[-2000:]
    assert "image_path '../../../stolen.png' leads out of the folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("stolen.png"))
