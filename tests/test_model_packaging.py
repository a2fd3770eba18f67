"""AKI as a citizen of transformers: Auto classes, pipeline, saving and loading, training machinery, new backbones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import ModelCard
from model_helpers import (
    SPECIAL,
    VISION,
    answer,
    batch,
    config,
    model,
    model_for,
    picture,
    pixels,
    processor,
    tokenizer,
)
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    GenerationConfig,
    SiglipVisionConfig,
    SiglipVisionModel,
    pipeline,
)

from model import AkiConfig, AkiForConditionalGeneration, AkiImageProcessor, AkiModel, AkiProcessor
from model.assemble import assemble
from model.attention import self_test
from model.resampler import grid_positions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved model with its processor."""
    place = tmp_path_factory.mktemp("saved")
    own = processor()
    model_for(own).save_pretrained(place)
    own.save_pretrained(place)
    return place


def test_import_costs_nothing():
    code = "import sys, model; print(sorted({'torch', 'transformers', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_name():
    import model as package

    with pytest.raises(AttributeError, match="no attribute 'Aki5'"):
        _ = package.Aki5


def test_weights_are_as_readable_as_every_other_file(tmp_path):
    """A library that writes through a temporary file leaves 0600: nobody else on a cluster could load the model."""
    before = os.umask(0o027)
    try:
        model_for(processor()).save_pretrained(tmp_path)
    finally:
        os.umask(before)
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()}
    assert modes["model.safetensors"] == modes["config.json"] == "0o640"


def test_auto_classes(folder):
    assert isinstance(AutoConfig.from_pretrained(folder), AkiConfig)
    assert isinstance(AutoProcessor.from_pretrained(folder), AkiProcessor)
    assert isinstance(AutoImageProcessor.from_pretrained(folder), AkiImageProcessor)
    assert isinstance(AutoModelForImageTextToText.from_pretrained(folder), AkiForConditionalGeneration)


def test_base_model_without_head(folder):
    base, whole = AutoModel.from_pretrained(folder), AkiForConditionalGeneration.from_pretrained(folder)
    assert isinstance(base, AkiModel)
    assert all(torch.equal(tensor, base.state_dict()[name]) for name, tensor in whole.model.state_dict().items())


def test_no_layer_is_split_over_devices():
    assert {"Phi3DecoderLayer", "SiglipEncoderLayer", "ResamplerLayer"} <= set(model()._no_split_modules)


def test_round_trip_of_model_and_processor(folder):
    own = processor()
    before, after = model_for(own), AkiForConditionalGeneration.from_pretrained(folder)
    assert all(torch.equal(one, after.state_dict()[name]) for name, one in before.state_dict().items())
    loaded = AkiProcessor.from_pretrained(folder)
    turn = [{"role": "user", "content": [{"type": "image", "image": picture()}, {"type": "text", "text": "Hm?"}]}]
    settings = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
    one, other = own.apply_chat_template(turn, **settings), loaded.apply_chat_template(turn, **settings)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (loaded.num_latents, loaded.image_order) == (own.num_latents, own.image_order)


def test_every_setting_survives(tmp_path):
    made = config(
        attention="cca",
        image_order="text_first",
        resampler_position_encoding="sincos",
        resampler_init="identity",
        lm_head_bias=True,
        question_end_token_id=None,
    )
    made.save_pretrained(tmp_path)
    assert AkiConfig.from_pretrained(tmp_path).to_diff_dict() == made.to_diff_dict()
    own = processor(image_order="text_first")
    own.save_pretrained(tmp_path)
    assert AkiProcessor.from_pretrained(tmp_path).image_order == "text_first"


