"""From the published checkpoint to ours and back, to the bit; nothing but tensors is ever loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from golden_helpers import GOLDEN, MANIFEST
from model_helpers import model, model_for, processor
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig
from typer.testing import CliRunner

from model import AkiConfig, AkiForConditionalGeneration, AkiProcessor
from model.published.config import generation_settings
from model.published.convert import convert
from model.published.facts import AKI_4B
from model.published.names import check_shapes, plan_shapes, published_name, to_ours, to_published
from model.published.weights import Weights

NAME = next(iter(MANIFEST["models"]))
SOURCE = GOLDEN / NAME
EMBEDDING = "lang_model.model.embed_tokens.weight"


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("converted") / "ours"
    convert(SOURCE, target)
    return target


@pytest.fixture
def published(tmp_path) -> Path:
    """A copy of a published folder to do damage to."""
    return Path(shutil.copytree(SOURCE, tmp_path / "published"))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(
        tensor.dtype == other[name].dtype and torch.equal(tensor, other[name]) for name, tensor in one.items()
    )


def test_there_and_back_again_is_exact(ours, tmp_path):
    convert(ours, tmp_path / "back", to="published")
    assert same(load_file(SOURCE / "model.safetensors"), load_file(tmp_path / "back" / "model.safetensors"))
    assert (tmp_path / "back" / "config.json").read_bytes() == (SOURCE / "config.json").read_bytes()
    convert(tmp_path / "back", tmp_path / "again")
    assert same(load_file(ours / "model.safetensors"), load_file(tmp_path / "again" / "model.safetensors"))


def test_published_folder_loads_directly_and_as_its_conversion_does(ours):
    direct = AkiForConditionalGeneration.from_pretrained(SOURCE, dtype=torch.float32)
    converted = AkiForConditionalGeneration.from_pretrained(ours, dtype=torch.float32)
    assert same(direct.state_dict(), converted.state_dict())
    assert direct.config.text_config.vocab_size == MANIFEST["logits_vocab"]
    for made in (direct, converted):
        assert made.config.lm_head_bias
        assert made.generation_config.eos_token_id == [MANIFEST["ids"]["eos"], MANIFEST["ids"]["end"]]
        assert made.generation_config.suppress_tokens == [MANIFEST["ids"]["image"]]
        assert made.config.question_end_token_id == MANIFEST["ids"]["assistant"]


def test_published_folder_loads_with_settings_of_ours():
    model = AkiForConditionalGeneration.from_pretrained(SOURCE, attention="causal", dtype="float32")
    assert model.config.attention == "causal"
    assert model.dtype == torch.float32


def test_rows_of_added_tokens_and_bias_are_put_in_place(ours):
    before, after = load_file(SOURCE / "model.safetensors"), load_file(ours / "model.safetensors")
    added = before["lang_model.model.embed_tokens.additional_embedding.weight"]
    embedding = after["model.language_model.embed_tokens.weight"]
    assert torch.equal(embedding[:32012], before[EMBEDDING][:32012])
    assert torch.equal(embedding[32012:], added)
    assert torch.equal(after["lm_head.bias"][32012:], before["lang_model.lm_head.additional_fc.bias"])


def test_ours_without_history_goes_to_the_published_form(tmp_path):
    """A model trained here: unused rows are zero, the pooling head is absent, the head gets a bias of zeros."""
    model = AkiForConditionalGeneration.from_pretrained(SOURCE, dtype=torch.float32)
    model.config.lm_head_bias = False
    model.lm_head.bias = None
    model.save_pretrained(tmp_path / "trained")
    done = convert(tmp_path / "trained", tmp_path / "published", to="published")
    tensors = load_file(tmp_path / "published" / "model.safetensors")
    assert done["pooling_head"] is False
    assert tensors[EMBEDDING].shape == (32064, model.config.text_config.hidden_size)
    assert not tensors[EMBEDDING][32012:].any()
    assert not tensors["lang_model.lm_head.bias"].any()
    again = AkiForConditionalGeneration.from_pretrained(tmp_path / "published", dtype=torch.float32).state_dict()
    assert not again.pop("lm_head.bias").any()
    assert same(again, model.state_dict())


def test_real_sizes_on_the_meta_device():
    """The mapping of AKI-4B: every tensor of the published list, with its exact shape, and 4.33 billion parameters."""
    config = AkiConfig.from_published(AKI_4B)
    plan = plan_shapes(AkiForConditionalGeneration, config, rows=32064)
    on_meta = {name: torch.empty(shape, device="meta") for name, shape in plan.published.items()}
    assert round(sum(tensor.numel() for tensor in on_meta.values()) / 1e9, 2) == 4.33
    assert plan.published[EMBEDDING] == (32064, 3072)
    assert plan.published["lang_model.lm_head.additional_fc.bias"] == (2,)
    assert plan.published["vision_tokenizer.latents"] == (144, 1152)
    assert plan.published["vision_tokenizer.projection.weight"] == (3072, 1152)
    assert plan.published["vision_encoder.embeddings.position_embedding.weight"] == (729, 1152)
    assert plan.published["lang_model.model.layers.31.self_attn.qkv_proj.weight"] == (9216, 3072)
    ours = dict(to_ours(plan, on_meta.__getitem__))
    assert {name: tuple(tensor.shape) for name, tensor in ours.items()} == dict(plan.ours)
    back = dict(to_published(plan, ours.__getitem__, {}))
    head = {name for name in plan.published if name.startswith("vision_encoder.head.")}
    assert len(head) == 11
    assert {name: tuple(tensor.shape) for name, tensor in back.items()} == {
        name: shape for name, shape in plan.published.items() if name not in head
    }
    with torch.device("meta"):
        model = AkiForConditionalGeneration(config)
    model.load_state_dict(ours, assign=True)


def test_real_names_are_the_golden_ones_layer_for_layer():
    """The real model differs from the tiny golden one in the number of layers only."""

    def shape_free(names):
        return {".".join("N" if part.isdigit() else part for part in name.split(".")) for name in names}

    real = plan_shapes(AkiForConditionalGeneration, AkiConfig.from_published(AKI_4B), rows=32064).published
    assert shape_free(real) == shape_free(MANIFEST["models"][NAME]["state_dict"])


def test_phi_3_5_s_long_rope_is_known_without_the_hub():
    text = AkiConfig.from_published(AKI_4B).text_config
    rope = text.rope_parameters
    assert (rope["rope_type"], rope["original_max_position_embeddings"]) == ("longrope", 4096)
    assert (
        len(rope["short_factor"]) == len(rope["long_factor"]) == 48 == text.hidden_size // text.num_attention_heads // 2
    )
    assert rope["short_factor"][:3] == [1.0, 1.0199999809265137, 1.0299999713897705]
    assert rope["long_factor"][-1] == 64.83999633789062


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda tensors: tensors.pop("vision_tokenizer.latents"), "1 missing: vision_tokenizer.latents"),
        (lambda tensors: tensors.update(surprise=torch.zeros(2)), "1 unexpected: surprise"),
        (
            lambda tensors: tensors.update({"vision_tokenizer.latents": torch.zeros(3, 5)}),
            r"1 misshapen: vision_tokenizer.latents \[3, 5\] instead of",
        ),
        (lambda tensors: tensors.pop(EMBEDDING), f"lacks {EMBEDDING}"),
    ],
)
def test_faulty_published_weights_are_named(published, tmp_path, harm, named):
    tensors = load_file(published / "model.safetensors")
    harm(tensors)
    save_file(tensors, published / "model.safetensors")
    with pytest.raises(ValueError, match=named):
        convert(published, tmp_path / "ours")
    with pytest.raises(ValueError, match=named):
        AkiForConditionalGeneration.from_pretrained(published)
    assert not (tmp_path / "ours").exists()


def test_pooling_head_may_be_absent(published, tmp_path):
    tensors = load_file(published / "model.safetensors")
    without = {name: tensor for name, tensor in tensors.items() if not name.startswith("vision_encoder.head.")}
    save_file(without, published / "model.safetensors")
    convert(published, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back", to="published")
    assert same(without, load_file(tmp_path / "back" / "model.safetensors"))


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda tensors: tensors.pop("lm_head.weight"), "1 missing: lm_head.weight"),
        (lambda tensors: tensors.update(surprise=torch.zeros(2)), "1 unexpected: surprise"),
        (lambda tensors: tensors.update({"lm_head.bias": torch.zeros(3)}), "1 mismatched: .*lm_head.bias"),
    ],
)
def test_faulty_weights_of_ours_are_named(ours, tmp_path, harm, named):
    folder = Path(shutil.copytree(ours, tmp_path / "ours"))
    tensors = load_file(folder / "model.safetensors")
    harm(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=named):
        AkiForConditionalGeneration.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["published", "ours"])
@pytest.mark.parametrize(
    "harm", [lambda data: data[: len(data) // 2], lambda data: b"\xff" * 8 + data[8:], lambda data: b""]
)
def test_damaged_safetensors_file_is_named(ours, tmp_path, kind, harm):
    folder = Path(shutil.copytree(SOURCE if kind == "published" else ours, tmp_path / "damaged"))
    file = folder / "model.safetensors"
    file.write_bytes(harm(file.read_bytes()))
    with pytest.raises(ValueError, match=r"model.safetensors does not open as safetensors"):
        AkiForConditionalGeneration.from_pretrained(folder)


def test_absent_weights_are_named(published):
    (published / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"lacks model.safetensors"):
        AkiForConditionalGeneration.from_pretrained(published)


def training_checkpoint(path: Path, with_tower: bool = False) -> Path:
    tensors = load_file(SOURCE / "model.safetensors")
    kept = {f"module.{name}": tensor for name, tensor in tensors.items() if with_tower or "vision_encoder" not in name}
    torch.save({"model_state_dict": kept, "epoch": 3, "step": 7, "lr_scheduler_state_dict": {"last_epoch": 7}}, path)
    return path


def vision_tower(folder: Path) -> Path:
    """SigLIP as published: the tensors of the tower under its own names."""
    tensors = load_file(SOURCE / "model.safetensors")
    prefix = "vision_encoder."
    tower = {f"vision_model.{n.removeprefix(prefix)}": t for n, t in tensors.items() if n.startswith(prefix)}
    folder.mkdir()
    save_file(
        tower | {"text_model.embeddings.x": torch.zeros(1), "logit_scale": torch.zeros(1)}, folder / "model.safetensors"
    )
    return folder


def test_training_checkpoint_with_a_vision_tower_beside_it(ours, tmp_path):
    file = training_checkpoint(tmp_path / "checkpoint_7.pt")
    convert(file, tmp_path / "out", config=SOURCE / "config.json", vision_tower=vision_tower(tmp_path / "siglip"))
    assert same(load_file(ours / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors"))
    AkiForConditionalGeneration.from_pretrained(tmp_path / "out")


def test_training_checkpoint_without_a_vision_tower_says_so(tmp_path):
    file = training_checkpoint(tmp_path / "checkpoint_7.pt")
    with pytest.raises(ValueError, match="has no vision tower"):
        convert(file, tmp_path / "out", config=SOURCE / "config.json")


def test_training_checkpoint_of_another_size_is_refused(tmp_path):
    file = training_checkpoint(tmp_path / "checkpoint_7.pt", with_tower=True)
    with pytest.raises(ValueError, match=r"misshapen: .*vision_tokenizer.latents"):
        convert(file, tmp_path / "out")  # taken for AKI-4B's


class Trap:
    """Writes a file when somebody unpickles it."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return (Path.touch, (self.witness,))


