"""Adapters and averages: what is trained, saved and resumed, and what is exported."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from train_helpers import assert_same, machine, parts, sft, weights, write_root

from benchmarks.errors import UserError
from model import AkiForConditionalGeneration
from train import plan
from train.recipe import Ema, Lora, ModelChoice, Recipe, Validation
from train.run_recipe import load_parts
from train.run_stage import prepare_model, run_stage

NEEDS_PEFT = pytest.mark.skipif(
    importlib.util.find_spec("peft") is None, reason="peft is not installed: pip install '.[lora]'"
)
LORA = Lora(rank=4, alpha=8.0)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("world"))


def train(stage: Any, root: Path, out: Path, resume: Path | None = None, seed: int = 0) -> Any:
    model, processor = parts(seed)
    run_stage(
        stage,
        model,
        processor,
        data_root=root,
        out=out,
        machine=machine(2, save_steps=2),
        resume=resume,
        save_to=out / "model",
    )
    return model


# Averages


def test_averages_are_saved_resumed_and_exported(root: Path, tmp_path: Path) -> None:
    stage = sft(steps=4, ema=Ema(decay=0.6, export=True))
    last = train(stage, root, tmp_path / "whole")
    exported = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    train(stage, root, tmp_path / "again", resume=tmp_path / "whole" / "checkpoint-2", seed=9)
    assert_same(exported, load_file(tmp_path / "again" / "model" / "model.safetensors"))
    expected = weights(parts()[0])  # by hand, from the weights of a run that saves all of them
    plain = sft(steps=4)
    model, processor = parts()
    run_stage(plain, model, processor, data_root=root, out=tmp_path / "p", machine=machine(2, save_steps=1))
    for step in range(1, 5):
        now = load_file(tmp_path / "p" / f"checkpoint-{step}" / "model.safetensors")
        expected = {name: 0.6 * expected[name] + 0.4 * now[name] for name in now}
    assert_same(exported, expected, tolerance=1e-6)
    assert_same(weights(last), weights(model))  # training itself goes on from the last weights


def test_averages_are_measured_and_are_not_the_model_unless_asked(root: Path, tmp_path: Path) -> None:
    stage = sft(steps=2, ema=Ema(decay=0.5), validation=Validation(every=2, samples=2, share=0.2, answers=0))
    last = train(stage, root, tmp_path)
    assert_same(load_file(tmp_path / "model" / "model.safetensors"), weights(last))
    log = (tmp_path / "log.jsonl").read_text()
    assert log.count('"ema_validation_loss":') == 2


def test_a_checkpoint_without_averages_is_refused(root: Path, tmp_path: Path) -> None:
    train(sft(steps=2), root, tmp_path)
    with pytest.raises(UserError, match="no averages/ in it"):
        train(sft(steps=4, ema=Ema()), root, tmp_path / "b", resume=tmp_path / "checkpoint-2")


# Adapters


def test_without_peft_nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "find_spec", lambda name: None)
    recipe = Recipe(name="t", title="t", model=ModelChoice(), stages=(sft(lora=LORA),))
    assert "lora: peft is not installed; pip install peft, or leave the table out" in plan.missing_parts(recipe, None)


@NEEDS_PEFT
def test_adapters_and_resampler_alone_are_trained(root: Path, tmp_path: Path) -> None:
    before = weights(parts()[0])
    train(sft(steps=2, lora=LORA), root, tmp_path)
    after = load_file(tmp_path / "model" / "model.safetensors")
    assert after.keys() == before.keys()  # merged: a model like any other
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    backbone = {name for name in changed if name.startswith("model.language_model.")}
    assert backbone == {
        f"model.language_model.layers.{layer}.{name}.weight"
        for layer in range(3)
        for name in ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
    }
    assert {name.split(".")[1] for name in changed - backbone} == {"resampler"}


@NEEDS_PEFT
def test_a_run_with_adapters_goes_on_exactly(root: Path, tmp_path: Path) -> None:
    stage = sft(steps=4, lora=Lora(rank=4, alpha=8.0, dropout=0.1), ema=Ema(decay=0.5))
    whole = train(stage, root, tmp_path / "whole")
    checkpoint = tmp_path / "whole" / "checkpoint-2"
    resumed = train(stage, root, tmp_path / "again", resume=checkpoint)
    assert_same(weights(whole), weights(resumed))
    load_parts(checkpoint)  # a model that can be loaded
    with pytest.raises(UserError, match="its adapters belong to another model"):
        train(stage, root, tmp_path / "other", resume=checkpoint, seed=9)
    (checkpoint / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no adapter/adapter_model\.safetensors in it"):
        train(stage, root, tmp_path / "gone", resume=checkpoint)


@NEEDS_PEFT
def test_peft_reads_the_adapter_and_merges_to_the_same_model(root: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    train(sft(steps=2, lora=LORA), root, tmp_path)
    base, _ = parts()
    prepare_model(base, sft())
    ids = torch.arange(20, 29)[None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft still asks for `is_gradient_checkpointing`
        with_adapter = PeftModel.from_pretrained(base, tmp_path / "model" / "adapter")
    ours = AkiForConditionalGeneration.from_pretrained(tmp_path / "model", dtype=torch.float32)
    assert torch.allclose(with_adapter(input_ids=ids).logits, ours(input_ids=ids).logits, atol=1e-5)
    assert_same(weights(with_adapter.merge_and_unload()), weights(ours), tolerance=1e-6)


@NEEDS_PEFT
def test_layers_that_are_not_there(root: Path) -> None:
    with pytest.raises(UserError, match=r"lora.layers names 'q_proj'; the text backbone has down_proj, gate_up_proj"):
        prepare_model(parts()[0], sft(lora=Lora(layers=("q_proj",))))
    model, _ = parts()
    prepare_model(model, sft(lora=Lora(layers=("o_proj",))))
    assert len([name for name, _ in model.named_parameters() if "lora_A" in name]) == 3