def test_pipeline(folder):
    pipe = pipeline("image-text-to-text", model=str(folder))
    turn = [{"role": "user", "content": [{"type": "image", "image": picture()}, {"type": "text", "text": "Hm?"}]}]
    [said] = pipe(text=turn, max_new_tokens=5, return_full_text=False)
    own = AkiProcessor.from_pretrained(folder)
    inputs = own.apply_chat_template(
        turn, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    loaded = AkiForConditionalGeneration.from_pretrained(folder)
    answer = loaded.generate(**inputs, max_new_tokens=5)[:, inputs["input_ids"].shape[1] :]
    assert said["generated_text"] == own.batch_decode(answer, skip_special_tokens=True)[0]
    [plain] = pipe(picture(), text="<image>Hm?", max_new_tokens=5)
    assert plain["generated_text"].startswith("<image>Hm?")


def test_shards_device_map_and_dtype(folder, tmp_path):
    whole = AkiForConditionalGeneration.from_pretrained(folder)
    whole.save_pretrained(tmp_path, max_shard_size="100KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    placed = AkiForConditionalGeneration.from_pretrained(tmp_path, device_map={"": "cpu"}, dtype=torch.bfloat16)
    assert placed.dtype == torch.bfloat16
    assert placed.device.type == "cpu"
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor.to(torch.bfloat16), placed.state_dict()[name])
    assert AkiForConditionalGeneration.from_pretrained(tmp_path, device_map="auto").dtype == torch.float32


def test_model_split_over_disk(folder, tmp_path):
    """A device map with offloading cuts the model between modules; nothing may reach across."""
    whole = AkiForConditionalGeneration.from_pretrained(folder)
    parts = {"model.vision_tower": "cpu", "model.resampler": "disk", "model.language_model": "cpu", "lm_head": "disk"}
    split = AkiForConditionalGeneration.from_pretrained(folder, device_map=parts, offload_folder=tmp_path / "off")
    own = AkiProcessor.from_pretrained(folder)
    inputs = own(images=[picture()], text="<image>Hm?", return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(whole(**inputs).logits, split(**inputs).logits)


def test_settings_may_be_overridden_when_loading(folder):
    assert AkiForConditionalGeneration.from_pretrained(folder, attention="cca").config.attention == "cca"
    eager = AkiForConditionalGeneration.from_pretrained(folder, attn_implementation="eager")
    assert eager.config.text_config._attn_implementation == "eager"
    with pytest.raises(ValueError, match="flash_attention_2"):
        AkiForConditionalGeneration.from_pretrained(folder, attn_implementation="flash_attention_2")


@pytest.mark.parametrize(
    "override", [{"attention": "MMA"}, {"image_order": "texts_first"}, {"attention": "cca", "num_latents": 9}]
)
def test_overrides_are_checked(folder, override):
    for load in (AkiForConditionalGeneration.from_pretrained, AkiConfig.from_pretrained, AutoConfig.from_pretrained):
        with pytest.raises(ValueError, match=r"attention=|image_order="):
            load(folder, **override)


@pytest.mark.parametrize("kind", ["llama", None])
def test_checkpoint_of_another_model_is_refused_before_anything_is_built(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(AkiForConditionalGeneration, "__init__", lambda *a: pytest.fail("a model was built"))
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8} | ({"model_type": kind} if kind else {})))
    for load in (AkiForConditionalGeneration.from_pretrained, AkiModel.from_pretrained, AkiConfig.from_pretrained):
        with pytest.raises(ValueError, match="is no AKI checkpoint"):
            load(tmp_path)


def test_generation_config_has_both_stop_tokens(folder):
    own = AkiProcessor.from_pretrained(folder)
    saved = GenerationConfig.from_pretrained(folder)
    assert saved.eos_token_id == own.stop_token_ids
    assert [own.tokenizer.convert_ids_to_tokens(each) for each in saved.eos_token_id] == ["<|endoftext|>", "<|end|>"]
    assert AkiForConditionalGeneration.from_pretrained(folder).generation_config.eos_token_id == own.stop_token_ids
    assert "eos_token_id" not in {
        key for key in json.loads((folder / "config.json").read_text()) if key == "eos_token_id"
    }


@pytest.mark.parametrize("stop", [0, 1])
def test_generation_stops_at_either_token(stop):
    own = processor()
    made = model_for(own)
    inputs = own(text="a", return_tensors="pt")
    with torch.no_grad():  # one token is all it ever says
        made.lm_head.weight.zero_()
        made.lm_head.bias = torch.nn.Parameter(torch.zeros(len(own.tokenizer)))
        made.lm_head.bias[own.stop_token_ids[stop]] = 1.0
    assert made.generate(**inputs, max_new_tokens=5, do_sample=False).shape[1] == inputs["input_ids"].shape[1] + 1


