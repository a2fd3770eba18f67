"""`aki-demo --export-space DIR`: a folder that is a Hugging Face Space once it is pushed.

A Space of the kind `docker`: the kind `gradio` installs Gradio with all that it asks for, and so an older Pillow (see
`GRADIO`). The toolkit is in no package index, so its source goes along. Versions are those that wrote the folder.
"""

from __future__ import annotations

import re
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import aki_entry
from benchmarks.errors import UserError

from . import GRADIO
from .uploads import MEGABYTE

NEEDED = (
    "accelerate",
    "huggingface-hub",
    "jinja2",
    "matplotlib",
    "numpy",
    "pillow",
    "protobuf",
    "pydantic",
    "safetensors",
    "sentencepiece",
    "torch",
    "torchvision",
    "transformers",
    "typer",
)
"""What the page imports, beside what Gradio does. Not VLMEvalKit, and nothing that trains or scores."""
PACKAGES = ("aki_eval", "benchmarks", "model", "reports")
MOST_COPIED = 100 * MEGABYTE
"""Bytes of a checkpoint that still goes along; a larger one is loaded from the Hub."""
PORT = 7860
"""Where a Space's visitors are sent to."""

APP = '''"""The Space's page. Everybody who reaches it is let in."""

import os

from aki_eval.demo.cli import run
from aki_eval.demo.uploads import Limits

run(
    os.environ.get("AKI_MODEL", {model!r}),
    host="0.0.0.0",
    port=int(os.environ.get("PORT", "{port}")),
    max_new_tokens={max_new_tokens},
    limits=Limits(),
    public=True,
)
'''
DOCKERFILE = """FROM python:3.11-slim
RUN useradd --create-home --uid 1000 user
USER user
ENV PATH=/home/user/.local/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /home/user/app
COPY --chown=user requirements.txt .
# Gradio comes last and alone: it would bring an older Pillow, which resizes pictures to other bytes.
RUN pip install --no-cache-dir --requirement requirements.txt && pip install --no-cache-dir --no-deps {gradio}
COPY --chown=user . .
EXPOSE {port}
CMD ["python", "app.py"]
"""
README = """---
title: AKI
emoji: 🍁
colorFrom: red
colorTo: yellow
sdk: docker
app_port: {port}
pinned: false
license: apache-2.0
models:{models}
short_description: Ask AKI about pictures, under one attention mask or two
---

# AKI

A page to talk with AKI about pictures, to set kinds of attention mask side by side, and to see what attention does
(arXiv 2503.02597). Written by `aki-demo --export-space`; `python app.py` serves it anywhere, once
`pip install -r requirements.txt` and `pip install --no-deps {gradio}` have run.

Another checkpoint: set the variable `AKI_MODEL` to its Hub id. What is asked and uploaded is kept for an hour in memory
and in a folder that ends with the process, and sent nowhere.
"""


def export(folder: Path, model: str, *, max_new_tokens: int) -> list[Path]:
    """Writes the Space. Returns its own files, the toolkit's source and the checkpoint left out.

    Args:
        folder: is made; may be there if it is empty.
        model: a Hub id, or a small checkpoint's folder, which is copied.
        max_new_tokens: the longest answer, in tokens.

    Raises:
        UserError: the folder holds something already or cannot be written, or the checkpoint is too large to go along.
    """
    from ..predictors.make import HUB_ID

    checkpoint = Path(model)
    if not checkpoint.is_dir() and not HUB_ID.fullmatch(model):
        raise UserError(f"--model: {model} is neither a folder nor a Hub id such as Sony/AKI-4B-phi-3.5-mini")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--export-space: {folder} is there already; name a folder that is new or empty")
    if checkpoint.is_dir():
        _check_checkpoint(checkpoint)
    asked = "checkpoint" if checkpoint.is_dir() else model
    texts = {
        "app.py": APP.format(model=asked, port=PORT, max_new_tokens=max_new_tokens),
        "requirements.txt": requirements(),
        "Dockerfile": DOCKERFILE.format(gradio=GRADIO, port=PORT),
        "README.md": README.format(gradio=GRADIO, port=PORT, models=" []" if checkpoint.is_dir() else f"\n- {model}"),
        ".dockerignore": "**/__pycache__\n.git\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        for package in PACKAGES:
            shutil.copytree(
                aki_entry.HOME / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "example")
            )
        shutil.copy(aki_entry.HOME / "LICENSE", folder / "LICENSE")
        if checkpoint.is_dir():
            shutil.copytree(checkpoint, folder / "checkpoint", ignore=shutil.ignore_patterns("training", ".*"))
    except OSError as error:
        raise UserError(f"--export-space: cannot write {folder} ({error.strerror}); name another folder") from error
    return [folder / name for name in texts]


def _check_checkpoint(checkpoint: Path) -> None:
    from ..predictors.weights import read_config, refuse_pickled

    read_config(checkpoint)
    refuse_pickled(checkpoint)
    size = sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())
    if size > MOST_COPIED:
        raise UserError(
            f"--model: {checkpoint} holds {size / MEGABYTE:,.0f} MB, and at most {MOST_COPIED // MEGABYTE} go along "
            "with a Space; push it to the Hub (push_to_hub) and name its id"
        )


def requirements() -> str:
    """A line for each package, at the version that is installed here.

    Raises:
        UserError: one is not installed, so that nothing is known of its version.
    """
    try:
        names = sorted({*NEEDED, *gradio_needs()}, key=str.lower)
        return "".join(f"{name}=={version(name).partition('+')[0]}\n" for name in names)
    except PackageNotFoundError as error:
        raise UserError(
            f"--export-space: {error.name} is not installed, so that its version is not known; make install"
        ) from error


def gradio_needs() -> list[str]:
    """What Gradio asks for on every Python, but for Pillow."""
    asked = [line for line in requires("gradio") or () if ";" not in line]
    names = [re.split(r"[\s<>=~!\[]", line, maxsplit=1)[0] for line in asked]
    return [name for name in names if name != "pillow"]
