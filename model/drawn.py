"""A kind of attention drawn on small sequences, and held against what somebody drew by hand.

A sequence is written with a letter a token: `t` text, digits the latents of a picture (`1` of the first, `2` of the
second, each of equally many), `q` the text token that ends a question, `a` what is answered, or to be learned.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .attention import IMAGE, QUESTION_END, TEXT, layout, pairs
from .kinds import Kind

TRIED = ("t11tqa", "12tqa", "t11tqaat22tqa", "t11aa", "aa")
"""One picture, two before one question, two turns, a caption, text alone."""


def draw(kind: Kind, sequence: str) -> tuple[str, ...]:
    """A row for each token that looks, `#` for each that it sees.

    Raises:
        ValueError: the predicate raises, or gives no Tensor of a bool for each pair of tokens.
    """
    codes = [{"t": TEXT, "a": TEXT, "q": QUESTION_END}.get(letter, IMAGE) for letter in sequence]
    tokens = layout(torch.tensor([codes], device="cpu"), max(1, sequence.count("1")))
    try:
        visible: object = kind.sees(*pairs(tokens, torch.arange(len(sequence), device="cpu")[None, None, :], 0))
    except Exception as error:  # somebody else's predicate may do anything
        raise ValueError(f"its predicate raises {type(error).__name__}: {' '.join(str(error).split())}") from error
    wanted = (1, len(sequence), len(sequence))
    if not isinstance(visible, Tensor) or visible.dtype != torch.bool or tuple(visible.shape) != wanted:
        what = (
            f"a Tensor of {str(visible.dtype).removeprefix('torch.')}, {tuple(visible.shape)}"
            if isinstance(visible, Tensor)
            else f"a {type(visible).__name__}"
        )
        raise ValueError(f"its predicate gives {what}, expected a Tensor of a bool for each pair, here {wanted}")
    return tuple("".join("#" if seen else "." for seen in row) for row in visible[0].tolist())


def check_kind(name: str, kind: Kind) -> None:
    """Tries a kind on small sequences, so that no model stands on a predicate that cannot be one.

    Every token sees itself (a row that sees nothing has no attention to share out), nothing sees an answer ahead of it
    (it is not there yet when answers are generated, and when they are learned it is what is to be said), and what was
    drawn by hand (`Kind.drawn`) is what the predicate does.

    Raises:
        ValueError: one of that does not hold, in a sentence.
    """
    try:
        for sequence in TRIED:
            for place, row in enumerate(draw(kind, sequence)):
                if row[place] != "#":
                    raise ValueError(f"in {sequence} token {place} ({sequence[place]}) does not see itself: {row}")
                ahead = [i for i in range(place + 1, len(row)) if row[i] == "#" and sequence[i] == "a"]
                if ahead:
                    raise ValueError(
                        f"in {sequence} token {place} ({sequence[place]}) sees the answer ahead of it, token "
                        f"{ahead[0]}: {row}"
                    )
        for sequence, rows in kind.drawn.items():
            for place, (row, by_hand) in enumerate(zip(draw(kind, sequence), rows, strict=True)):
                if row != by_hand:
                    raise ValueError(
                        f"in {sequence} token {place} ({sequence[place]}) sees {row}, drawn by hand is {by_hand}"
                    )
    except ValueError as error:
        raise ValueError(f"attention={name!r}: {error}") from error