def test_model_card_is_written_and_not_overwritten(folder, tmp_path):
    card = ModelCard.load(folder / "README.md")
    assert card.data.pipeline_tag == "image-text-to-text"
    assert card.data.library_name == "transformers"
    assert "modality-mutual" in card.text
    assert "4 latents" in card.text
    (tmp_path / "README.md").write_text("mine")
    model().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


class Hub:
    """Stands in for the Hub: remembers what was sent."""

    def __init__(self, has_card: bool) -> None:
        self.has_card = has_card
        self.files: set[str] = set()
        self.card: str | None = None

    def patch(self, monkeypatch) -> Hub:
        api = SimpleNamespace(
            create_repo=lambda repo_id, **kwargs: SimpleNamespace(repo_id=repo_id),
            file_exists=lambda repo_id, name, revision=None: self.has_card,
        )
        monkeypatch.setattr("transformers.utils.hub.hf_api", lambda *args, **kwargs: api)
        monkeypatch.setattr("model.loading.HfApi", lambda token=None: api)
        monkeypatch.setattr("transformers.utils.hub.create_and_tag_model_card", lambda *a, **k: ModelCard("---\n---\n"))
        monkeypatch.setattr(
            AkiForConditionalGeneration, "_upload_modified_files", lambda model, *a, **k: self.upload(*a)
        )
        monkeypatch.setattr(ModelCard, "push_to_hub", lambda card, *a, **k: self.push_card(card))
        return self

    def upload(self, working_dir, *args):
        self.files = {file.name for file in Path(working_dir).iterdir()}

    def push_card(self, card):
        self.card = card.text


@pytest.mark.parametrize("has_card", [False, True])
def test_push_to_hub_sends_weights_settings_and_card(monkeypatch, has_card):
    hub = Hub(has_card)
    hub.patch(monkeypatch)
    model().push_to_hub("someone/aki")
    assert {"config.json", "generation_config.json", "model.safetensors", "README.md"} <= hub.files
    assert (hub.card is None) == has_card
    assert has_card or "modality-mutual" in hub.card


def test_saving_and_pushing_in_one(monkeypatch, tmp_path):
    pushed = []
    monkeypatch.setattr(AkiForConditionalGeneration, "push_to_hub", lambda self, **kwargs: pushed.append(kwargs))
    model().save_pretrained(tmp_path / "aki", push_to_hub=True, private=True)
    assert pushed == [{"repo_id": "aki", "private": True}]
    given = {"repo_id": "a/b", "token": "hf_x", "create_pr": True, "revision": "dev", "tags": ["x"]}
    given |= {"commit_message": "m", "commit_description": "d", "max_shard_size": "1GB"}
    model().save_pretrained(tmp_path / "aki", push_to_hub=True, **given)
    assert pushed[1] == given
    assert (tmp_path / "aki" / "model.safetensors").exists()


