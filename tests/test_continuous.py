"""Continuous batching answers as `generate` does, token for token, under every mask."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from model_helpers import IMAGE, NUM_LATENTS, QUESTION_END, answer, batch, model, pixels
from transformers.modeling_outputs import BaseModelOutputWithPooling

from model.continuous import Asked, ContinuousBatching
from model.kinds import KINDS

LIMIT = 16
STOPS = [*range(100, 130), 150]
PICTURE = [IMAGE] * NUM_LATENTS
PROMPTS = (
    [1, 5, 6, *PICTURE, 7, 8, 9, QUESTION_END],
    [1, *PICTURE, 10, 11, 12, 13, 14, 15, 16, QUESTION_END],
    [1, 21, 22, 23, QUESTION_END],
    [1, *PICTURE, 30, *PICTURE, 31, QUESTION_END, 32, 33, *PICTURE, 34, QUESTION_END],
    [1, *range(40, 90), *PICTURE, *range(90, 120), QUESTION_END],
    [1, 60, QUESTION_END],
    [1, *PICTURE, 70, 71],
)
"""Text before the picture, picture first, none, three in two turns, longer than a page, short, without question end."""


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    del one_thread


def asked(made: Any, prompts: Any, limit: int = LIMIT) -> list[Asked]:
    found = []
    for number, ids in enumerate(prompts):
        count = ids.count(IMAGE) // NUM_LATENTS
        with torch.inference_mode():
            vectors = made.get_image_features(pixels(count, seed=number)).pooler_output if count else None
        found.append(Asked(ids, vectors, limit))
    return found


def by_generate(made: Any, given: Asked, stop: list[int]) -> list[int]:
    inputs: dict[str, Any] = batch([given.ids])
    if given.vectors is not None:
        inputs["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=given.vectors)}
    (ids,) = answer(made, inputs, given.max_new_tokens, eos_token_id=stop or None)
    end = next((place + 1 for place, token in enumerate(ids) if token in stop), len(ids))
    return ids[:end]


def by_engine(engine: ContinuousBatching, given: list[Asked]) -> list[list[int] | str]:
    waiting = list(enumerate(given))
    answers: dict[str, list[int] | str] = {}
    while waiting or engine.active:
        while waiting and engine.wants_more and engine.fits(waiting[0][1]):
            number, each = waiting.pop(0)
            engine.add(str(number), each)
        answers |= engine.step()
    return [answers[str(number)] for number in range(len(given))]


def assert_equal(made: Any, given: list[Asked], stop: list[int], **settings: int) -> ContinuousBatching:
    engine = ContinuousBatching(made, stop, **{"rows": 3, "tokens": 512} | settings)
    found = by_engine(engine, given)
    assert found == [by_generate(made, each, stop) for each in given]
    return engine


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [[], STOPS], ids=["to the limit", "as they end"])
def test_every_kind(kind: str, stop: list[int]) -> None:
    made = model("phi3", attention=kind)
    assert_equal(made, asked(made, PROMPTS), stop)


def test_stops() -> None:
    """So that the case above is one: some answers end by themselves, and at different lengths."""
    made = model("phi3")
    lengths = {len(by_generate(made, each, STOPS)) for each in asked(made, PROMPTS)}
    assert len(lengths) > 2
    assert min(lengths) < LIMIT


QWEN = {
    "use_sliding_window": True,
    "sliding_window": 12,
    "max_window_layers": 1,
    "layer_types": ["full_attention", "sliding_attention"],
}


@pytest.mark.parametrize(
    ("family", "text", "settings"),
    [
        ("llama", {}, {}),
        ("qwen2", {}, {}),
        ("qwen2", QWEN, {"attention": "mma"}),
        ("phi3", {"sliding_window": 9}, {"attention": "mma_v2v"}),
        ("phi3", {}, {"attention": "mma", "attention_layers": {"0": "causal"}}),
        ("qwen2", QWEN, {"attention": "mma", "attention_layers": {"1": "v2v"}}),
    ],
    ids=["llama", "qwen2", "windows in some layers", "a window", "kinds by layer", "both by layer"],
)
def test_every_backbone(family: str, text: dict[str, Any], settings: dict[str, Any]) -> None:
    made = model(family, text, **settings)
    assert_equal(made, asked(made, PROMPTS[:5]), [])


def test_eager() -> None:
    made = model()
    made.set_attn_implementation("eager")
    assert_equal(made, asked(made, PROMPTS[:3]), [])


def test_a_small_cache_and_one_row() -> None:
    made = model()
    given = asked(made, PROMPTS)
    assert_equal(made, given, [], tokens=160)
    assert_equal(made, given[:3], [], rows=1)


def test_an_answer_ends_where_the_context_does() -> None:
    made = model(text={"max_position_embeddings": 40})
    engine = assert_equal(made, asked(made, PROMPTS[:3], limit=64), [])
    assert not engine.active


def test_a_prompt_is_seen_as_its_kind_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the library's own mask the answers are others: the tests above can fail."""
    made = model()
    given = asked(made, PROMPTS)
    right = [by_generate(made, each, []) for each in given]
    monkeypatch.setattr(
        "model.continuous.create_masks",
        lambda config, like, *_, **__: torch.triu(
            torch.full((1, 1, like.shape[1], like.shape[1]), torch.finfo(torch.float32).min), 1
        ),
    )
    found = by_engine(ContinuousBatching(made, [], rows=3, tokens=512), given)
    assert found != right
    assert found[2] == right[2]  # no picture: nothing that a mask would change


