"""The toy, end to end in seconds: that it runs, learns something and leaves a model; not how good it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from train_helpers import assert_same, machine, parts, weights, write_root
from typer.testing import CliRunner

from benchmarks import toy_world
from model import AkiForConditionalGeneration, AkiProcessor
from train import cli
from train.errors import UserError
from train.recipe import Recipe, load_recipe, recipe_names
from train.run_recipe import Parts, run_recipe
from train.toy import build as toy

SMOKE = toy.ToyPlan(num_images=60, num_captions=64, vision_steps=60, caption_steps=30, sft_steps=30)
ROWS = [name for name in recipe_names() if load_recipe(name).row]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("world"))


@pytest.fixture
def small(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "QUICK", SMOKE)
    monkeypatch.setattr(toy, "ensure_training_data", lambda plan: root)


def test_the_command_leaves_a_model_and_its_curves(small: None, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["toy", "--out", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0
    record = json.loads((tmp_path / "training" / "loss.json").read_text())
    for log in record["stages"].values():
        losses = [entry["loss"] for entry in log if "loss" in entry]
        assert losses[-1] < losses[0]
    assert (tmp_path / "training" / "loss.png").stat().st_size > 1000
    processor = AkiProcessor.from_pretrained(tmp_path)
    model = AkiForConditionalGeneration.from_pretrained(tmp_path).eval()
    scene = next(toy_world.scenes(0, split="eval"))
    content = [{"type": "image"}, {"type": "text", "text": "what color is the circle?"}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    inputs = processor(text=prompt, images=toy_world.image(scene), return_tensors="pt")
    assert processor.tokenizer.unk_token_id not in inputs["input_ids"]
    assert model.generate(**inputs, max_new_tokens=3).shape[1] > inputs["input_ids"].shape[1]


def test_the_same_seed_gives_the_same_model(small: None, tmp_path: Path) -> None:
    plan = replace(SMOKE, vision_steps=4, caption_steps=3, sft_steps=3)
    states = []
    for name in ("a", "b"):
        toy.train_toy(tmp_path / name, plan, seed=5)
        states.append(weights(AkiForConditionalGeneration.from_pretrained(tmp_path / name, dtype=torch.float32)))
    assert_same(states[0], states[1])


def miniature(recipe: Recipe) -> Recipe:
    """The recipe's stages, orders and attentions with a step or two each."""
    small_ = {"steps": 2, "batch_size": 4, "precision": "fp32", "streams": 4, "warmup_steps": 1}
    return replace(recipe, stages=tuple(replace(stage, **small_) for stage in recipe.stages))


@pytest.mark.parametrize("name", ROWS)
def test_every_row_of_table_1_runs(name: str, root: Path, tmp_path: Path) -> None:
    recipe = miniature(load_recipe(name))
    last = run_recipe(recipe, lambda: Parts(*parts()), data_root=root, out=tmp_path, machine=machine(2))
    model = AkiForConditionalGeneration.from_pretrained(last)
    assert model.config.attention == recipe.stages[-1].attention
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    assert {path.name for path in tmp_path.iterdir()} >= {stage.name for stage in recipe.stages}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy", "--out", "/proc/nowhere"], "--out /proc/nowhere: cannot be written"),
        (["toy", "--out", "{tmp}", "--attention", "all"], "--attention all: expected mma, causal or cca"),
        (["plan", "table_1"], "recipe 'table_1': neither a file nor one of"),
        (["run", "mma", "--data", "{tmp}", "--out", "{tmp}/out"], "neither a folder nor in the Hub's cache"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    filled: Any = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    with pytest.raises(UserError) as caught:
        CliRunner().invoke(cli.app, filled, catch_exceptions=False)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_shows_the_paper_s_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = CliRunner().invoke(cli.app, ["plan", "aki_4b"], catch_exceptions=False)
    assert shown.exit_code == 1  # the model's parts are not on this machine
    assert "3.90 B trained, 0.41 B frozen" in shown.output
    assert "48.00M" in shown.output
    assert "hf download google/siglip-so400m-patch14-384" in shown.output