def test_gradient_checkpointing_changes_no_gradient():
    inputs = batch() | {"pixel_values": pixels()}
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    gradients = []
    for checkpointing in (False, True):
        made = model().train()
        if checkpointing:
            made.activation_checkpointing_enable()
            assert made.model.language_model.gradient_checkpointing
        made(**inputs, labels=labels).loss.backward()
        gradients.append(
            {name: parameter.grad for name, parameter in made.named_parameters() if parameter.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.allclose(value, gradients[1][name], atol=1e-6) for name, value in gradients[0].items())


def test_loss_is_the_mean_over_labels_and_its_divisor_can_be_given():
    made, inputs = model(), batch() | {"pixel_values": pixels()}
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    with torch.no_grad():
        output = made(**inputs, labels=labels)
        halved = made(**inputs, labels=labels, num_items_in_batch=2 * int((labels[:, 1:] != -100).sum())).loss
    by_hand = torch.nn.functional.cross_entropy(output.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    assert torch.allclose(output.loss, by_hand)
    assert torch.allclose(halved, by_hand / 2)


def test_frozen_tower_may_be_run_beforehand():
    made, inputs = model(), batch()
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    made.model.vision_tower.requires_grad_(False)
    seen = made.get_vision_features(pixels())
    before = made(**inputs, labels=labels, vision_hidden_states=seen).loss
    before.backward()
    gradient = made.model.resampler.latents.grad.clone()
    made.zero_grad()
    after = made(**inputs, labels=labels, pixel_values=pixels()).loss
    after.backward()
    assert torch.equal(before, after)
    assert torch.equal(gradient, made.model.resampler.latents.grad)
    assert made.model.vision_tower.post_layernorm.weight.grad is None


def test_placeholder_s_own_embedding_gets_no_gradient():
    made, inputs = model(), batch() | {"pixel_values": pixels()}
    made(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert not made.get_input_embeddings().weight.grad[made.config.image_token_id].any()


def test_more_words():
    made = model()
    made.resize_token_embeddings(210)
    assert made.lm_head.weight.shape[0] == made.config.text_config.vocab_size == 210
    with torch.no_grad():
        assert made(**batch(), pixel_values=pixels()).logits.shape[-1] == 210


def test_shared_embedding_and_head(tmp_path):
    made = model("qwen2", {"tie_word_embeddings": True})
    assert made.lm_head.weight is made.get_input_embeddings().weight
    made.save_pretrained(tmp_path)
    again = AkiForConditionalGeneration.from_pretrained(tmp_path)
    assert again.lm_head.weight is again.get_input_embeddings().weight
    assert torch.equal(again.lm_head.weight, made.lm_head.weight)


def test_fresh_weights_are_initialised():
    made = model()
    latents = made.model.resampler.latents
    assert latents.std().item() == pytest.approx(1.0, abs=0.2)
    assert made.model.resampler.projection.weight.std().item() == pytest.approx(0.2, rel=0.2)
    assert not made.model.resampler.projection.bias.any()


def test_identity_initialisation():
    made = model(resampler_init="identity", resampler_heads=2, resampler_dim_head=16)
    attention = made.model.resampler.layers[0].attention
    for weight in (attention.to_q.weight, *attention.to_kv.weight.chunk(2), attention.to_out.weight):
        assert torch.allclose(weight, torch.eye(32), atol=0.15)


def test_sine_cosine_positions_show_both_axes_to_every_head():
    table = grid_positions(16, heads=2, dim_head=8).unflatten(1, (2, 8))
    for head in range(2):
        assert (table[0, head] - table[1, head]).abs().max() > 0.1  # a step to the right
        assert (table[0, head] - table[4, head]).abs().max() > 0.1  # a step down
    assert len(table.flatten(1).unique(dim=0)) == 16


def test_sine_cosine_positions_make_places_count():
    """Without them a resampler cannot tell a picture from its patches in another order."""
    for encoding, counts in (("none", False), ("sincos", True)):
        made = model(resampler_position_encoding=encoding)
        patches = torch.randn(1, 16, 32)
        with torch.no_grad():
            one, other = (made.model.resampler(each) for each in (patches, patches.flip(1)))
        assert torch.allclose(one, other, atol=1e-5) != counts


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attention": "bidirectional"}, "attention='bidirectional', expected one of 'mma', 'causal', 'cca'"),
        ({"image_order": "last"}, "image_order='last'"),
        ({"resampler_init": "zero"}, "resampler_init='zero'"),
        ({"attention": "cca", "num_latents": 9}, "square with an even side"),
        ({"attention": "cca", "num_latents": 12}, "square with an even side"),
        ({"image_token_id": 200}, "outside the vocabulary of 200"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        config(**settings)


def test_default_is_the_published_model():
    published = AkiConfig()
    assert (published.image_token_id, published.question_end_token_id) == (32012, 32001)
    assert published.text_config.vocab_size == 32014
    other = AkiConfig(text_config={"model_type": "qwen2", "vocab_size": 60_000})
    assert (other.image_token_id, other.question_end_token_id) == (None, None)  # not those of another tokenizer


@pytest.mark.parametrize("absent", ["image_token_id", "question_end_token_id"])
def test_mutual_attention_without_its_tokens_is_refused(absent):
    made = model(**{absent: None})
    with pytest.raises(ValueError, match="lacks image_token_id or question_end_token_id"):
        made(input_ids=torch.tensor([[1, 2]]))


def test_pictures_and_placeholders_must_match():
    made, inputs = model(), batch()
    with pytest.raises(ValueError, match="8 image placeholder tokens, but there are 4 image vectors"):
        made(**inputs, pixel_values=pixels(1))
    with pytest.raises(ValueError, match="8 image placeholder tokens, but there are 0"):
        made(**inputs)
    with pytest.raises(ValueError, match="only one of pixel_values"):
        made(**inputs, pixel_values=pixels(), vision_hidden_states=torch.zeros(2, 16, 32))
    with pytest.raises(ValueError, match="only one of pixel_values"):
        made.generate(**inputs, pixel_values=pixels(), vision_hidden_states=torch.zeros(2, 16, 32), max_new_tokens=1)
    with pytest.raises(ValueError, match="neither pixel_values nor"):
        made.get_image_features()
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        made()


def test_prompt_over_the_context_length():
    made = model(text={"max_position_embeddings": 12})
    long = {"input_ids": torch.ones(1, 13, dtype=torch.long)}
    with pytest.raises(ValueError, match=r"prompt is 13 tokens long .* context holds 12"):
        made(**long)
    with pytest.raises(ValueError, match=r"prompt is 13 tokens long .* context of 12"):
        made.generate(**long, max_new_tokens=1)


def test_answer_ends_with_the_context():
    made = model(text={"max_position_embeddings": 12})
    given = {"input_ids": torch.full((1, 9), 5)}
    assert len(answer(made, given, 3)[0]) == len(answer(made, given, 40, min_new_tokens=40)[0]) == 3
    assert answer(made, given, 40) == answer(made, given, 3)


@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 3, 32, 32), (1, 1, 28, 28), (1, 1, 3, 28, 28)])
def test_pixels_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"pixel_values have shape .* expected \(pictures, 3, 28, 28\)"):
        model()(**batch([[5] + [199] * 4]), pixel_values=torch.zeros(shape))


