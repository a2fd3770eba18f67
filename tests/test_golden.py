"""Our numbers are the original implementation's, on its own inputs, weights and outputs."""

from __future__ import annotations

import copy
import hashlib
import json

import numpy as np
import pytest
import torch
from golden_helpers import (
    GOLDEN,
    IGNORED,
    MANIFEST,
    ROWS,
    TOLERANCES,
    Case,
    assert_close,
    cases,
    expand,
    labels_of,
    load_case,
    load_model,
    models,
)
from safetensors.numpy import load_file
from torch import Tensor

from model import AkiForConditionalGeneration, AkiImageProcessor, attention
from model.published.names import plan_shapes, published_name
from model.self_test import attention_set_to

FORWARD = [key for key in cases("out.logits_subset") if "lang_config_override" not in load_case(*key).info]
WITH_IMAGES = [key for key in cases("out.vision_tokens") if key in FORWARD]
LONG_ROPE = [key for key in cases("out.logits_subset") if "lang_config_override" in load_case(*key).info]


@pytest.fixture(autouse=True)
def one_thread():
    """Several threads change the order of sums, and so the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(model: AkiForConditionalGeneration, case: Case) -> dict[str, Tensor]:
    """One pass, with what every decoder layer gave and what it took as mask and positions."""
    seen: dict[str, list] = {"layers": [], "embeds": [], "final": []}
    text = model.model.language_model
    hooks = [layer.register_forward_hook(lambda m, i, o: seen["layers"].append(o)) for layer in text.layers]
    hooks.append(text.layers[0].register_forward_pre_hook(lambda m, args: seen["embeds"].append(args[0])))
    hooks.append(text.norm.register_forward_hook(lambda m, i, o: seen["final"].append(o)))
    with torch.no_grad():
        output = model(**case.model_inputs(), labels=labels_of(case))
    for hook in hooks:
        hook.remove()
    return {
        "logits": output.logits,
        "loss": output.loss,
        "vision_tokens": output.image_hidden_states,
        "inputs_embeds": seen["embeds"][0],
        "lm_hidden": torch.stack(seen["layers"]),
        "final_hidden": seen["final"][0],
    }


def check_logits(case: Case, logits: Tensor, prefix: str = "") -> None:
    valid, expected = case.valid(), case.expected
    assert logits.shape[-1] == MANIFEST["logits_vocab"]
    assert_close(logits[..., case.meta["vocab_subset"]], expected[f"{prefix}logits_subset"], "logits", valid)
    assert_close(logits.logsumexp(-1), expected[f"{prefix}logsumexp"], "logsumexp", valid)
    assert (logits.argmax(-1).numpy() == expected[f"{prefix}argmax"])[valid].all()
    if f"{prefix}logits_lastpos" in expected:
        last = expected["lastpos"]
        assert_close(logits[range(len(last)), last], expected["logits_lastpos"], "logits")


def token_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, L-1): -log p of each next label, 0 where there is none."""
    return torch.nn.functional.cross_entropy(logits[:, :-1].mT, labels[:, 1:], reduction="none", ignore_index=-100)


@pytest.mark.parametrize("name", json.loads((GOLDEN / "SHA256SUMS.json").read_text()))
def test_file_is_as_published(name):
    data = (GOLDEN / name).read_bytes()
    assert [hashlib.sha256(data).hexdigest(), len(data)] == json.loads((GOLDEN / "SHA256SUMS.json").read_text())[name]


@pytest.mark.parametrize("name", models())
def test_every_published_tensor_has_its_place(name):
    published = {key: tuple(shape) for key, shape in MANIFEST["models"][name]["state_dict"].items()}
    model = load_model(name)
    assert dict(plan_shapes(type(model), model.config, ROWS[name]).published) == published
    assert model.lm_head.weight.shape[0] == model.lm_head.bias.shape[0] == MANIFEST["logits_vocab"]


@pytest.mark.parametrize("key", FORWARD, ids="/".join)
def test_logits_hidden_states_and_losses(key):
    case = load_case(*key)
    got = run(load_model(key[0]), case)
    check_logits(case, got["logits"])
    assert_close(got["loss"].reshape(1), case.expected["loss"], "loss")
    assert_close(token_nll(got["logits"], labels_of(case)), case.expected["token_nll"], "token_nll")
    assert_close(got["final_hidden"], case.expected["final_hidden"], "hidden", case.valid())
    if "lm_hidden" in case.expected:
        for layer, expected in zip(got["lm_hidden"], case.expected["lm_hidden"], strict=True):
            assert_close(layer, expected, "hidden", case.valid())


