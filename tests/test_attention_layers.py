"""Layers with kinds of attention of their own: masks, generation, self-test, recipes, overrides, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from model_helpers import NUM_LATENTS, PROMPTS, answer, batch, model, model_for, naive_answer, pixels, processor
from torch import Tensor

from aki_eval.predictors.aki import AkiPredictor
from benchmarks.errors import UserError
from model.attention import build_mask, positions, to_additive
from model.backends import is_layered
from model.kinds import kinds_by_layer, read_layers
from model.self_test import attention_set_to, self_test
from train.recipe import Stage
from train.run_stage import prepare_model

FIRST_CAUSAL = {"0": "causal"}


@pytest.mark.parametrize("family", ["phi3", "qwen2"])
@pytest.mark.parametrize("layers", [FIRST_CAUSAL, {"1": "v2v"}, {"0-1": "causal"}, {"0": "future", "1": "prefix"}])
def test_each_layer_gets_its_own_mask(family: str, layers: dict[str, str]) -> None:
    """Against the backbone called layer by layer with masks made here."""
    made = model(family, attention="mma", attention_layers=layers)
    inputs = batch() | {"pixel_values": pixels()}
    with torch.no_grad():
        found = made(**inputs).logits
    assert torch.allclose(found, by_hand(made, inputs), atol=1e-5)
    if set(made.config.layer_kinds) != {"mma"}:
        with attention_set_to(made, "mma"), torch.no_grad():
            assert not torch.allclose(found, made(**inputs).logits, atol=1e-5)


@torch.no_grad()
def by_hand(made: Any, inputs: dict[str, Tensor]) -> Tensor:
    backbone = made.model.language_model
    types = made.model.token_types(inputs["input_ids"])
    vectors = made.get_image_features(inputs["pixel_values"]).pooler_output
    states = made.get_input_embeddings()(inputs["input_ids"]).masked_scatter((types == 1)[..., None], vectors)
    places = positions("mma", types, inputs["attention_mask"], NUM_LATENTS)
    rotary = backbone.rotary_emb(states, position_ids=places)
    for layer, kind in zip(backbone.layers, made.config.layer_kinds, strict=True):
        visible = build_mask(kind, types, num_latents=NUM_LATENTS, padding=inputs["attention_mask"])
        states = layer(
            states, attention_mask=to_additive(visible, states.dtype), position_ids=places, position_embeddings=rotary
        )
    logits: Tensor = made.lm_head(backbone.norm(states))
    return logits


def test_one_kind_in_all_layers_is_that_kind() -> None:
    inputs = batch() | {"pixel_values": pixels()}
    named, plain = model(attention="mma", attention_layers={"0-1": "causal"}), model(attention="causal")
    with torch.no_grad():
        assert torch.equal(named(**inputs).logits, plain(**inputs).logits)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_agrees_with_dense_masks() -> None:
    inputs = batch() | {"pixel_values": pixels()}
    made = model(attention="mma", attention_layers=FIRST_CAUSAL)
    with torch.no_grad():
        dense = made(**inputs).logits
        made.set_attn_implementation("flex_attention")
        flex = made(**inputs).logits
    real = inputs["attention_mask"].bool()
    assert torch.allclose(flex[real], dense[real], atol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"cache_implementation": "static"}, {"use_cache": False}, {"num_beams": 2}])
def test_generation_is_one_full_pass_a_token(settings: dict[str, Any]) -> None:
    made = model(text={"num_hidden_layers": 3}, attention="mma", attention_layers=FIRST_CAUSAL)
    inputs = batch() | {"pixel_values": pixels()}
    found = answer(made, inputs, **settings)
    if "num_beams" not in settings:
        assert found == naive_answer(made, inputs)
        with attention_set_to(made, "causal"):
            assert found != naive_answer(made, inputs)
        with attention_set_to(made, "mma"):
            assert found != naive_answer(made, inputs)
    assert found == answer(made, inputs, **settings)


def test_gradient_checkpointing_recomputes_under_the_same_masks() -> None:
    """The layers are called again in the backward pass, when the forward pass is long over."""
    inputs = batch() | {"pixel_values": pixels()}
    gradients = []
    for checkpointing in (False, True):
        made = model(attention="mma", attention_layers=FIRST_CAUSAL).train()
        if checkpointing:
            made.activation_checkpointing_enable()
        made(**inputs, labels=inputs["input_ids"]).loss.backward()
        gradients.append(made.model.language_model.layers[0].self_attn.o_proj.weight.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)
    assert gradients[0].abs().sum() > 0


@pytest.mark.parametrize(
    ("layers", "reached"), [(FIRST_CAUSAL, 1), ({"1": "causal"}, 0), ({"0-1": "v2v"}, None), ({"0": "prefix"}, 0)]
)
def test_self_test_knows_which_layer_the_question_reaches(layers: dict[str, str], reached: int | None) -> None:
    own = processor()
    made = model_for(own, attention="mma", attention_layers=layers)
    record = self_test(made, own)
    assert record["passed"], record
    assert record["layer_reached_by_question"] == reached
    assert record["attention_layers"] == layers


def test_self_test_finds_layers_that_do_not_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    own = processor()
    made = model_for(own, attention="mma", attention_layers={"1": "causal"})
    monkeypatch.setattr("model.modeling_aki.choose_mask", lambda place, layer, args, kwargs: (args, _dropped(kwargs)))
    record = self_test(made, own)
    assert record["passed"]  # both layers get the first one's mask, mma, which is what layer 0 declares
    other = model_for(own, attention="mma", attention_layers=FIRST_CAUSAL)
    assert not self_test(other, own)["passed"]


def _dropped(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name != "masks_by_layer"}


def test_it_is_saved_with_the_model(tmp_path: Path) -> None:
    from model import AkiForConditionalGeneration

    made = model(attention="mma", attention_layers=FIRST_CAUSAL)
    made.save_pretrained(tmp_path)
    again = AkiForConditionalGeneration.from_pretrained(tmp_path)
    assert again.config.layer_kinds == ("causal", "mma")
    inputs = batch([PROMPTS[0]]) | {"pixel_values": pixels(1)}
    with torch.no_grad():
        assert torch.equal(again.eval()(**inputs).logits, made(**inputs).logits)


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ({"0-2": "causal"}, "names layers 0-2, but the text backbone has 2: 0-1"),
        ({"2": "causal"}, "names layers 2, but"),
        ({"1-0": "causal"}, "'1-0', expected a layer such as '3'"),
        ({"first": "causal"}, "'first', expected a layer"),
        ({"0-1": "causal", "1": "v2v"}, "gives layer 1 twice: causal and v2v"),
        ({"0": "diagonal"}, "attention='diagonal', expected one of"),
        ({"0": "cca"}, "mixes cca with other kinds"),
    ],
)
def test_layers_that_cannot_be(layers: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        model(attention="mma", attention_layers=layers)


def test_kinds_by_layer() -> None:
    assert kinds_by_layer("mma", {"0-1": "causal", "3": "v2v"}, 5) == ("causal", "causal", "mma", "v2v", "mma")
    assert read_layers("0-9=causal, 20=v2v") == {"0-9": "causal", "20": "v2v"}
    for wrong in ("causal", "0=", "0=causal,0=v2v", "x=mma"):
        with pytest.raises(ValueError, match=r"expected|twice"):
            read_layers(wrong)


def test_masks_by_kind_are_told_from_masks_by_layer_type() -> None:
    assert is_layered({"mma": 1, "causal": 2})
    assert not is_layered({"full_attention": 1})
    assert not is_layered({})


STAGE: dict[str, Any] = {
    "name": "x",
    "kind": "sft",
    "attention": "mma",
    "data": {"vqav2": 1.0},
    "steps": 1,
    "batch_size": 1,
    "learning_rate": 1e-3,
    "min_learning_rate": 0.0,
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "max_length": 64,
}


def test_stages_take_layers() -> None:
    made = model()
    prepare_model(made, Stage(**STAGE, attention_layers=FIRST_CAUSAL))
    assert made.config.layer_kinds == ("causal", "mma")
    prepare_model(made, Stage(**STAGE))
    assert made.config.attention_layers is None
    with pytest.raises(UserError, match="stage 'x': attention_layers names layers 0-9"):
        prepare_model(made, Stage(**STAGE, attention_layers={"0-9": "causal"}))
    with pytest.raises(ValueError, match="attention_layers names 'diagonal'"):
        Stage(**STAGE, attention_layers={"0": "diagonal"})


def test_pretraining_with_one_mutual_layer_is_refused() -> None:
    leaking = STAGE | {
        "kind": "pretrain",
        "data": {"kale": 1.0},
        "attention": "causal",
        "attention_layers": {"1": "mma"},
    }
    with pytest.raises(ValueError, match="in pretraining would let the image tokens read the caption"):
        Stage(**leaking)


def test_predictor_takes_other_layers(tmp_path: Path) -> None:
    own = processor()
    model_for(own, attention="mma", attention_layers=FIRST_CAUSAL).save_pretrained(tmp_path)
    own.save_pretrained(tmp_path)
    stored = AkiPredictor(tmp_path, device="cpu")
    assert stored.describe()["attention_layers"] == FIRST_CAUSAL
    assert stored.model.config.layer_kinds == ("causal", "mma")
    everywhere = AkiPredictor(tmp_path, device="cpu", attention="mma")
    assert "attention_layers" not in everywhere.describe()
    assert everywhere.describe()["trained_attention_layers"] == FIRST_CAUSAL
    assert everywhere.model.config.layer_kinds == ("mma", "mma")
    other = AkiPredictor(tmp_path, device="cpu", attention_layers="1=v2v")
    assert other.model.config.layer_kinds == ("mma", "v2v")
    assert other.self_test()["passed"]
    for wrong, why in (("0-7=causal", "the text backbone has 2"), ("causal", "expected ranges")):
        with pytest.raises(UserError, match=f"--attention-layers: .*{why}"):
            AkiPredictor(tmp_path, device="cpu", attention_layers=wrong)
