"""Held-out samples: never trained on, measured without a trace; and how a step is computed, without another result."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from train_helpers import assert_same, losses, machine, parts, pretrain, sft, weights, write_root

from benchmarks.errors import UserError
from train.checkpoint import write_specification
from train.data.captions import CaptionStream, read_shard
from train.data.held_out import Split, picture_key
from train.data.instructions import SETS, InstructionData
from train.data.mixture import Mixture
from train.data.pictures import PixelReader
from train.data.shards import find_shards
from train.machine import Machine
from train.recipe import ModelChoice, Recipe, Stage, Validation
from train.run_recipe import check_specification, specification
from train.run_stage import compile_layers, prepare_model, run_stage, training_arguments

VALIDATION = Validation(every=2, samples=3, share=0.2, answers=1, answer_tokens=2)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("coco/train2014/COCO_train2014_000000000123.jpg", "coco/train2017/000000000123.jpg"),
        ("gqa/images/2370799.jpg", "vg/VG_100K_2/2370799.jpg"),
    ],
)
def test_a_picture_of_two_names_is_held_out_in_both(first: str, second: str) -> None:
    assert picture_key(first) == picture_key(second)


def test_pictures_of_one_file_name_are_not_one_picture() -> None:
    assert picture_key("scienceqa/images/train/1/image.png") != picture_key("scienceqa/images/train/2/image.png")


def test_smaller_shares_hold_out_a_part_of_larger_ones() -> None:
    keys = [str(number) for number in range(20_000)]
    held = [{key for key in keys if Split(share).holds_out(key)} for share in (0.01, 0.05)]
    assert held[0] < held[1]
    assert [len(one) / len(keys) for one in held] == pytest.approx([0.01, 0.05], abs=0.004)


def mixture(root: Path, *names: str, share: float = 0.2) -> Mixture:
    return Mixture(
        {name: InstructionData(SETS[name], root, root / ".aki") for name in names},
        dict.fromkeys(names, 1.0),
        pictures=PixelReader(root, parts()[1].image_processor),
        num_samples=400,
        seed=3,
        split=Split(share),
    )


def test_no_question_about_a_held_out_picture_is_trained_on(root: Path) -> None:
    made = mixture(root, "vqav2", "llava", "scienceqa")
    drawn = {made.data[name].key(index) for name, index, _ in map(made.draw, range(400))}
    held = {made.data[one.name].key(number) for one in made.held_out(5) for number in one.item.args[1]}
    assert len(held) >= 5
    assert not drawn & held
    assert [one.num for one in made.held_out(5)] == [5, 5, 2]
    assert made.held_out(5)[0].item(0).answer == mixture(root, "vqav2").held_out(5)[0].item(0).answer


def stream(root: Path, share: float = 0.2) -> CaptionStream:
    processor = parts()[1].image_processor
    return CaptionStream(
        find_shards(root / "captions"), "kale", image_processor=processor, num_streams=1, seed=0, split=Split(share)
    )


def test_no_held_out_caption_is_trained_on(root: Path) -> None:
    made = stream(root)
    records = [record for shard in made.shards for record in read_shard(shard)]
    split = Split(0.2)
    wanted = {record.files["txt"].decode().strip() for record in records if not split.holds_out(record.files["jpg"])}
    items, read = iter(made), []
    while not read or read[-1].position is None or read[-1].position[1].epoch == 0:
        read.append(next(items))
    assert {item.answer for item in read} == wanted
    assert len(read) - 1 == len(wanted) < len(records)
    (one,) = made.held_out(100)
    assert one.num == len(records) - len(wanted)
    assert not {one.item(number).answer for number in range(one.num)} & wanted


def test_nothing_to_measure_on_is_said(root: Path) -> None:
    with pytest.raises(UserError, match=r"no sample of kale is held out by share = 1e-12"):
        stream(root, 1e-12).held_out(3)
    with pytest.raises(UserError, match=r"no sample of vqav2 is held out by share = 1e-12"):
        mixture(root, "vqav2", share=1e-12).held_out(3)


def train(stage: Stage, root: Path, out: Path, **settings: Any) -> tuple[Any, list[dict[str, Any]]]:
    model, processor = parts()
    return model, run_stage(stage, model, processor, data_root=root, out=out, machine=machine(2, **settings))


@pytest.mark.parametrize("kind", [sft, pretrain], ids=["sft", "pretrain"])
def test_measuring_leaves_no_trace(kind: Any, root: Path, tmp_path: Path) -> None:
    often, log = train(kind(steps=3, validation=VALIDATION), root, tmp_path / "often")
    seldom, other = train(
        kind(steps=3, validation=VALIDATION.model_copy(update={"every": 99, "answers": 0})), root, tmp_path / "seldom"
    )
    assert_same(weights(often), weights(seldom))
    assert losses(log) == losses(other)
    measured = [entry for entry in log if "validation_loss" in entry]
    assert [entry["step"] for entry in measured] == [0, 2, 3]
    assert measured[-1]["validation_loss"] < measured[0]["validation_loss"]
    name = "vqav2" if kind is sft else "kale"
    assert "(expected: " in measured[0][f"answer/{name}/0"]
    written = [json.loads(line) for line in (tmp_path / "often" / "log.jsonl").read_text().splitlines()]
    assert written == log[: len(written)]


def test_a_held_out_picture_that_cannot_be_read_is_counted(root: Path, tmp_path: Path) -> None:
    world = tmp_path / "world"
    shutil.copytree(root, world)
    made = mixture(world, "vqav2")
    gone = made.data["vqav2"][made.held_out(3)[0].item.args[1][0]]["image"]
    (world / gone).write_bytes(b"no picture")
    _, log = train(sft(steps=1, data={"vqav2": 1.0}, validation=VALIDATION), world, tmp_path / "out")
    assert {entry["validation_unreadable"] for entry in log if "validation_loss" in entry} >= {1.0}


def test_the_mean_is_over_tokens_and_sets(root: Path, tmp_path: Path) -> None:
    """By hand, sample by sample."""
    stage = sft(steps=1, data={"vqav2": 3.0, "llava": 1.0}, validation=VALIDATION)
    model, processor = parts()
    prepare_model(model, stage)
    from train.run_stage import collator, instruction_mixture

    made = instruction_mixture(stage, root, PixelReader(root, processor.image_processor), root / ".aki")
    collate, by_set = collator(stage, processor), {}
    for one in made.held_out(3):
        sums = [0.0, 0]
        for number in range(one.num):
            batch = collate([one.item(number)])
            batch.pop("notes")
            tokens = int((batch["labels"] != -100).sum())
            sums = [sums[0] + model(**batch).loss.item() * tokens, sums[1] + tokens]
        by_set[one.name] = sums[0] / sums[1]
    _, log = train(stage, root, tmp_path)
    expected = {f"validation_loss/{name}": value for name, value in by_set.items()}
    expected["validation_loss"] = (3 * by_set["vqav2"] + by_set["llava"]) / 4
    found = next(entry for entry in log if "validation_loss" in entry)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)


# How a step is computed


@pytest.mark.parametrize(
    "changes",
    [{"logits": "all"}, {"attention_backend": "eager"}, {"gradient_checkpointing": True}],
    ids=lambda changes: next(iter(changes)),
)
def test_how_it_is_computed_changes_no_result(changes: dict[str, Any], root: Path, tmp_path: Path) -> None:
    usual, log = train(sft(steps=1), root, tmp_path)
    other, again = train(sft(steps=1, **changes), root, tmp_path)
    assert losses(again) == pytest.approx(losses(log), rel=1e-6)
    norms = [[entry["grad_norm"] for entry in one if "grad_norm" in entry] for one in (log, again)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    assert next(iter(other.parameters())).shape == next(iter(usual.parameters())).shape


def test_logits_of_learned_positions_alone() -> None:
    model, _ = parts()
    ids = torch.randint(20, 60, (3, 9), generator=torch.Generator().manual_seed(0))
    labels = ids.masked_fill(torch.arange(9) < torch.tensor([[7], [2], [9]]), -100)
    whole, part = model(input_ids=ids, labels=labels), model(input_ids=ids, labels=labels, loss_only=True)
    assert part.logits is None
    gradients = []
    for loss in (whole.loss, part.loss):
        model.zero_grad()
        loss.backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert whole.loss.item() == pytest.approx(part.loss.item(), rel=1e-6)
    assert_same(*gradients, tolerance=1e-6)
    with pytest.raises(ValueError, match="loss_only needs labels"):
        model(input_ids=ids, loss_only=True)


def test_the_command_line_overrules_the_recipe_on_gradient_checkpointing() -> None:
    said = sft(gradient_checkpointing=True)
    assert Machine(micro_batch=1, cpu=True).checkpoints_gradients(said)
    assert not Machine(micro_batch=1, gradient_checkpointing=False).checkpoints_gradients(said)
    assert Machine(micro_batch=1).checkpoints_gradients(sft())
    assert not Machine(micro_batch=1, cpu=True).checkpoints_gradients(sft())
    model, _ = parts()
    arguments = training_arguments(said, Path("x"), machine(1), model)
    assert arguments.activation_checkpointing is True


def test_compiled_layers_keep_names_and_results(uncompiled: None) -> None:
    """Carried out eagerly: what a compiler makes of it is the compiler's."""
    model, _ = parts()
    names = list(model.state_dict())
    ids = torch.arange(20, 29)[None]
    before = model(input_ids=ids).logits
    compile_layers(model)
    assert list(model.state_dict()) == names
    assert model.model.language_model.layers[0]._compiled_call_impl is not None
    assert torch.equal(model(input_ids=ids).logits, before)


def test_what_is_held_out_must_not_change_on_the_way(tmp_path: Path) -> None:
    def recipe(**changes: Any) -> Recipe:
        stage = sft(validation=VALIDATION.model_copy(update=changes))
        return Recipe(name="test", title="test", model=ModelChoice(), stages=(stage,))

    write_specification(tmp_path, specification(recipe(), recipe().stages[0]))
    check_specification(tmp_path, recipe(every=7), recipe(every=7, samples=3).stages[0])
    other = recipe(share=0.3)
    with pytest.raises(UserError, match=r"stage.validation = \{'share': 0.2\}, the recipe says \{'share': 0.3\}"):
        check_specification(tmp_path, other, other.stages[0])
    free = Recipe(
        name="test",
        title="test",
        model=ModelChoice(),
        stages=(sft(validation=VALIDATION, compile=True, logits="all", attention_backend="eager"),),
    )
    check_specification(tmp_path, free, free.stages[0])
