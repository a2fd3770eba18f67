"""A kind of attention is tried on small sequences before a model stands on it."""

from __future__ import annotations

import re

import pytest
import torch
from test_model_attention import WRITTEN_OUT, drawn, types

from model.attention import build_mask
from model.drawn import TRIED, check_kind, draw
from model.kinds import KINDS, Kind, causal, mma


def kind(sees, **drawing):
    return Kind(sees=sees, title="", first_row="image", question_reaches_image=True, drawn=drawing)


@pytest.mark.parametrize("name", KINDS)
def test_ours_pass_and_are_drawn_as_the_model_masks(name):
    check_kind(name, KINDS[name])
    codes = {"t": 0, "a": 0, "q": -1, "1": 1, "2": 1}
    for sequence in TRIED:
        row = types(*(codes[letter] for letter in sequence))
        mask = build_mask(name, row, num_latents=max(1, sequence.count("1")))
        assert list(draw(KINDS[name], sequence)) == drawn(mask), sequence


def test_what_was_drawn_by_hand_is_held_against_the_predicate():
    check_kind("own", kind(mma, t11tqa=WRITTEN_OUT["mma"]))
    with pytest.raises(ValueError, match=re.escape("in t11tqa token 1 (1) sees ##.##., drawn by hand")):
        check_kind("own", kind(mma, t11tqa=WRITTEN_OUT["v2v"]))


@pytest.mark.parametrize(
    ("sees", "said"),
    [
        (lambda query, key: True, "its predicate gives a bool, expected a Tensor of a bool"),
        (lambda query, key: None, "its predicate gives a NoneType"),
        (lambda query, key: (key.place <= query.place).float(), "gives a Tensor of float32, (1, 6, 6)"),
        (lambda query, key: query.image >= -1, "gives a Tensor of bool, (1, 6, 1)"),
        (lambda query, key: query.colour, "its predicate raises AttributeError: 'Tokens' object has no attribute"),
        (lambda query, key: causal(query, key) if key.image > 0 else None, "its predicate raises RuntimeError: Bool"),
        (lambda query, key: key.place < query.place, "in t11tqa token 0 (t) does not see itself: ......"),
        (lambda query, key: causal(query, key) & (query.image < 0), "in t11tqa token 1 (1) does not see itself"),
        (lambda query, key: torch.ones_like(causal(query, key)), "in t11tqa token 0 (t) sees the answer ahead of it"),
        (lambda query, key: causal(query, key) | (key.place <= 4), "in 12tqa token 0 (1) sees the answer ahead of it"),
    ],
)
def test_a_predicate_that_cannot_be_one_is_a_sentence(sees, said):
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        check_kind("own", kind(sees))
    assert str(refused.value).startswith("attention='own': ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("drawing", "said"),
    [
        ({"t11xqa": ["#"]}, "'t11xqa' is no sequence"),
        ({"t112qa": ["#"]}, "'t112qa' is no sequence"),
        ({"t22qa": ["#"]}, "'t22qa' is no sequence"),
        ({"ta": ["#.", "#"]}, "of ta expected 2 rows of 2 # and ., found ['#.', '#']"),
        ({"ta": ["#.", "#o"]}, "of ta expected 2 rows of 2"),
        ({"ta": ["#."]}, "of ta expected 2 rows of 2"),
    ],
)
def test_a_drawing_that_is_none_is_found_where_it_is_made(drawing, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        kind(causal, **drawing)