def test_no_pickle_is_ever_executed(tmp_path):
    witness = tmp_path / "executed"
    file = tmp_path / "trap.pt"
    torch.save({"model_state_dict": {"x": torch.zeros(1)}, "args": Trap(witness)}, file)
    with pytest.raises(ValueError, match="cannot be read as plain tensors"):
        convert(file, tmp_path / "out")
    file.write_bytes(pickle.dumps(Trap(witness)))
    with pytest.raises(ValueError, match="cannot be read as plain tensors"):
        convert(file, tmp_path / "out")
    assert not witness.exists()


def test_pytorch_bin_is_not_loaded(published):
    tensors = load_file(published / "model.safetensors")
    torch.save(tensors, published / "pytorch_model.bin")
    (published / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"lacks model.safetensors"):
        AkiForConditionalGeneration.from_pretrained(published)


def test_file_without_state_dict(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="no model_state_dict"):
        convert(tmp_path / "x.pt", tmp_path / "out")


def test_target_in_the_way(ours, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "thesis.txt").write_text("do not lose")
    with pytest.raises(ValueError, match="not empty"):
        convert(SOURCE, tmp_path / "there")


def test_source_of_another_kind(ours, tmp_path):
    with pytest.raises(ValueError, match="no published AKI checkpoint"):
        convert(ours, tmp_path / "out")


