"""Small files that would become huge, and programs that would never end."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from aki_eval.commands.inspect_ import read_picture
from aki_eval.predictors.aki import AkiPredictor
from aki_eval.predictors.template_check import try_template
from benchmarks.errors import UserError
from benchmarks.images import decode

TOY = Path(__file__).parent.parent / "data/toy_model"


def png(side: int) -> bytes:
    """A black picture of one bit a pixel: 900 million of them in 100 KB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    squeeze = zlib.compressobj(1)
    row = bytes(1 + (side + 7) // 8)
    data = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [13_000, 30_000])
def test_a_picture_of_too_many_pixels_is_refused_unopened(side: int, tmp_path: Path) -> None:
    content = png(side)
    assert len(content) < 1_000_000
    (tmp_path / "huge.png").write_bytes(content)
    with pytest.raises(ValueError, match="pixels"):
        decode(content)
    with pytest.raises(UserError, match=r"huge.png: cannot be read as a picture \(.*pixels"):
        read_picture(tmp_path / "huge.png")


class Endless:
    """A processor whose chat template does not come back before it is told to."""

    def __init__(self) -> None:
        self.told = Event()

    def apply_chat_template(self, conversation: Any, **_: Any) -> str:
        self.told.wait()
        return ""


def test_a_template_that_never_ends_is_given_up() -> None:
    processor = Endless()
    with pytest.raises(UserError, match=r"a-model: its chat template takes more than 0.1 s for one question"):
        try_template(processor, "a-model", 0.1)
    processor.told.set()


@pytest.mark.parametrize(
    "text", ["{{ 1 / 0 }}", "{% for i in range(99999999) %}{% endfor %}", "{{ raise_exception('no') }}", "{% if %}"]
)
def test_a_template_that_fails_is_one_line(text: str, tmp_path: Path) -> None:
    shutil.copytree(TOY, tmp_path / "toy", ignore=shutil.ignore_patterns("training"))
    (tmp_path / "toy/chat_template.jinja").write_text(text)
    with pytest.raises(UserError, match=r"toy: its chat template cannot write a question \(.*\); mend the template"):
        _ = AkiPredictor(tmp_path / "toy").processor