def test_empty_prompt():
    with pytest.raises(ValueError, match="prompt is empty"):
        model().generate(input_ids=torch.ones(1, 0, dtype=torch.long), max_new_tokens=1)


def backbone(place, family: str) -> str:
    """A tiny pretrained text model with its tokenizer, and rows it does not use, as real ones have them."""
    words = tokenizer(family)
    words.save_pretrained(place)
    text = config(family, {"vocab_size": len(words) + 30, "pad_token_id": None}).text_config
    AutoModelForCausalLM.from_config(text).save_pretrained(place)
    return str(place)


@pytest.mark.parametrize("family", ["phi3", "llama", "qwen2"])
def test_new_model_from_pretrained_parts(family, tmp_path):
    text = backbone(tmp_path / "text", family)
    tower = SiglipVisionModel(SiglipVisionConfig(**VISION))
    tower.save_pretrained(tmp_path / "vision")
    made, own = assemble(str(tmp_path / "vision"), text, num_latents=4, attention="mma")
    original = AutoModelForCausalLM.from_pretrained(text)
    known = len(SPECIAL[family]) + 256
    assert len(own.tokenizer) == made.config.text_config.vocab_size >= known
    assert torch.equal(made.lm_head.weight[:known], original.lm_head.weight[:known])
    embedding = original.get_input_embeddings().weight
    assert torch.equal(made.get_input_embeddings().weight[:known], embedding[:known])
    assert torch.equal(
        made.model.vision_tower.embeddings.patch_embedding.weight, tower.embeddings.patch_embedding.weight
    )
    assert made.generation_config.eos_token_id == own.stop_token_ids
    assert not any(tensor.is_meta for tensor in (*made.parameters(), *made.buffers()))
    assert 0.5 < made.model.resampler.latents.detach().std().item() < 2
    made.save_pretrained(tmp_path / "made")
    again = AkiForConditionalGeneration.from_pretrained(tmp_path / "made")
    for name, tensor in again.named_buffers():
        assert torch.equal(tensor, made.get_buffer(name)), name
    assert self_test(made, own)["passed"]
