"""Documents as programs: their blocks, and a copy of the checkout in which they are carried out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PACKAGES = ("aki_eval", "benchmarks", "model", "train", "reports")
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file it belongs to (None: no file), its text."""

    language: str
    title: str | None
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(language, title or None, text) for language, title, text in BLOCK.findall(page.read_text("utf-8"))]


def copy_checkout(folder: Path) -> Path:
    """The code without its tests' data, which is linked."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("example"))
    (folder / "tests").mkdir()
    for path in (ROOT / "tests").glob("*.py"):
        shutil.copy2(path, folder / "tests")
    (folder / "tests" / "data").symlink_to(ROOT / "tests" / "data")
    for name in ("pyproject.toml", "aki_entry.py"):
        shutil.copy2(ROOT / name, folder)
    return folder


def carry_out(page: Path, checkout: Path, programs: Path) -> None:
    """What a reader does with a page, from top to bottom.

    With a title: python and toml blocks are new files, diff blocks change a file. Without: python is run, sh is typed,
    and each line of a text block must be in what the command before it printed. `programs` come first on PATH.
    """
    said = ""
    for block in blocks(page):
        if block.title and block.language == "diff":
            apply(block.text, checkout / block.title)
        elif block.title:
            path = checkout / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            assert not path.exists(), f"{page.name}: {block.title} is there already"
            path.write_text(block.text, "utf-8")
        elif block.language == "sh":
            for line in filter(str.strip, block.text.replace("\\\n", " ").splitlines()):
                said = run(["bash", "-c", line], checkout, page, programs)
        elif block.language == "python":
            said = run([programs / "python", "-c", block.text], checkout, page, programs)
        else:
            assert block.language == "text", f"{page.name}: a block of {block.language} without a title"
            flat = " ".join(said.split())
            for line in filter(str.strip, block.text.splitlines()):
                assert " ".join(line.split()) in flat, f"{page.name}: {line!r} is not in\n{said}"


def apply(change: str, path: Path) -> None:
    """Replaces, hunk by hunk (they are parted by `...`), the lines marked ` ` and `-` by those marked ` ` and `+`."""
    text = path.read_text("utf-8")
    for hunk in re.split(r"^\.\.\.\n", change, flags=re.MULTILINE):
        old = "".join(f"{line[1:]}\n" for line in hunk.splitlines() if line[:1] != "+")
        new = "".join(f"{line[1:]}\n" for line in hunk.splitlines() if line[:1] != "-")
        assert text.count(old) == 1, f"{path}: {text.count(old)} times in the file:\n{old}"
        text = text.replace(old, new)
    path.write_text(text, "utf-8")


def run(command: list[str | Path], checkout: Path, page: Path, programs: Path) -> str:
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
    }
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{page.name}: {command[-1]}\nexit code {done.returncode}\n{said}"
    return said