def test_shards(published, tmp_path):
    """Published weights in shards load, too; one that is gone is named."""
    tensors = load_file(published / "model.safetensors")
    names = sorted(tensors)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: tensors[name] for name in part}, published / file)
    (published / "model.safetensors").unlink()
    weight_map = {name: file for file, part in halves.items() for name in part}
    (published / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert same(dict(Weights([published / file for file in halves])), tensors)
    AkiForConditionalGeneration.from_pretrained(published)
    (published / "b.safetensors").unlink()
    with pytest.raises(ValueError, match=r"lacks b.safetensors"):
        AkiForConditionalGeneration.from_pretrained(published)


def test_networks_named_by_folder(published, tmp_path):
    """`lang_model_path` and `vision_encoder_path` may be folders beside the checkpoint."""
    raw = json.loads((published / "config.json").read_text())
    whole = AkiConfig.from_published(raw)
    whole.text_config.save_pretrained(published / "language")
    whole.vision_config.save_pretrained(published / "tower")
    named = {key: value for key, value in raw.items() if key not in ("lang", "vision")}
    named |= {"lang_model_path": "language", "vision_encoder_path": "tower"}
    found = AkiConfig.from_published(named, published)
    assert found.text_config.hidden_size == whole.text_config.hidden_size
    named_by = {"_name_or_path": None}
    assert found.vision_config.to_dict() | named_by == whole.vision_config.to_dict() | named_by


@pytest.mark.parametrize("load", [AkiForConditionalGeneration.from_pretrained, AkiProcessor.from_pretrained])
def test_folder_that_does_not_exist(tmp_path, load):
    with pytest.raises(ValueError, match=r"nowhere does not exist"):
        load(tmp_path / "nowhere")


def test_several_end_of_text_tokens():
    config = AkiConfig.from_published(AKI_4B)
    config.text_config.eos_token_id = [32007, 32001, 32000]
    assert generation_settings(config)["eos_token_id"] == [32007, 32001, 32000]


def test_hub_id(monkeypatch):
    """A Hub id is asked for its config.json, and fetched when that is the published kind."""
    asked = []

    def fetch(name, **kwargs):
        asked.append((name, kwargs))
        return str(SOURCE)

    monkeypatch.setattr("model.published.hub.cached_file", lambda name, file, **kwargs: str(SOURCE / file))
    monkeypatch.setattr("model.published.hub.snapshot_download", fetch)
    model = AkiForConditionalGeneration.from_pretrained("Someone/AKI", revision="v1", dtype="float32")
    assert model.config.lm_head_bias
    assert asked[0][0] == "Someone/AKI"
    assert asked[0][1]["revision"] == "v1"
    assert not any("*.bin" in pattern or "*.pt" in pattern for pattern in asked[0][1]["allow_patterns"])


def test_unknown_tensor_name_is_refused():
    with pytest.raises(ValueError, match="no tensor of an AKI model"):
        published_name("model.surprise.weight")


def test_check_shapes_names_everything():
    with pytest.raises(ValueError, match=r"1 missing: a; 1 unexpected: c; 1 misshapen: b \[1\] instead of \[2\]"):
        check_shapes({"b": (1,), "c": (3,)}, {"a": (1,), "b": (2,)}, "x")


def test_configuration_of_a_published_folder():
    found = AkiConfig.from_pretrained(SOURCE, attention="causal")
    assert found.num_latents == MANIFEST["models"][NAME]["config"]["num_vision_tokens"]
    assert found.text_config.vocab_size == MANIFEST["logits_vocab"]
    assert found.attention == "causal"


OTHERS = {
    "attention": "causal",
    "image_order": "text_first",
    "resampler_position_encoding": "sincos",
    "question_end_token_id": 77,
}


@pytest.mark.parametrize("was_published", [True, False])
@pytest.mark.parametrize("settings", [{}, OTHERS])
def test_settings_of_ours_survive_the_published_form(ours, tmp_path, settings, was_published):
    folder = Path(shutil.copytree(ours, tmp_path / "trained"))
    if not was_published:
        shutil.rmtree(folder / "reference")
    wanted = AkiConfig.from_pretrained(ours, **settings)
    wanted.save_pretrained(folder)
    stop = [5, 6] if settings else GenerationConfig.from_pretrained(ours).eos_token_id
    GenerationConfig(eos_token_id=stop).save_pretrained(folder)
    convert(folder, tmp_path / "published", to="published")
    convert(tmp_path / "published", tmp_path / "back")
    direct = AkiForConditionalGeneration.from_pretrained(tmp_path / "published")
    back = AkiConfig.from_pretrained(tmp_path / "back")
    for name in AkiConfig.__annotations__:
        if not name.endswith("_config"):
            assert getattr(back, name) == getattr(direct.config, name) == getattr(wanted, name), name
    assert direct.generation_config.eos_token_id == stop
    assert GenerationConfig.from_pretrained(tmp_path / "back").eos_token_id == stop


@pytest.mark.parametrize(("family", "tied"), [("qwen2", True), ("llama", False)])
def test_other_backbones_in_the_published_form(tmp_path, family, tied):
    """No id of Phi's gets in, and a head that is the embedding is written out."""
    made = model(family, {"vocab_size": 201, "tie_word_embeddings": tied})
    made.generation_config.eos_token_id = [2, 3]
    made.save_pretrained(tmp_path / "trained")
    convert(tmp_path / "trained", tmp_path / "published", to="published")
    again = AkiForConditionalGeneration.from_pretrained(tmp_path / "published")
    assert again.config.text_config.model_type == family
    assert again.config.question_end_token_id == 198
    assert again.generation_config.eos_token_id == [2, 3]
    state = again.state_dict()
    assert not state.pop("lm_head.bias").any()
    assert same(state, made.state_dict())
    convert(tmp_path / "published", tmp_path / "back")
    AkiForConditionalGeneration.from_pretrained(tmp_path / "back")
    raw = json.loads((tmp_path / "published" / "config.json").read_text())
    del raw["assistant_token_id"]
    with pytest.raises(ValueError, match="assistant_token_id"):
        AkiConfig.from_published(raw)


def test_processor_of_ours_survives_the_published_form(tmp_path):
    own = processor(image_order="text_first")
    own.save_pretrained(tmp_path / "trained")
    made = model_for(own)
    size = own.image_token_id + 2
    made.resize_token_embeddings(size)
    made.config.text_config.vocab_size = size
    made.save_pretrained(tmp_path / "trained")
    convert(tmp_path / "trained", tmp_path / "published", to="published")
    again = AkiProcessor.from_pretrained(tmp_path / "published")
    assert (again.chat_template, again.image_order) == (own.chat_template, "text_first")


@pytest.mark.parametrize("source", ["no", "no/such/folder", "/no/such", "tests/no_such", "gone.pt", "a/b.safetensors"])
def test_source_that_does_not_exist(tmp_path, source, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    monkeypatch.setattr("model.published.hub.cached_file", lambda *args, **kwargs: pytest.fail("the Hub was asked"))
    for to in ("ours", "published"):
        with pytest.raises(ValueError, match="does not exist; expected"):
            convert(source, tmp_path / "out", to=to)
    with pytest.raises(ValueError, match="does not exist; expected a folder of ours"):
        convert("owner/name", tmp_path / "out", to="published")
    monkeypatch.setattr("model.published.hub.cached_file", lambda *args, **kwargs: None)
    with pytest.raises(ValueError, match="owner/name is neither a folder here nor a checkpoint the Hub answers with"):
        convert("owner/name", tmp_path / "out")


def test_what_cannot_be_converted_is_said(ours, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "old.pt").write_text("abc")
    with pytest.raises(ValueError, match="is a file; name a new folder"):
        convert(SOURCE, tmp_path / "file")
    with pytest.raises(ValueError, match="is a file; name the folder that holds"):
        convert(SOURCE / "model.safetensors", tmp_path / "out")
    with pytest.raises(ValueError, match="no zip archive"):
        convert(tmp_path / "old.pt", tmp_path / "out")
    with pytest.raises(ValueError, match="in the published form already"):
        convert(SOURCE, tmp_path / "out", to="published")
    cut = Path(shutil.copytree(ours, tmp_path / "cut"))
    tensors = load_file(cut / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, cut / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"cut .* 1 missing: lm_head.weight"):
        convert(cut, tmp_path / "out", to="published")


@pytest.mark.parametrize("content", ["{", "{}", '{"weight_map": 3}', "[]"])
def test_damaged_index_is_named(published, content):
    (published / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ValueError, match=r"model.safetensors.index.json is damaged"):
        AkiForConditionalGeneration.from_pretrained(published)


@pytest.mark.parametrize("harm", [{"lang": 3}, {"pad_token_id": None}, {"resampler": 7}, {"num_vision_tokens": "x"}])
def test_damaged_published_configuration_is_named(published, harm):
    raw = json.loads((published / "config.json").read_text()) | harm
    (published / "config.json").write_text(json.dumps({key: value for key, value in raw.items() if value is not None}))
    with pytest.raises(ValueError, match=r"config.json"):
        AkiForConditionalGeneration.from_pretrained(published)


def test_converted_folder_is_complete(ours):
    assert AkiConfig.from_pretrained(ours).num_latents == MANIFEST["models"][NAME]["config"]["num_vision_tokens"]
    assert GenerationConfig.from_pretrained(ours).do_sample is False
    assert (ours / "README.md").read_text().startswith("---\n")


def test_command(tmp_path):
    import typer

    from benchmarks.errors import UserError
    from train.commands.convert import convert as command

    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [str(SOURCE), str(tmp_path / "ours")])
    assert done.exit_code == 0, done.output
    assert "M parameters" in done.output
    done = CliRunner().invoke(app, [str(tmp_path / "ours"), str(tmp_path / "back"), "--to", "reference"])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, [str(SOURCE), str(tmp_path / "ours")])
    assert isinstance(done.exception, UserError)
