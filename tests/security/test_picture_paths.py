"""Annotations that name a picture outside the data root get none."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image

from train.data.instructions.base import Example
from train.data.pictures import PixelReader, UnreadablePicture, picture_path
from train.data.show import _card

OUTSIDE = ["../secret.png", "a/../../secret.png", "..\\secret.png", "/etc/passwd", "a\0.png"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    (tmp_path / "root/a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "root/a/1.png")
    return tmp_path / "root"


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_picture_from_outside(root: Path, name: str) -> None:
    with pytest.raises(UnreadablePicture, match="leads out of the data root"):
        PixelReader(root, None)(name, random.Random(0), False)
    card = _card(root, "LLaVA 1", Example(image=name, prompt="?", answer="!"), None)
    assert card.picture is None
    assert "leads out of the data root" in str(card.problem)


def test_a_picture_inside_is_shown(root: Path) -> None:
    assert picture_path(root, "a/1.png") == root / "a/1.png"
    card = _card(root, "LLaVA 1", Example(image="a/1.png", prompt="?", answer="!"), None)
    assert str(card.picture).startswith("data:image/png")
