"""Weights in a file of each process: how they are dealt, what is stored once, what may lie there before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed.fsdp import fully_shard
from train_helpers import assert_same, parts, weights

from benchmarks.errors import UserError
from model import AkiConfig, AkiForConditionalGeneration
from train.state import load_weights
from train.weights import INDEX, clear_weights, dealt, own_part
from train.writing import Writing


@pytest.fixture
def group() -> Iterator[None]:
    """Of this process alone: shards are whole, but shards."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_each_tensor_has_an_owner_and_nobody_much_more_than_his_share() -> None:
    sizes = {"embedding": 50, **{f"layer.{number}": 10 + number for number in range(20)}, "norm": 1}
    owners = dealt(sizes, 4)
    assert list(owners) == list(sizes)
    loads = [sum(sizes[name] for name in sizes if owners[name] == rank) for rank in range(4)]
    assert max(loads) <= 1.05 * sum(sizes.values()) / 4
    assert dealt(dict(reversed(sizes.items())), 4) == owners  # whatever the order
    assert dealt({"a": 1, "b": 1}, 4) == {"a": 0, "b": 1}  # the last two have none


@pytest.mark.parametrize("tied", [False, True])
def test_names_are_those_of_save_pretrained(tied: bool, group: None, tmp_path: Path) -> None:
    config = parts()[0].config.to_dict() | {"tie_word_embeddings": tied}
    model = AkiForConditionalGeneration(AkiConfig(**config))
    model.save_pretrained(tmp_path / "plain")
    before = weights(model)
    for layer in model.model.language_model.layers:
        fully_shard(layer)
    fully_shard(model)
    own_part(model).write(tmp_path)
    written = load_file(tmp_path / "model-00001-of-00001.safetensors")
    assert ("lm_head.weight" in written) != tied
    assert_same(written, load_file(tmp_path / "plain" / "model.safetensors"))
    for parameter in model.parameters():
        parameter.detach().to_local().zero_()  # type: ignore[attr-defined]  # a shard
    load_weights(model, tmp_path, sharded=True)
    own_part(model).write(tmp_path / "plain")
    assert_same(load_file(tmp_path / "plain" / "model-00001-of-00001.safetensors"), written)
    (tmp_path / "plain" / "model.safetensors").unlink()
    save_file({"more": torch.zeros(1)}, tmp_path / "plain" / "more.safetensors")
    with pytest.raises(UserError, match=r"plain: weights of another model \(more is unknown\)"):
        load_weights(model, tmp_path / "plain", sharded=True)
    model.config.save_pretrained(tmp_path)
    assert_same(weights(AkiForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32)), before)


def test_weights_of_an_earlier_start_go(tmp_path: Path) -> None:
    for name in ("model.safetensors", "model-00003-of-00004.safetensors", INDEX, "config.json"):
        (tmp_path / name).touch()
    clear_weights(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    clear_weights(tmp_path / "not there yet")


def test_a_part_that_is_waited_for_is_lost_in_one_line(group: None, tmp_path: Path) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"model could not be written: process 0: OSError: .*No space.*; the check"):
        Writing().together(tmp_path / "model", full)
