"""Every way to decode gives what one full pass a token gives, or is refused."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from model_helpers import (
    IMAGE,
    NUM_LATENTS,
    PAD,
    PROMPTS,
    QUESTION_END,
    answer,
    batch,
    model,
    naive_answer,
    pixels,
)
from transformers import AutoModelForCausalLM, LogitsProcessor, LogitsProcessorList

from model.kinds import KINDS
from model.self_test import attention_set_to

FAMILIES = ["phi3", "llama", "qwen2"]
SLIDING = {
    "phi3": {"sliding_window": 6},
    "qwen2": {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    "mistral": {"sliding_window": 6},
}
"""Windows smaller than the prompts: all layers of Phi and Mistral, the second of Qwen2."""


def with_kinds(families):
    """Every kind with the published backbone; with the others, whose masks come from the same table, the two ends."""
    return [(family, kind) for family in families for kind in (KINDS if family == "phi3" else ("mma", "causal"))]


def inputs():
    return batch() | {"pixel_values": pixels()}


@pytest.mark.parametrize(("family", "kind"), with_kinds(FAMILIES))
def test_all_ways_of_decoding_agree(family, kind):
    made, given = model(family, attention=kind), inputs()
    naive = naive_answer(made, given)
    singles = [
        answer(
            made, {"input_ids": torch.tensor([prompt])} | ({"pixel_values": pixels()[row : row + 1]} if row < 2 else {})
        )[0]
        for row, prompt in enumerate(PROMPTS)
    ]
    features = made.get_image_features(pixels())
    seen = made.get_vision_features(pixels())
    ways = {
        "left-padded batch": answer(made, given),
        "one by one": singles,
        "no cache": answer(made, given, use_cache=False),
        "static cache": answer(made, given, cache_implementation="static", disable_compile=True),
        "features of the resampler": answer(made, batch() | {"mm_encoder_outputs": {"image": features}}),
        "features of the tower": answer(made, batch() | {"vision_hidden_states": seen}),
    }
    for name, got in ways.items():
        assert got == naive, name


def test_kinds_say_different_things():
    with torch.no_grad():
        logits = {kind: model(attention=kind)(**inputs()).logits[:, -1] for kind in KINDS}
    for one, other in itertools.combinations(KINDS, 2):
        apart = (logits[one] - logits[other]).abs().amax(-1)
        if {one, other} != {"future", "mma_v2v"}:  # one and the same where there is one picture
            assert apart[:2].max() > 1e-3, (one, other)
        assert apart[2] < 1e-5  # the row without a picture


@pytest.mark.parametrize(("family", "kind"), with_kinds(SLIDING))
def test_sliding_windows(family, kind):
    made, given = model(family, SLIDING[family], attention=kind), inputs()
    naive = naive_answer(made, given, 12)
    assert answer(made, given, 12) == naive
    assert answer(made, given, 12, use_cache=False) == naive
    assert answer(made, given, 12, cache_implementation="static", disable_compile=True) == naive
    assert naive != naive_answer(model(family, attention=kind), given, 12)


@pytest.mark.parametrize(("family", "text"), [*((family, None) for family in FAMILIES), *SLIDING.items()])
def test_causal_attention_is_the_backbone_s_own(family, text):
    """Text alone, through AKI's masks and through the masks the backbone makes itself."""
    made = model(family, text, attention="causal")
    plain = AutoModelForCausalLM.from_config(made.config.text_config).eval()
    plain.base_model.load_state_dict(made.model.language_model.state_dict())
    plain.lm_head.load_state_dict(made.lm_head.state_dict())
    plain.generation_config.eos_token_id = None
    given = batch([[*range(1, 20)], [*range(30, 41)]])
    with torch.no_grad():
        ours = made(**given).logits
        places = (given["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        theirs = plain(**given, position_ids=places).logits
    real = given["attention_mask"].bool()
    assert torch.allclose(ours[real], theirs[real], atol=1e-5)
    assert answer(made, given, 12) == answer(plain, given, 12, suppress_tokens=[IMAGE])


def test_third_modality_in_the_whole_model():
    made = model()
    ids = torch.tensor([[1, 40, 41, 42, 5, 6, 7, QUESTION_END]])
    heard = torch.tensor([[0, 2, 2, 2, 0, 0, 0, -1]])
    other = ids.clone()
    other[0, 5] = 8
    with torch.no_grad():
        text, text_other = made(input_ids=ids).logits[0], made(input_ids=other).logits[0]
        sound, sound_other = (made(input_ids=each, mm_token_type_ids=heard).logits[0] for each in (ids, other))
    assert torch.equal(text[:5], text_other[:5])
    assert torch.equal(sound[0], sound_other[0])
    assert ((sound[1:4] - sound_other[1:4]).abs().amax(-1) > 1e-4).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_back_ends_agree(family):
    made, given = model(family), inputs()
    with torch.no_grad():
        sdpa = made(**given).logits
        made.set_attn_implementation("eager")
        eager = made(**given).logits
    real = given["attention_mask"].bool()
    assert torch.allclose(sdpa[real], eager[real], atol=1e-5)
    assert answer(made, given) == answer(model(family), given)


@pytest.mark.parametrize("kind", KINDS)
def test_beams_of_a_batch_are_beams_of_one(kind):
    made = model(attention=kind)
    together = answer(made, inputs(), num_beams=3)
    alone = [
        answer(made, {"input_ids": torch.tensor([prompt]), "pixel_values": pixels()[row : row + 1]}, num_beams=3)[0]
        for row, prompt in enumerate(PROMPTS[:2])
    ]
    assert together[:2] == alone


def test_beams_are_the_best_of_their_own_scores():
    made = model()
    given = {"input_ids": torch.tensor([PROMPTS[0]]), "pixel_values": pixels()[:1]}
    found = made.generate(
        **given, num_beams=4, num_return_sequences=4, max_new_tokens=3, do_sample=False, pad_token_id=PAD,
        return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    start = len(PROMPTS[0])
    scores = [score_of(made, given, sequence[start:]) for sequence in found.sequences]
    assert torch.allclose(torch.tensor(scores), found.sequences_scores * 3, atol=1e-4)
    assert scores == sorted(scores, reverse=True)


def score_of(made, given, new_tokens) -> float:
    """Sum of log probabilities of an answer, by one full pass without cache; the placeholder is never said."""
    ids = torch.cat([given["input_ids"], new_tokens[None]], dim=1)
    types = made.model.token_types(given["input_ids"])
    types = torch.nn.functional.pad(types, (0, len(new_tokens)))
    with torch.no_grad():
        logits = made(input_ids=ids, pixel_values=given["pixel_values"], mm_token_type_ids=types).logits[0]
    log_probabilities = logits.log_softmax(-1)
    places = range(len(given["input_ids"][0]) - 1, ids.shape[1] - 1)
    return sum(float(log_probabilities[place, token]) for place, token in zip(places, new_tokens, strict=True))


def test_sampling_draws_from_the_distribution_of_a_full_pass():
    made, given = model(), inputs()
    seen = []

    class Record(LogitsProcessor):
        def __call__(self, input_ids, scores):
            seen.append((input_ids, scores.clone()))
            return scores

    torch.manual_seed(3)
    made.generate(
        **given,
        do_sample=True,
        max_new_tokens=6,
        pad_token_id=PAD,
        top_k=0,
        logits_processor=LogitsProcessorList([Record()]),
    )
    start = given["input_ids"].shape[1]
    for ids, scores in seen:
        types = torch.nn.functional.pad(made.model.token_types(given["input_ids"]), (0, ids.shape[1] - start))
        mask = torch.nn.functional.pad(given["attention_mask"], (0, ids.shape[1] - start), value=1)
        with torch.no_grad():
            full = made(input_ids=ids, attention_mask=mask, pixel_values=pixels(), mm_token_type_ids=types).logits[
                :, -1
            ]
        kept = torch.arange(full.shape[1]) != IMAGE
        assert torch.allclose(scores[:, kept], full[:, kept], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_prompt_lookup_decoding(kind):
    made = model(attention=kind)
    given = {"input_ids": torch.tensor([PROMPTS[1]]), "pixel_values": pixels()[:1]}
    assert answer(made, given, 16, prompt_lookup_num_tokens=3) == naive_answer(made, given, 16)


@pytest.mark.parametrize("kind", KINDS)
def test_assistant_model(kind):
    made = model(attention=kind)
    torch.manual_seed(5)
    helper = AutoModelForCausalLM.from_config(made.config.text_config).eval()
    helper.generation_config.eos_token_id = None
    given = {"input_ids": torch.tensor([PROMPTS[1]]), "pixel_values": pixels()[:1]}
    assert answer(made, given, 12, assistant_model=helper) == naive_answer(made, given, 12)


def test_an_aki_model_cannot_assist():
    given = {"input_ids": torch.tensor([PROMPTS[1]]), "pixel_values": pixels()[:1]}
    with pytest.raises(ValueError, match="cannot assist"):
        answer(model(), given, assistant_model=model(seed=1))


def test_generated_question_end_opens_nothing():
    """A question end the model says itself must not let a picture without one see the answer when all is recomputed."""
    made = model()
    caption = {"input_ids": torch.tensor([[1, *[IMAGE] * NUM_LATENTS, 5]]), "pixel_values": pixels()[:1]}

    class SayQuestionEnd(LogitsProcessor):
        def __call__(self, input_ids, scores):
            if input_ids.shape[1] == caption["input_ids"].shape[1]:
                scores[:, QUESTION_END] = 1e4
            return scores

    forced = {"logits_processor": LogitsProcessorList([SayQuestionEnd()])}
    assert answer(made, caption, **forced) == answer(made, caption, use_cache=False, **forced)


LONG_ROPE = {
    "max_position_embeddings": 512,
    "original_max_position_embeddings": 18,
    "rope_scaling": {"rope_type": "longrope", "long_factor": [4.0] * 6, "short_factor": [1.0] * 6},
}
"""The shortest prompt ends before 18, the answers go beyond."""


@pytest.mark.parametrize("kind", KINDS)
def test_long_rope_is_switched_within_an_answer(kind):
    made, given = model(text=LONG_ROPE, attention=kind), inputs()
    naive = naive_answer(made, given, 14)
    assert answer(made, given, 14) == naive
    assert answer(made, given, 14, use_cache=False) == naive


def test_batch_on_both_sides_of_the_long_rope_says_so(monkeypatch):
    said = []
    monkeypatch.setattr("model.generation.logger.warning_once", said.append)
    made = model(text=LONG_ROPE)
    answer(made, batch((PROMPTS[2],)), 16)
    assert not said
    answer(made, inputs(), 14)
    assert "one row of the batch is beyond 18 tokens" in said[0]


def test_placeholder_is_never_said():
    made, given = model(), inputs()
    with torch.no_grad():
        made.lm_head.weight[IMAGE] = 100 * made.lm_head.weight.abs().max()
    assert all(IMAGE not in row for row in answer(made, given))


def test_conversation_goes_on_with_the_cache():
    made = model()
    first = {"input_ids": torch.tensor([PROMPTS[1]]), "pixel_values": pixels()[:1]}
    cached = made.generate(**first, max_new_tokens=4, do_sample=False, pad_token_id=PAD, return_dict_in_generate=True)
    second = torch.cat([cached.sequences, torch.tensor([[31, 32, QUESTION_END]])], dim=1)
    again = made.generate(input_ids=second, cache=cached.cache, max_new_tokens=6, do_sample=False, pad_token_id=PAD)
    types = torch.nn.functional.pad(made.model.token_types(first["input_ids"]), (0, second.shape[1] - len(PROMPTS[1])))
    fresh = made.generate(
        input_ids=second,
        pixel_values=pixels()[:1],
        mm_token_type_ids=types,
        max_new_tokens=6,
        do_sample=False,
        pad_token_id=PAD,
    )
    assert again.tolist() == fresh.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_two_pictures(kind):
    made = model(attention=kind)
    prompt = [1, *[IMAGE] * NUM_LATENTS, 5, *[IMAGE] * NUM_LATENTS, 6, QUESTION_END]
    given = batch([prompt, PROMPTS[0]]) | {"pixel_values": pixels(3)}
    naive = naive_answer(made, given)
    assert answer(made, given) == naive
    alone = {"input_ids": torch.tensor([prompt]), "pixel_values": pixels(3)[:2]}
    assert answer(made, alone)[0] == naive[0]
    swapped = alone | {"pixel_values": pixels(3)[:2].flip(0)}
    assert answer(made, swapped)[0] != naive[0]


def test_several_answers_to_each_prompt_with_pictures_in_order():
    made, given = model(), inputs()
    settings = {"num_beams": 2, "num_return_sequences": 2, "max_new_tokens": 4, "do_sample": False, "pad_token_id": PAD}
    both = made.generate(**given, **settings)
    best = made.generate(**given, **settings | {"num_return_sequences": 1})
    assert both[::2].tolist() == best.tolist()


def test_chunked_prefill_is_refused():
    with pytest.raises(ValueError, match="prefill_chunk_size"):
        answer(model(), inputs(), prefill_chunk_size=4)


def test_static_mask_of_a_prompt_needs_its_types():
    made = model()
    with pytest.raises(ValueError, match="needs mm_token_type_ids"):
        made.create_masks_for_generate(made.config, torch.zeros(1, 5, 0), None, None)
    assert made.create_masks_for_generate(made.config, torch.zeros(1, 1, 0), None, None).shape == (1, 1, 1, 1)


def test_continuous_batching_is_refused():
    with pytest.raises(ValueError, match="continuous batching"):
        model().generate_batch([PROMPTS[2]])


def test_concentric_positions_go_on_in_decoding():
    made = model(attention="cca")
    places = []
    made.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: places.append(kwargs["position_ids"].tolist()), with_kwargs=True
    )
    answer(made, batch([PROMPTS[1], PROMPTS[2]]) | {"pixel_values": pixels()[:1]}, 3)
    assert places[0][0] == [0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert places[0][1][-5:] == [0, 1, 2, 3, 4]
    assert places[1:] == [[[10], [5]], [[11], [6]]]


def test_concentric_decoding_by_hand_needs_positions():
    made = model(attention="cca")
    with torch.no_grad():
        first = made(input_ids=torch.tensor([PROMPTS[1]]), pixel_values=pixels()[:1], use_cache=True)
        with pytest.raises(ValueError, match="position_ids"):
            made(input_ids=torch.tensor([[5]]), cache=first.cache)


def test_the_cache_is_taken_by_its_former_name_too():
    made = model()
    with torch.no_grad():
        first = made(input_ids=torch.tensor([PROMPTS[1]]), pixel_values=pixels()[:1], use_cache=True)
        with pytest.warns(FutureWarning, match="past_key_values"):
            former = made(input_ids=torch.tensor([[5]]), past_key_values=copy.deepcopy(first.cache))
        now = made(input_ids=torch.tensor([[5]]), cache=first.cache)
    assert torch.equal(former.logits, now.logits)
    assert former.cache.get_seq_length() == len(PROMPTS[1]) + 1


def test_left_padded_pass_by_hand_needs_no_positions():
    made, given = model(), inputs()
    with torch.no_grad():
        together = made(**given).logits[:, -1]
        alone = made(input_ids=torch.tensor([PROMPTS[0]]), pixel_values=pixels()[:1]).logits[:, -1]
    assert torch.allclose(together[:1], alone, atol=1e-5)


def test_embeddings_instead_of_ids():
    made, given = model(), inputs()
    embeds = made.get_input_embeddings()(given["input_ids"])
    types = made.model.token_types(given["input_ids"])
    with torch.no_grad():
        by_ids = made(**given).logits
        by_embeds = made(
            inputs_embeds=embeds, mm_token_type_ids=types, attention_mask=given["attention_mask"], pixel_values=pixels()
        ).logits
    assert torch.equal(by_ids, by_embeds)
    with pytest.raises(ValueError, match="needs mm_token_type_ids"):
        made(inputs_embeds=embeds)
    said = made.generate(
        inputs_embeds=embeds,
        mm_token_type_ids=types,
        attention_mask=given["attention_mask"],
        pixel_values=pixels(),
        max_new_tokens=8,
        do_sample=False,
        pad_token_id=PAD,
    )
    assert said.tolist() == answer(made, given)


def test_switching_attention_on_a_loaded_model():
    made, given = model(), inputs()
    mutual = answer(made, given)
    with attention_set_to(made, "causal"):
        assert answer(made, given) == answer(model(attention="causal"), given) != mutual
    assert answer(made, given) == mutual
    made.config.attention = "MMA"
    for run in (made.generate, made):
        with pytest.raises(ValueError, match="attention='MMA', expected one of"):
            run(**given)