@pytest.mark.parametrize("key", WITH_IMAGES, ids="/".join)
def test_vision_tower_and_resampler(key):
    case, model = load_case(*key), load_model(key[0]).model
    pixels = torch.from_numpy(case.inputs["pixel_values"][:, 0, 0])
    with torch.no_grad():
        embeddings = model.vision_tower.embeddings(pixels)
        before_norm = model.vision_tower.encoder(inputs_embeds=embeddings).last_hidden_state
        features = model.get_image_features(pixels)
    assert_close(embeddings, case.expected["vision_embeddings"], "vision_embeddings")
    assert_close(before_norm, case.expected["vision_pre_post_layernorm"], "vision_hidden")
    assert_close(features.last_hidden_state, case.expected["vision_last_hidden_state"], "vision_hidden")
    assert_close(features.pooler_output[:, None], case.expected["vision_tokens"], "vision_tokens")


@pytest.mark.parametrize(("part", "wrong"), [("vision_tower", 1e-5), ("resampler", 1e-6)])
@pytest.mark.parametrize("key", WITH_IMAGES, ids="/".join)
def test_the_weakest_mistake_is_seen(key, part, wrong):
    case, model = load_case(*key), copy.deepcopy(load_model(key[0]))
    norms = [module for module in getattr(model.model, part).modules() if isinstance(module, torch.nn.LayerNorm)]
    assert norms
    for norm in norms:
        norm.eps = wrong
    got = run(model, case)
    tokens = got["vision_tokens"][:, None]
    with pytest.raises(AssertionError, match="vision_tokens"):
        assert_close(tokens, case.expected["vision_tokens"][: len(tokens)], "vision_tokens")
    with pytest.raises(AssertionError, match="logits"):
        check_logits(case, got["logits"])


@pytest.mark.parametrize("key", WITH_IMAGES, ids="/".join)
def test_sequence_labels_mask_and_positions(key):
    case, model = load_case(*key), load_model(key[0])
    types = model.model.token_types(case.ids())
    mask = attention.build_mask("mma", types, num_latents=case.num_latents, padding=case.mask())
    positions = attention.positions("mma", types, case.mask(), case.num_latents)
    valid = case.valid()
    assert (case.mask().numpy().astype(bool) == valid).all()
    assert_close(run(model, case)["inputs_embeds"], case.expected["inputs_embeds"], "inputs_embeds", valid)
    assert (mask[:, 0].numpy() == case.expected["attention_mask_4d"][:, 0].astype(bool))[valid].all()
    assert (positions.numpy() == np.broadcast_to(case.expected["position_ids"], valid.shape))[valid].all()


@pytest.mark.parametrize("key", [key for key in FORWARD if "causal.loss" in load_case(*key).expected], ids="/".join)
def test_plain_causal_attention(key):
    case, model = load_case(*key), load_model(key[0])
    with attention_set_to(model, "causal"):
        got = run(model, case)
    check_logits(case, got["logits"], "causal.")
    assert_close(got["final_hidden"], case.expected["causal.final_hidden"], "hidden", case.valid())
    assert_close(got["loss"].reshape(1), case.expected["causal.loss"], "loss")
    assert_close(token_nll(got["logits"], labels_of(case)), case.expected["causal.token_nll"], "token_nll")


@pytest.mark.parametrize("key", LONG_ROPE, ids="/".join)
def test_long_rope(key):
    case = load_case(*key)
    got = run(load_model(key[0], override=json.dumps(case.info["lang_config_override"])), case)
    check_logits(case, got["logits"])
    assert_close(got["final_hidden"], case.expected["final_hidden"], "hidden", case.valid())
    assert_close(got["loss"].reshape(1), case.expected["loss"], "loss")


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("key", FORWARD, ids="/".join)
def test_back_ends_agree(key, backend):
    case, model = load_case(*key), load_model(key[0])
    model.set_attn_implementation(backend)
    try:
        check_logits(case, run(model, case)["logits"])
    finally:
        model.set_attn_implementation("eager")


@pytest.mark.parametrize("key", cases("grad"), ids="/".join)
def test_gradients(key):
    case = load_case(*key)
    forward = load_case(key[0], case.info["case"])
    model = load_model(key[0]).train()
    model.zero_grad(set_to_none=True)
    loss = model(**forward.model_inputs(), labels=labels_of(forward)).loss
    loss.backward()
    model.eval()
    assert_close(loss.reshape(1), forward.expected["loss"], "loss")
    got = published_gradients(model, ROWS[key[0]])
    for name, array in case.expected.items():
        rows = (
            case.meta["embed_rows" if "embed_tokens" in name else "lm_head_rows"]
            if name.startswith("grad_rows.")
            else None
        )
        values = got[name.split(".", 1)[1]]
        assert_close(values if rows is None else values[rows], array, "gradient")
    norms = {name: norm for name, norm in case.info["grad_norm_per_param"].items() if norm is not None}
    assert {name for name, value in got.items() if value is not None} == set(norms)
    for name, norm in norms.items():
        assert float(got[name].double().norm()) == pytest.approx(norm, rel=TOLERANCES["gradient_norm"], abs=1e-6), name


