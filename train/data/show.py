"""Samples as a page: picture, box, what the user says, and what is learned of it in color."""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .instructions import SETS, InstructionData
from .instructions.base import Example
from .pictures import UnreadablePicture, picture_path, read_picture

if TYPE_CHECKING:
    from .collate import Encoder, ImageOrder

MAX_SIDE = 480
"""Pictures on the page are no larger than this."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A stretch of text; `token` is its id where a tokenizer cut it."""

    text: str
    learned: bool
    token: int | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """One sample. `picture` is a data address; `box` is in percent of the picture: left, top, width, height."""

    title: str
    source: str
    picture: str | None
    small: bool
    box: tuple[float, float, float, float] | None
    pieces: Sequence[Piece]
    problem: str | None = None


def sample_cards(root: Path, names: Sequence[str], num_samples: int, seed: int, encoder: Encoder | None) -> list[Card]:
    """`num_samples` samples of each set, drawn at random.

    Raises:
        UserError: a set cannot be read.
    """
    cards = []
    for name in names:
        data = InstructionData(SETS[name], root, root / ".aki")
        rng = random.Random(f"{seed} {name}")
        for index in rng.sample(range(len(data)), min(num_samples, len(data))):
            cards.append(_card(root, f"{SETS[name].title} {index}", data.example(index, rng), encoder))
    return cards


def page(cards: Sequence[Card], title: str) -> str:
    """One HTML file that needs nothing else; whatever the data hold is escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "pages")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template("data_show.html").render(cards=cards, title=title)


def make_encoder(processor_path: str, image_order: ImageOrder, max_length: int) -> Encoder:
    """The encoder of training for a processor's folder or Hub id."""
    from model import AkiProcessor

    from .collate import Encoder

    processor = AkiProcessor.from_pretrained(processor_path)
    return Encoder(
        processor,
        image_token_id=processor.image_token_id,
        num_image_tokens=processor.num_latents,
        question_end_id=processor.question_end_token_id,
        max_length=max_length,
        image_order=image_order,
    )


def _card(root: Path, title: str, example: Example, encoder: Encoder | None) -> Card:
    picture, small, problem = None, False, None
    if example.image is not None:
        try:
            picture, small = _data_address(picture_path(root, example.image))
        except UnreadablePicture as error:
            problem = str(error)
    return Card(
        title=title,
        source=example.image or "text only",
        picture=picture,
        small=small,
        box=_percent(example.box),
        pieces=_pieces(example, encoder),
        problem=problem,
    )


def _pieces(example: Example, encoder: Encoder | None) -> list[Piece]:
    if encoder is None:
        return [Piece(text=example.prompt, learned=False), Piece(text=example.answer, learned=True)]
    from model.attention import IGNORED

    from .samples import Item

    item = Item(prompt=example.prompt, answer=example.answer, picture={} if example.image else None, source="")
    encoded = encoder([item])[0]
    pieces: list[Piece] = []
    for token, label in zip(encoded.input_ids, encoded.labels, strict=True):
        if token == encoder.image_token_id and pieces and pieces[-1].token == token:
            continue  # the picture's many places are shown once
        pieces.append(Piece(text=_readable(encoder, token), learned=label != IGNORED, token=token))
    return pieces


def _readable(encoder: Encoder, token: int) -> str:
    if token == encoder.image_token_id:
        return f"{encoder.image_token} x {encoder.num_image_tokens}"
    text: Any = encoder.tokenizer.convert_ids_to_tokens(token)
    return str(text).replace("▁", " ").replace("Ġ", " ").replace("Ċ", "\n").replace("<0x0A>", "\n")


def _data_address(path: Path) -> tuple[str, bool]:
    """The picture for an <img>, scaled down if it is large; and whether it is so small that it has to be scaled up."""
    image = read_picture(path)
    small = max(image.size) < MAX_SIDE // 4
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if small else "JPEG")
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}", small


def _percent(box: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
    if box is None:
        return None
    left, top, right, bottom = box
    return (100 * left, 100 * top, 100 * (right - left), 100 * (bottom - top))
