"""The trainer: the original's losses and gradients, averages, guards, and resuming exactly."""

from __future__ import annotations

import json
import random
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_helpers import TOLERANCES, assert_close, labels_of, load_case, load_model, models
from safetensors.torch import save_file
from train_helpers import Gradients, assert_same, losses, machine, parts, pretrain, sft, weights, write_root
from transformers import TrainerCallback

from benchmarks.errors import UserError
from model.published.names import published_name
from train.data.instructions import SETS, Example, InstructionData
from train.data.mixture import Mixture
from train.data.pictures import FeatureTable, PixelReader, compute_features
from train.data.samples import Notes
from train.recipe import ModelChoice, Recipe, Stage
from train.run_recipe import Parts, last_checkpoint, load_parts, run_recipe
from train.run_stage import collator, prepare_model, run_stage, training_arguments
from train.state import load_weights
from train.stopping import Stopped
from train.trainer import AkiTrainer, parameter_groups

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("world"))


def train(stage: Stage, root: Path, out: Path, micro_batch: int = 2, **settings: Any) -> tuple[Any, list[float]]:
    model, processor = parts()
    log = run_stage(stage, model, processor, data_root=root, out=out, machine=machine(micro_batch), **settings)
    return model, losses(log)


# Equal to the original


class Rows(torch.utils.data.Dataset):  # type: ignore[misc]
    """The rows of a golden case, one by one."""

    def __init__(self, name: str, case: str) -> None:
        forward = load_case(name, case)
        inputs, pixels = forward.model_inputs(), iter(forward.model_inputs().get("pixel_values", ()))
        labels = labels_of(forward)
        has_image = (inputs["input_ids"] == 32012).any(-1)
        self.rows = [
            {
                "input_ids": inputs["input_ids"][row : row + 1],
                "attention_mask": inputs["attention_mask"][row : row + 1],
                "labels": labels[row : row + 1],
                **({"pixel_values": next(pixels)[None]} if has_image[row] else {}),
            }
            for row in range(len(labels))
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.rows[index]


def one_row(items: list[dict[str, Any]]) -> dict[str, Any]:
    tokens = int(items[0]["attention_mask"].sum())
    notes = Notes(skipped=(), positions={}, num_samples=1, num_images=1, num_tokens=tokens, num_positions=tokens)
    return {**items[0], "notes": notes}


@pytest.mark.parametrize("name", models())
@pytest.mark.parametrize(("case", "forward"), [("b_gradients", "b_sft_batch3"), ("c_gradients", "c_caption_batch2")])
def test_losses_and_gradients_of_the_original(name: str, case: str, forward: str, tmp_path: Path) -> None:
    """The original took the rows as one padded batch; here each is a micro-batch of one optimizer step."""
    rows, gradients, model = Rows(name, forward), Gradients(), load_model(name)
    stage = sft(steps=1, batch_size=len(rows), max_grad_norm=0.0)
    arguments = training_arguments(stage, tmp_path, machine(1), model)
    before = weights(model)
    trainer = AkiTrainer(
        stage=stage, model=model, args=arguments, train_dataset=rows, data_collator=one_row, callbacks=[gradients]
    )
    trainer.train()
    model.load_state_dict(before)  # the golden model is shared
    model.zero_grad(set_to_none=True)
    model.eval()
    loss = losses(trainer.state.log_history)[0]
    assert loss == pytest.approx(float(load_case(name, forward).expected["loss"][0]), rel=TOLERANCES["loss"])
    found = {published_name(key): value for key, value in gradients.steps[0].items()}
    arrays = {key.removeprefix("grad."): array for key, array in load_case(name, case).expected.items()}
    compared = found.keys() & arrays.keys()
    assert len(compared) >= 10
    for key in compared:
        words = 32012 if key.startswith("lang_model.lm_head") else None  # the original keeps the added rows elsewhere
        assert_close(found[key][:words], arrays[key][:words], "gradient")


# Averages


def gradients_of(root: Path, out: Path, micro_batch: int, **changes: Any) -> tuple[dict[str, torch.Tensor], float]:
    stage = sft(steps=1, batch_size=8, **changes)
    model, processor = parts()
    prepare_model(model, stage)
    kept = Gradients()
    data = {name: InstructionData(SETS[name], root, root / ".aki") for name in stage.data}
    pictures = PixelReader(root, processor.image_processor)
    trainer = AkiTrainer(
        stage=stage,
        model=model,
        args=training_arguments(stage, out, machine(micro_batch), model),
        train_dataset=Mixture(data, stage.data, pictures=pictures, num_samples=8, seed=stage.seed),
        data_collator=collator(stage, processor),
        callbacks=[kept],
    )
    trainer.train()
    return kept.steps[0], losses(trainer.state.log_history)[0]


def test_accumulation_changes_nothing(root: Path, tmp_path: Path) -> None:
    whole, loss = gradients_of(root, tmp_path, 8)
    for micro_batch in (4, 1):
        pieces, same_loss = gradients_of(root, tmp_path, micro_batch)
        assert same_loss == pytest.approx(loss, abs=1e-5)
        assert_same(whole, pieces, tolerance=2e-6)


def test_sorting_and_padding_change_nothing(root: Path, tmp_path: Path) -> None:
    sorted_by_length, loss = gradients_of(root, tmp_path, 2)
    for changes in ({"group_steps": 0}, {"pad_to_max_length": True, "max_length": 200}):
        other, same_loss = gradients_of(root, tmp_path, 2, **changes)
        assert same_loss == pytest.approx(loss, abs=1e-5)
        assert_same(sorted_by_length, other, tolerance=2e-6)


def test_the_original_average_weighs_short_answers_more(root: Path, tmp_path: Path) -> None:
    token, loss = gradients_of(root, tmp_path, 1)
    original, other_loss = gradients_of(root, tmp_path, 1, averaging="micro_batch")
    assert abs(other_loss - loss) > 1e-3
    assert max(float((token[name] - original[name]).abs().max()) for name in token) > 1e-3


def test_frozen_and_trained(root: Path, tmp_path: Path) -> None:
    model, _ = parts()
    before = weights(model)
    after, _ = train(sft(steps=2), root, tmp_path)
    changed = {name for name, tensor in after.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if "vision_tower" not in name}


@pytest.mark.parametrize("decay", ["standard", "original"])
def test_parameter_groups(decay: str) -> None:
    model, _ = parts()
    prepare_model(model, sft())
    groups = parameter_groups(model, sft(decay=decay))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    by_decay = {group["weight_decay"]: {names[id(one)] for one in group["params"]} for group in groups}
    assert not any("vision_tower" in name for name in by_decay[0.01] | by_decay[0.0])
    embedding = "model.language_model.embed_tokens.weight"
    if decay == "original":
        assert by_decay[0.0] == {embedding}
    else:
        assert embedding in by_decay[0.0]
        assert "model.resampler.latents" in by_decay[0.0]
        assert {"lm_head.weight", "model.resampler.projection.weight"} < by_decay[0.01]
        assert not any("norm" in name or name.endswith("bias") for name in by_decay[0.01])


class Break(TrainerCallback):  # type: ignore[misc]
    """Puts a NaN into the weights before step `at`."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == self.at:
            with torch.no_grad():
                model.lm_head.weight[0, 0] = float("nan")


def test_nan_ends_the_run_before_it_gets_into_the_weights(root: Path, tmp_path: Path) -> None:
    stage = sft()
    model, processor = parts()
    prepare_model(model, stage)
    data = {name: InstructionData(SETS[name], root, root / ".aki") for name in stage.data}
    trainer = AkiTrainer(
        stage=stage,
        model=model,
        args=training_arguments(stage, tmp_path, machine(4), model),
        train_dataset=Mixture(
            data, stage.data, pictures=PixelReader(root, processor.image_processor), num_samples=24, seed=0
        ),
        data_collator=collator(stage, processor),
        callbacks=[Break(at=2)],
    )
    with pytest.raises(FloatingPointError, match=r"step 3: the gradient's norm is nan; no weight was changed"):
        trainer.train()
    assert torch.isfinite(model.model.resampler.latents).all()


def test_too_many_unreadable_pictures_end_the_run(root: Path, tmp_path: Path) -> None:
    half_broken = tmp_path / "root"
    shutil.copytree(root, half_broken, ignore=shutil.ignore_patterns(".aki"))
    for number, path in enumerate(sorted((half_broken / "coco" / "train2014").iterdir())):
        if number % 2:
            path.write_bytes(b"no picture")
    with pytest.raises(UserError, match="more than max_skipped = 3"):
        train(sft(data={"vqav2": 1.0}, steps=40, max_skipped=3), half_broken, tmp_path / "out")
    lines = (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()
    assert len(lines) > 3
    assert json.loads(lines[0])["source"] == "vqav2"


# Resuming


@pytest.mark.parametrize("kind", [sft, pretrain], ids=["sft", "pretrain"])
def test_resumed_equals_uninterrupted(kind: Any, root: Path, tmp_path: Path) -> None:
    stage, settings = kind(steps=6), {"machine": machine(2, save_steps=2)}
    whole, processor = parts()
    log = run_stage(stage, whole, processor, data_root=root, out=tmp_path, **settings)
    resumed, processor = parts(seed=9)  # whatever it starts from, the checkpoint counts
    checkpoint = tmp_path / "checkpoint-2"
    again = run_stage(stage, resumed, processor, data_root=root, out=tmp_path / "b", resume=checkpoint, **settings)
    assert losses(again) == losses(log)
    assert_same(weights(whole), weights(resumed))


def recipe(*stages: Stage) -> Recipe:
    return Recipe(name="test", title="test", model=ModelChoice(), stages=stages)


def test_recipes_run_stage_after_stage_and_only_once(root: Path, tmp_path: Path) -> None:
    built = []

    def start() -> Parts:
        built.append(True)
        return Parts(*parts())

    chosen = recipe(pretrain(steps=2), sft(steps=2))
    settings = {"data_root": root, "out": tmp_path, "machine": machine(2, save_steps=1)}
    with pytest.raises(UserError, match="'pretrain' is not done"):
        run_recipe(chosen, start, only="sft", **settings)
    run_recipe(chosen, start, only="pretrain", **settings)
    model = run_recipe(chosen, start, **settings)
    assert run_recipe(chosen, start, **settings) == model == tmp_path / "sft" / "model"
    assert len(built) == 1
    assert (model / "model.safetensors").exists()
    with pytest.raises(UserError, match=r"stage.learning_rate = 0.003, the recipe says 0.004"):
        run_recipe(recipe(pretrain(steps=2, learning_rate=4e-3), sft(steps=2)), start, **settings)


def test_a_stage_s_model_is_gone_before_the_next_is_loaded(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: list[Any] = []

    def start() -> Parts:
        made = Parts(*parts())
        first.append(weakref.ref(made.model))
        return made

    def load(folder: Path) -> Parts:
        assert first[0]() is None
        return load_parts(folder)

    monkeypatch.setattr("train.run_recipe.load_parts", load)
    settings = {"data_root": root, "out": tmp_path, "machine": machine(2, save_steps=1)}
    run_recipe(recipe(pretrain(steps=1), sft(steps=1)), start, **settings)
    assert len(first) == 1


def grow(root: Path, kind: str) -> None:
    """One more shard; an annotation file of as many bytes with other words in it."""
    if kind == "pretrain":
        shutil.copy(root / "captions" / "00000.tar", root / "captions" / "00099.tar")
        return
    path = root / "vqav2" / "v2_mscoco_train2014_annotations.json"
    content = path.read_bytes()
    assert b'"yes"' in content
    path.write_bytes(content.replace(b'"yes"', b'"no" ', 1))


@pytest.mark.parametrize("stage", [pretrain(steps=3, streams=2), sft(steps=3)], ids=["pretrain", "sft"])
def test_data_that_changed_on_the_way_are_noticed(stage: Stage, root: Path, tmp_path: Path) -> None:
    world = tmp_path / "world"
    shutil.copytree(root, world, ignore=shutil.ignore_patterns(".aki"))
    settings: dict[str, Any] = {"data_root": world, "out": tmp_path / "out"}
    with pytest.raises(Stopped, match=r"stopped after step 1 \(--max-hours\) with a checkpoint"):
        run_recipe(recipe(stage), lambda: Parts(*parts()), machine=machine(2, until=0.0), **settings)
    with pytest.raises(Stopped, match="step 2"):
        run_recipe(recipe(stage), lambda: Parts(*parts()), machine=machine(2, until=0.0), **settings)
    grow(world, stage.kind)
    name = "kale was 8 files" if stage.kind == "pretrain" else "vqav2 was 2 files"
    with pytest.raises(UserError, match=f"{name} .*--changed-data"):
        run_recipe(recipe(stage), lambda: Parts(*parts()), machine=machine(2), **settings)
    done = run_recipe(recipe(stage), lambda: Parts(*parts()), machine=machine(2, changed_data=True), **settings)
    assert (done / "model.safetensors").exists()


def test_what_nobody_reads_may_change_on_the_way(root: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"data_root": root, "out": tmp_path}
    with pytest.raises(Stopped):
        run_recipe(recipe(sft(steps=2)), lambda: Parts(*parts()), machine=machine(2, until=0.0), **settings)
    folder = tmp_path / "sft" / "checkpoint-1"
    loaded, processor = load_parts(folder)  # a checkpoint is a model that can be loaded
    assert loaded.config.attention == "mma"
    assert processor.num_latents == loaded.config.num_latents
    assert not (folder / "optimizer.pt").exists()
    other = sft(steps=2, max_skipped=5000, streams=77, shuffle_block=3)
    run_recipe(recipe(other), lambda: Parts(*parts()), machine=machine(2), **settings)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    model, _ = parts()
    save_file({"lm_head.weight": model.lm_head.weight.detach()}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"weights of another model \(model\..* is missing\)"):
        load_weights(model, tmp_path, sharded=False)


def test_a_half_written_checkpoint_does_not_count(root: Path, tmp_path: Path) -> None:
    model, processor = parts()
    run_stage(sft(steps=4), model, processor, data_root=root, out=tmp_path, machine=machine(2, save_steps=2))
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-4"
    (tmp_path / "checkpoint-4" / "stage.json").unlink()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-2"


def test_mutual_pretraining_leaks(root: Path, tmp_path: Path) -> None:
    """The same samples and weights: the loss of the first step changes only where image tokens may read the caption."""
    _, causal = train(pretrain(steps=1), root, tmp_path)
    _, leaking = train(pretrain(steps=1, attention="mma", allow_mutual_pretraining=True), root, tmp_path)
    assert causal[0] != leaking[0]


# It learns


class First(InstructionData):
    """The first questions of a set, with the same order of options every time."""

    def __len__(self) -> int:
        return min(8, super().__len__())

    def example(self, index: int, rng: random.Random) -> Example:
        return super().example(index, random.Random(index))


@pytest.fixture(scope="module")
def pictures(root: Path) -> FeatureTable:
    model, processor = parts()
    names = {row["image"] for one in SETS.values() for row in InstructionData(one, root, root / ".aki") if row["image"]}
    return compute_features(model.model.vision_tower, PixelReader(root, processor.image_processor), names)


class Learned(TrainerCallback):  # type: ignore[misc]
    """Ends a training whose last five losses say that it has nothing more to learn."""

    limit = 0.02

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        log = losses(state.log_history)
        control.should_training_stop |= len(log) >= 5 and bool(np.mean(log[-5:]) < self.limit)


@pytest.mark.parametrize("name", [name for name in SETS if name != "vsr_original"])
def test_eight_samples_are_learned_by_heart(name: str, root: Path, pictures: FeatureTable, tmp_path: Path) -> None:
    stage = sft(steps=110, batch_size=8, data={name: 1.0}, weight_decay=0.0, min_learning_rate=1e-4)
    model, processor = parts()
    prepare_model(model, stage)
    mixture = Mixture(
        {name: First(SETS[name], root, root / ".aki")},
        stage.data,
        pictures=pictures,
        num_samples=stage.steps * stage.batch_size,
        seed=0,
    )
    arguments = training_arguments(stage, tmp_path, machine(8), model)
    trainer = AkiTrainer(
        stage=stage,
        model=model,
        args=arguments,
        train_dataset=mixture,
        data_collator=collator(stage, processor),
        callbacks=[Learned()],
    )
    trainer.train()
    log = losses(trainer.state.log_history)
    assert np.mean(log[-5:]) < Learned.limit < log[0], f"after {len(log)} steps"
