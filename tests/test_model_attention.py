"""Who may see whom: the masks and positions of Eq. 2, 5, 6 and of concentric causal attention."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from model_helpers import IMAGE, NUM_LATENTS, QUESTION_END, batch, model, model_for, pixels, processor
from torch import Tensor
from transformers.masking_utils import and_masks, sdpa_mask, sliding_window_overlay

from model import attention, backends, kinds
from model.attention import build_mask, layout, mask_function, positions, rings, token_types
from model.kinds import KINDS, Kind
from model.self_test import attention_set_to, failures

T, V, Q = attention.TEXT, attention.IMAGE, attention.QUESTION_END
OTHER = 2  # a further modality


def drawn(mask: Tensor) -> list[str]:
    """A mask as people draw it: one row a query."""
    return ["".join("#" if seen else "." for seen in row) for row in mask[0, 0]]


def types(*row: int) -> Tensor:
    return torch.tensor([row])


def by_definition(kind: str, row: list[int], side: int) -> list[list[bool]]:
    """Eq. 2, Eq. 6, the ring rule and the proposals' sentences, one pair of tokens at a time."""
    size = side * side

    def picture(i: int) -> int | None:
        return row[:i].count(V) // size if row[i] == V else None

    def sees(i: int, j: int) -> bool:
        one_picture = picture(i) is not None and picture(i) == picture(j)
        if kind == "cca" and one_picture:
            ring = [min(n // side, n % side, side - 1 - n // side, side - 1 - n % side) for n in range(size)]
            return ring[row[:j].count(V) % size] <= ring[row[:i].count(V) % size]
        if j <= i or (one_picture and kind in ("v2v", "mma_v2v")):
            return True
        if kind == "prefix":
            first = next((place for place, kind in enumerate(row) if kind > 0), len(row))
            return Q in row[first:] and max(i, j) <= row.index(Q, first)
        ends = [place for place in range(i, len(row)) if row[place] == Q]
        before_end = bool(ends) and j <= ends[0]
        if kind == "future":
            return row[i] == V and before_end
        return kind in ("mma", "mma_v2v") and row[i] > 0 and before_end and max(row[j], 0) != row[i]

    return [[sees(i, j) for j in range(len(row))] for i in range(len(row))]


def random_types(seed: int, with_others: bool = False, side: int = 2) -> list[int]:
    """Texts, pictures, question ends and perhaps a third modality in any order."""
    generator = torch.Generator().manual_seed(seed)
    blocks = [[T], [Q], [V] * side * side, [T, T, T], *([[OTHER] * 3] if with_others else [])]
    chosen = torch.randint(len(blocks), (12,), generator=generator).tolist()
    return [each for block in chosen for each in blocks[block]]


def test_mutual_mask_written_out():
    mask = build_mask("mma", types(T, V, V, T, T, Q, T), num_latents=2)
    assert drawn(mask) == [
        "#......",
        "##.####"[:2] + ".###.",  # a latent sees the question up to its end, and later latents not
        "######.",
        "####...",
        "#####..",
        "######.",
        "#######",
    ]


WRITTEN_OUT = {  # text, picture of two, text, question end, answer
    "causal": ["#.....", "##....", "###...", "####..", "#####.", "######"],
    "mma": ["#.....", "##.##.", "#####.", "####..", "#####.", "######"],
    "v2v": ["#.....", "###...", "###...", "####..", "#####.", "######"],
    "future": ["#.....", "#####.", "#####.", "####..", "#####.", "######"],
    "prefix": ["#####.", "#####.", "#####.", "#####.", "#####.", "######"],
    "mma_v2v": ["#.....", "#####.", "#####.", "####..", "#####.", "######"],
}


def test_every_kind_is_written_out_here():
    """A new kind needs a matrix drawn by hand, by which its predicate is proven."""
    assert set(WRITTEN_OUT) | {"cca"} == set(KINDS)  # cca: a square of four by four, below


@pytest.mark.parametrize("kind", WRITTEN_OUT)
def test_mask_written_out(kind):
    assert drawn(build_mask(kind, types(T, V, V, T, Q, T), num_latents=2)) == WRITTEN_OUT[kind]


def test_two_pictures_tell_the_kinds_apart():
    """Two pictures of two latents before one question: only some kinds let the first see the second."""
    row = types(V, V, V, V, T, Q)
    first_latent = {kind: drawn(build_mask(kind, row, num_latents=2))[0] for kind in WRITTEN_OUT}
    assert first_latent == {
        "causal": "#.....",
        "mma": "#...##",
        "v2v": "##....",
        "future": "######",
        "prefix": "######",
        "mma_v2v": "##..##",
    }


def test_prefix_ends_with_the_first_question_and_never_reads_an_answer_ahead():
    #                           turn 1: picture, question, answer; turn 2: the same
    mask = build_mask("prefix", types(V, T, Q, T, V, T, Q, T), num_latents=1)
    assert drawn(mask) == ["###.....", "###.....", "###.....", *["#" * n + "." * (8 - n) for n in range(4, 9)]]


def test_prefix_is_not_ended_by_the_system_s_turn_and_needs_a_picture():
    assert drawn(build_mask("prefix", types(T, Q, V, T, Q, T), num_latents=1)) == ["#####."] * 5 + ["######"]
    row = types(T, T, Q, T)
    assert torch.equal(build_mask("prefix", row, num_latents=1), build_mask("causal", row, num_latents=1))


def test_captions_stay_hidden_from_their_picture_under_every_kind():
    """Without a question end nothing behind a picture may reach it: pretraining would learn to copy."""
    for kind in KINDS:
        mask = build_mask(kind, types(T, *[V] * 4, T, T), num_latents=4)[0, 0]
        assert not mask[:5, 5:].any(), kind


def test_without_question_end_the_mask_is_causal():
    row = types(T, V, V, T, T)
    assert torch.equal(build_mask("mma", row, num_latents=2), build_mask("causal", row, num_latents=2))


def test_question_end_before_the_picture_unlocks_nothing():
    row = types(T, Q, V, V, T)
    assert torch.equal(build_mask("mma", row, num_latents=2), build_mask("causal", row, num_latents=2))


def test_two_pictures_of_one_question_see_all_of_it_and_each_other_causally():
    mask = build_mask("mma", types(V, T, V, T, Q, T), num_latents=1)
    assert drawn(mask) == ["##.##.", "##....", "#####.", "####..", "#####.", "######"]


def test_pictures_of_two_turns_see_their_own_questions():
    #                           turn 1: picture, question, answer; turn 2: the same
    mask = build_mask("mma", types(V, T, Q, T, V, T, Q, T), num_latents=1)[0, 0]
    assert mask[0].tolist() == [True, True, True, False, False, False, False, False]
    assert mask[4].tolist() == [True, True, True, True, True, True, True, False]


def test_third_modality_is_seen_by_pictures_and_sees_them():
    mask = build_mask("mma", types(OTHER, OTHER, V, V, T, Q, T), num_latents=2)[0, 0]
    assert mask[0].tolist() == [True, False, True, True, True, True, False]
    assert mask[2].tolist() == [True, True, True, False, True, True, False]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_mask_is_the_definition(kind, seed):
    others = kind in ("mma", "mma_v2v")
    rows = [random_types(seed, with_others=others), random_types(seed + 100, with_others=others)]
    length = min(map(len, rows))
    given = torch.tensor([row[:length] for row in rows])
    mask = build_mask(kind, given, num_latents=4)
    for row, seen in zip(given.tolist(), mask[:, 0].tolist(), strict=True):
        assert seen == by_definition(kind, row, side=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [None, 5])
def test_mask_is_the_library_s_own_overlay_of_the_same_predicate(kind, window):
    given = torch.tensor([random_types(3)[:20], random_types(4)[:20]])
    padding = torch.ones(2, 20).bool()
    padding[0, :3] = False
    parts = layout(given, 4)
    function = mask_function(kind, parts, parts)
    if window is not None:
        function = and_masks(function, sliding_window_overlay(window))
    theirs = sdpa_mask(
        2, 20, 20, mask_function=function, attention_mask=padding, use_vmap=True, allow_is_causal_skip=False
    )
    ours = build_mask(kind, given, num_latents=4, padding=padding, window=window)
    real = padding[:, None, :, None].expand_as(ours)
    assert torch.equal(ours[real], theirs[real])


@pytest.mark.parametrize("kind", KINDS)
def test_cached_prefix_static_length_and_padding(kind):
    row = random_types(7)
    whole = build_mask(kind, torch.tensor([row]), num_latents=4)
    past = 6
    while any(each == V for each in row[:past]):  # a prefix without pictures: what is cached is seen, whatever it was
        past -= 1
    part = build_mask(kind, torch.tensor([row[past:]]), num_latents=4, query_offset=past, key_length=len(row) + 5)
    if kind == "prefix":  # the first prompt is over when something is cached, so what follows is causal
        whole = build_mask("causal", torch.tensor([row]), num_latents=4)
    assert torch.equal(part[..., : len(row)], whole[:, :, past:])
    assert not part[..., len(row) :].any()
    window = build_mask(kind, torch.tensor([row[past:]]), num_latents=4, query_offset=past, key_offset=2, key_length=9)
    assert torch.equal(window, part[..., 2:11])
    padding = torch.ones(1, len(row), dtype=torch.long)
    padding[0, :2] = 0
    assert not build_mask(kind, torch.tensor([row]), num_latents=4, padding=padding)[..., :2].any()


def test_token_types():
    ids = torch.tensor([[5, IMAGE, IMAGE, 6, QUESTION_END]])
    assert token_types(ids, IMAGE, QUESTION_END).tolist() == [[T, V, V, T, Q]]
    assert token_types(ids, IMAGE, None).tolist() == [[T, V, V, T, T]]


@pytest.mark.parametrize("kind", ["MMA", "full", "", None])
def test_unknown_kind_is_never_causal(kind):
    given = types(T, V, Q)
    parts = layout(given, 1)
    calls = (
        lambda: build_mask(kind, given, num_latents=1),
        lambda: mask_function(kind, parts, parts),
        lambda: positions(kind, given, None, 1),
    )
    for call in calls:
        with pytest.raises(ValueError, match="expected one of 'mma', 'causal', 'cca'"):
            call()


def test_additive_mask_is_finite_everywhere():
    mask = build_mask("mma", types(T, V, Q), num_latents=1, padding=torch.tensor([[0, 1, 1]]))
    added = attention.to_additive(mask, torch.float16)
    assert added.dtype == torch.float16
    assert added.isfinite().all()
    assert (added == 0).equal(mask)


RING_6 = """
0 0 0 0 0 0
0 1 1 1 1 0
0 1 2 2 1 0
0 1 2 2 1 0
0 1 1 1 1 0
0 0 0 0 0 0
"""


def test_rings_of_six_by_six():
    assert rings(36).tolist() == [int(each) for each in RING_6.split()]


def test_concentric_positions():
    def row(before: int, latents: int, after: int) -> list[int]:
        given = torch.tensor([[T] * before + [V] * latents + [T] * after])
        return positions("cca", given, None, latents)[0].tolist()

    assert row(2, 16, 5) == [0, 1, 2, 2, 2, 2, 2, 3, 3, 2, 2, 3, 3, 2, 2, 2, 2, 2, 4, 5, 6, 7, 8]
    border, inner, core = [2, 2, 2, 2, 2, 2], [2, 3, 3, 3, 3, 2], [2, 3, 4, 4, 3, 2]
    assert row(2, 36, 4) == [0, 1, *border, *inner, *core, *core, *inner, *border, 5, 6, 7, 8]
    real_size = row(35, 144, 10)
    assert sorted(set(real_size[35:179])) == [35, 36, 37, 38, 39, 40]
    assert real_size[179:] == list(range(41, 51))


def test_concentric_positions_of_every_row_whatever_its_padding_and_pictures():
    rows = torch.tensor([[T, T, *[V] * 4, T, T], [T, *[V] * 4, T, T, T], [T] * 8, [T, T, T, T, *[V] * 4]])
    padding = torch.ones_like(rows)
    padding[0, :1] = 0
    found = positions("cca", rows, padding, 4).tolist()
    assert found == [
        [0, 0, 1, 1, 1, 1, 2, 3],
        [0, 1, 1, 1, 1, 2, 3, 4],
        [0, 1, 2, 3, 4, 5, 6, 7],
        [0, 1, 2, 3, 4, 4, 4, 4],
    ]


def test_concentric_mask_of_four_by_four_written_out():
    image = drawn(build_mask("cca", types(*[V] * 16), num_latents=16))
    border, inner = "#####..##..#####", "#" * 16
    assert image == [inner if place in (5, 6, 9, 10) else border for place in range(16)]


def test_concentric_row_sums_of_the_real_size():
    mask = build_mask("cca", torch.tensor([[T, *[V] * 144, T], [*[V] * 144, T, T]]), num_latents=144)
    for row, start in ((0, 1), (1, 0)):  # both rows of the batch
        sums = mask[row, 0, start : start + 144, start : start + 144].sum(-1)
        found = {int(value): int((sums == value).sum()) for value in sums.unique()}
        assert found == {44: 44, 80: 36, 108: 28, 128: 20, 140: 12, 144: 4}
        assert int(sums.sum()) == 12_656
    assert mask[0, 0, 1:145, 145].sum() == 0  # pictures do not see later text
    assert mask[0, 0, 145].all()


def test_mutual_positions_do_not_count_padding():
    padding = torch.tensor([[0, 0, 1, 1, 1]])
    assert positions("mma", types(T, T, V, V, T), padding, 2).tolist() == [[0, 0, 0, 1, 2]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["phi3", "llama", "qwen2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_self_test_passes_for_what_is_configured(kind, family, dtype):
    own = processor(family)
    made = model_for(own, family, attention=kind).to(dtype)
    record = attention.self_test(made, own)
    assert record["passed"], record
    assert record["attention"] == made.config.attention == kind
    assert (record["question_reaches_image"] > 0) == KINDS[kind].question_reaches_image


@pytest.mark.parametrize("claimed", KINDS)
def test_self_test_tells_every_kind_from_every_other(claimed, monkeypatch):
    """A model whose mask is another kind's than it says must not pass, unless one picture cannot tell the two apart."""
    own = processor()
    made = model_for(own, attention=claimed)
    alike = {frozenset(("future", "mma_v2v")), frozenset(("cca", "v2v"))}
    for real in KINDS:
        monkeypatch.setattr(kinds, "KINDS", KINDS | {claimed: _with_sees(claimed, real)})
        passed = attention.self_test(made, own)["passed"]
        monkeypatch.undo()
        assert passed == (real == claimed or frozenset((real, claimed)) in alike), real


def _with_sees(claimed: str, real: str) -> Kind:
    """What `claimed` declares, done by the predicate of `real`."""
    return replace(KINDS[claimed], sees=KINDS[real].sees)


def test_self_test_sees_a_back_end_that_drops_the_mask(monkeypatch):
    own = processor()
    made = model_for(own)
    monkeypatch.setattr(attention, "to_additive", lambda visible, dtype: None)
    record = attention.self_test(made, own)
    assert not record["passed"]
    assert record["question_reaches_image"] == 0.0
    assert record["rows_unlike_causal"] is None
    assert failures(record) == [
        "question_reaches_image: declared yes, measured a change of 0 where nothing is 0",
        f"first row unlike causal attention: declared row {record['image_rows'][0]}, measured none",
    ]


def test_self_test_sees_a_wrong_question_end():
    own = processor()
    wrong = own.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert not attention.self_test(model_for(own, question_end_token_id=wrong), own)["passed"]


@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3", "paged|sdpa", "paged|eager", "my_kernel"])
def test_back_ends_that_would_drop_the_mask_are_refused(name):
    made = model()
    with pytest.raises(ValueError, match=r"flash|mask|not supported"):
        made.set_attn_implementation(name)
    with pytest.raises(ValueError, match="would drop AKI's attention mask"):
        backends.refuse_backend(name)
    made.config.text_config._attn_implementation = name
    with pytest.raises(ValueError, match="would drop AKI's attention mask"):
        made(**batch(), pixel_values=pixels())


def test_mutual_and_causal_differ_in_exactly_the_rows_from_the_picture_on():
    made = model()
    inputs = batch() | {"pixel_values": pixels()}
    with torch.no_grad():
        mutual = made(**inputs).logits
        with attention_set_to(made, "causal"):
            causal = made(**inputs).logits
    changed = (mutual - causal).abs().amax(-1) > 0
    real = inputs["attention_mask"].bool()
    for row, first in enumerate([3, 1]):
        start = int((~real[row]).sum()) + first
        assert not changed[row, :start][real[row, :start]].any()
        assert changed[row, start:].all()
    assert not changed[2][real[2]].any()


def test_no_image_token_reaches_across_pictures_of_other_rows():
    made = model()
    inputs = batch() | {"pixel_values": pixels()}
    other = inputs | {"pixel_values": pixels(seed=2)}
    other["pixel_values"][0] = inputs["pixel_values"][0]
    with torch.no_grad():
        one, two = made(**inputs).logits, made(**other).logits
    assert torch.allclose(one[0], two[0], atol=1e-6)
    assert (one[1, -1] - two[1, -1]).abs().max() > 1e-3
    assert made.config.num_latents == NUM_LATENTS
