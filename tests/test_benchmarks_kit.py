"""VLMEvalKit's rules are borrowed without VLMEvalKit's side effects."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from benchmarks import kit
from benchmarks.errors import UserError

ROOT = Path(__file__).resolve().parents[1]

UNTOUCHED = """
import logging, os, ssl, sys, warnings
from pathlib import Path
from PIL import Image
def state():
    return (dict(os.environ), ssl._create_default_https_context, Image.MAX_IMAGE_PIXELS, list(warnings.filters),
            logging.getLogger().level, list(logging.getLogger().handlers))
from benchmarks import kit
import pandas, huggingface_hub.utils._cache_manager  # dependencies of ours with filters of their own
before = state()
assert kit.read_choice("(B)", {"A": "cat", "B": "dog"}) == "B"
assert kit.read_yes_no("Yes!") == "Yes"
row = {"caption": "c", "question": "q", "gpt4_ans": "g", "category": "conv"}
assert kit.llava_bench_prompt(row, "a").startswith("[Context]")
for old, new in zip(before, state()):
    assert old == new, (old, new)
assert [name for name in sys.modules if name.startswith("vlmeval")] == []
assert not {"torch", "openai", "transformers", "decord"} & set(sys.modules)
assert not (Path.home() / "LMUData").exists()
"""


def test_the_process_and_the_home_stay_as_they_were(tmp_path: Path) -> None:
    """TLS checks, environment, root logger, warnings, Pillow's limit, ~/LMUData, sys.modules."""
    (tmp_path / "home").mkdir()
    environment = {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", UNTOUCHED], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")


def test_a_real_import_made_before_stays_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    real = types.ModuleType("vlmeval")
    real.__spec__ = __import__("importlib.util").util.find_spec("vlmeval")
    inner = types.ModuleType("vlmeval.smp")
    monkeypatch.setitem(sys.modules, "vlmeval", real)
    monkeypatch.setitem(sys.modules, "vlmeval.smp", inner)
    kit.rules.cache_clear()
    assert kit.read_yes_no("no") == "No"
    assert sys.modules["vlmeval"] is real
    assert sys.modules["vlmeval.smp"] is inner
    assert [name for name in sys.modules if name.startswith("vlmeval.")] == ["vlmeval.smp"]


def test_verbose_does_not_change_a_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERBOSE", "1")
    assert kit.read_choice("I think A it is", {"A": "cat", "B": "dog"}) == "A"


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "vlmeval", raising=False)
    kit.rules.cache_clear()
    with pytest.raises(UserError, match="ms-vlmeval is not installed; pip install"):
        kit.read_yes_no("no")
    monkeypatch.undo()
    assert kit.read_yes_no("no") == "No"


def test_literals_are_read_and_nothing_else() -> None:
    assert kit.literal_list("['a', 1]") == ["a", 1]
    for cell in ("__import__('os')", "{'a': 1}", "[open('/etc/passwd')]", "[", "(" * 500):
        with pytest.raises(ValueError, match="not a list"):
            kit.literal_list(cell)