def test_a_prompt_that_the_library_cuts_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.generation.continuous_batching.scheduler import SCHEDULER_MAPPING, FIFOScheduler

    monkeypatch.setitem(SCHEDULER_MAPPING, "aki_whole_prompts", FIFOScheduler)
    monkeypatch.setattr("model.continuous.PROMPT_TOKENS", 20)
    made = model()
    engine = ContinuousBatching(made, [], rows=3, tokens=512)
    engine.add("long", asked(made, PROMPTS[4:5])[0])
    with pytest.raises(RuntimeError, match="20 tokens of a prompt of 86: it must not be cut"):
        engine.step()


def test_what_the_library_fails_or_forgets_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model()
    given = asked(made, PROMPTS[:2])
    engine = ContinuousBatching(made, [], rows=3, tokens=512)
    refuse = engine._processor.scheduler.add_waiting_request

    def add(state: Any) -> None:
        if state.request_id == "0":
            raise ValueError("not this one")
        refuse(state)

    monkeypatch.setattr(engine._processor.scheduler, "add_waiting_request", add)
    engine.add("0", given[0])
    engine.add("1", given[1])
    assert engine.step() == {"0": "not this one"}
    monkeypatch.setattr(engine._processor, "prepare_next_batch", lambda: False)
    with pytest.raises(RuntimeError, match="schedules none of 1 prompts and answers"):
        engine.step()


def test_settings_of_sampling_are_no_hindrance() -> None:
    made = model()
    made.generation_config.do_sample, made.generation_config.temperature = True, 0.7
    assert_equal(made, asked(made, PROMPTS[:1]), [])


def test_after_a_fault_the_others_are_answered() -> None:
    made = model()
    given = asked(made, PROMPTS)
    engine = ContinuousBatching(made, [], rows=3, tokens=512)
    engine.add("broken", Asked([1, IMAGE, QUESTION_END], None, 4))
    engine.add("beside", given[0])
    with pytest.raises(ValueError, match="image placeholder"):
        engine.step()
    assert engine.abandon() == ["broken", "beside"]
    assert by_engine(engine, given) == [by_generate(made, each, []) for each in given]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda made: made.set_attn_implementation("flex_attention"), "takes no dense mask"),
        (lambda made: setattr(made.generation_config, "repetition_penalty", 1.2), "RepetitionPenaltyLogitsProcessor"),
        (lambda made: made.config.text_config.rope_parameters.update(rope_type="dynamic"), "longest row"),
    ],
)
def test_what_cannot_hold_is_refused(change: Any, reason: str) -> None:
    made = model()
    change(made)
    with pytest.raises(ValueError, match=reason):
        ContinuousBatching(made, [], rows=2, tokens=64)


def test_prompts_that_are_not_taken() -> None:
    made = model()
    engine = ContinuousBatching(made, [], rows=2, tokens=64)
    (given,) = asked(made, PROMPTS[4:5])
    assert engine.why_not(given) == "more than 64 tokens, all that the cache holds"
    assert engine.why_not(Asked([1] * 40, None, 8)) is None
    with pytest.raises(ValueError, match="leaves no room to answer"):
        engine.why_not(Asked([1] * 512, None, 8))


def test_long_rope_is_left_to_generate_where_it_changes() -> None:
    made = model(
        text={
            "original_max_position_embeddings": 32,
            "rope_scaling": {"rope_type": "longrope", "long_factor": [4.0] * 6, "short_factor": [1.0] * 6},
        }
    )
    engine = assert_equal(made, asked(made, PROMPTS[:3]), [])
    assert engine.why_not(Asked([1] * 25, None, 8)) == "more than 32 tokens, where long rope changes its factors"
    assert engine.why_not(Asked([1] * 24, None, 8)) is None


def test_answers_are_not_held_up_by_the_longest() -> None:
    """What it is for: far fewer rows go through the model than in batches that wait for their longest answer."""
    made = model()
    limits = [2, 30, 2, 2, 30, 2, 2, 30, 2]
    given = [
        Asked(each.ids, each.vectors, limit) for each, limit in zip(asked(made, [PROMPTS[0]] * 9), limits, strict=True)
    ]
    engine = assert_equal(made, given, [])
    assert engine.num_rows == sum(limits)
    assert engine.num_steps < 3 * 30