def published_gradients(model: AkiForConditionalGeneration, rows: int) -> dict[str, Tensor | None]:
    """Gradients under their published names; those in two parts are split, with zeros for rows never used."""
    base = model.config.text_config.vocab_size - 2
    found: dict[str, Tensor | None] = {}
    for name, parameter in model.named_parameters():
        theirs = published_name(name)
        if theirs.endswith("embed_tokens.weight") or theirs.startswith("lang_model.lm_head."):
            part = "additional_embedding" if "embed_tokens" in theirs else "additional_fc"
            stem, kind = theirs.rsplit(".", 1)
            unused = parameter.new_zeros((rows - base, *parameter.shape[1:]))
            found[theirs] = torch.cat([parameter.grad[:base], unused])
            found[f"{stem}.{part}.{kind}"] = parameter.grad[base:]
        else:
            found[theirs] = parameter.grad
    return found


@pytest.mark.parametrize("key", cases("out.generated_ids"), ids="/".join)
@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_generation(key, use_cache):
    case, model = load_case(*key), load_model(key[0])
    with attention_set_to(model, "mma"):
        got = generate(model, case, use_cache)
    assert (got.sequences[:, case.ids().shape[1] :].numpy() == case.expected["generated_ids"]).all()
    assert_close(got.logits[0], case.expected["first_step_logits"], "logits")
    steps = torch.stack(got.logits, 1)[..., case.meta["vocab_subset"]]
    assert_close(steps, case.expected["step_logits_subset"], "logits")
    with attention_set_to(model, "causal"):
        causal = generate(model, case, use_cache)
    assert (causal.sequences[:, case.ids().shape[1] :].numpy() == case.expected["causal.generated_ids"]).all()
    assert_close(causal.logits[0], case.expected["causal.first_step_logits"], "logits")


def generate(model: AkiForConditionalGeneration, case: Case, use_cache: bool):
    return model.generate(
        **case.model_inputs(),
        max_new_tokens=case.expected["generated_ids"].shape[1],
        do_sample=False,
        use_cache=use_cache,
        eos_token_id=None,
        pad_token_id=MANIFEST["ids"]["pad"],
        return_dict_in_generate=True,
        output_logits=True,
    )


@pytest.mark.parametrize("key", cases("out.generated_ids"), ids="/".join)
def test_generation_prefill(key):
    case, model = load_case(*key), load_model(key[0])
    with torch.no_grad():
        output = model.model(**case.model_inputs())
    assert_close(output.last_hidden_state, case.expected["final_hidden_prompt"], "hidden")
    assert_close(output.image_hidden_states[:, None], case.expected["vision_tokens"], "vision_tokens")


@pytest.mark.parametrize("name", models())
def test_mask_layouts(name):
    arrays = load_file(GOLDEN / name / "masks.safetensors")
    model = load_model(name)
    layouts = sorted({array.split(".")[0] for array in arrays})
    assert len(layouts) >= 12
    for each in layouts:
        given, marks = arrays[f"{each}.in.input_ids"], arrays[f"{each}.in.attention_mask"]
        ids, real = expand(given, marks, model.config.num_latents)
        types = model.model.token_types(ids)
        mask = attention.build_mask("mma", types, num_latents=model.config.num_latents, padding=real)
        expected = arrays[f"{each}.out.attention_mask_4d"].astype(bool)
        rows = real.numpy().astype(bool)
        assert (mask[:, 0].numpy()[rows] == expected[:, 0][rows]).all(), each
        labels = arrays[f"{each}.out.labels_expanded"]
        ours = ids.masked_fill(types == attention.IMAGE, IGNORED).numpy()
        assert (labels[rows] == ours[rows]).all(), each


@pytest.mark.parametrize("name", models())
def test_preprocessing_of_stored_pictures(name):
    size = MANIFEST["models"][name]["config"]["vision"]["image_size"]
    processor = AkiImageProcessor(size=size)
    seen = 0
    for key in cases("in.image_uint8"):
        case = load_case(*key)
        pictures = {
            int(part.rsplit("_", 1)[1]): array for part, array in case.inputs.items() if part.startswith("image_u")
        }
        for row, picture in pictures.items():
            if key[0] == name:
                expected = case.inputs["pixel_values"][row, 0, 0]
                assert_close(processor(picture)["pixel_values"][0], expected, "pixel_values")
                seen += 1
    assert seen
