"""The weights of a model that FSDP shards, in a file of each process: together what `from_pretrained` reads.

No process holds more than its own part and one tensor that is being put together; of a model with adapters the first
holds all of these, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from torch.distributed.tensor import DTensor

from benchmarks.files import write_atomically
from model.files import readable_as_umask_says

from .lora import is_adapter, is_trained, stored_name

FILE = "model-{number:05}-of-{total:05}.safetensors"
"""As the library names the files of a model that it splits."""
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one process writes: whole tensors in the CPU's memory, by name; the index, if it is the first.

    In a model with adapters a tensor that they belong to has them beside it, and the first process keeps all that is
    trained in `trained`: both by the names of that model.
    """

    file: str
    tensors: Mapping[str, torch.Tensor]
    index: Mapping[str, Any] | None
    trained: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        if self.tensors:  # more processes than tensors: some have none
            save_file(dict(self.tensors), folder / self.file, metadata={"format": "pt"})
            readable_as_umask_says([folder / self.file])
        if self.index is not None:
            write_atomically(folder / INDEX, json.dumps(self.index, indent=2, sort_keys=True) + "\n")


def own_part(model: Any) -> Part:
    """This process's part of a sharded model's weights, under the names that `save_pretrained` stores.

    All processes must call it together: one after the other the tensors are put together on all, and kept by one.
    """
    rank, processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
    state: dict[str, Any] = get_model_state_dict(model)
    for name in repeated(model):
        del state[name]
    adapters = [name for name in state if is_adapter(name)]
    sizes = {
        stored_name(name): tensor.numel() * tensor.element_size()  # whole, of all shards
        for name, tensor in state.items()
        if not is_adapter(name)
    }
    num_parameters = model.num_parameters() - sum(state[name].numel() for name in adapters)
    owners = dealt(sizes, processes)
    total = len(set(owners.values()))
    kept, trained = {}, {}
    keeps_trained = bool(adapters) and rank == 0
    for name in list(state):
        tensor = state.pop(name)
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.clone()
        of_part, of_adapters = owners[stored_name(name)] == rank, keeps_trained and is_trained(name)
        if of_part or of_adapters:
            whole = whole.cpu().contiguous()
        if of_part:
            kept[name] = whole
        if of_adapters:
            trained[name] = whole
    index = {
        "metadata": {"total_parameters": num_parameters, "total_size": sum(sizes.values())},
        "weight_map": {name: FILE.format(number=owner + 1, total=total) for name, owner in owners.items()},
    }
    file = FILE.format(number=rank + 1, total=total)
    return Part(file=file, tensors=kept, index=index if rank == 0 else None, trained=trained)


def repeated(model: Any) -> set[str]:
    """Names of weights that are another one, as a head that is the embedding: those are stored once."""
    tied = model.all_tied_weights_keys.items()
    return {name for name, source in tied if model.get_parameter(name) is model.get_parameter(source)}


def dealt(sizes: Mapping[str, int], processes: int) -> dict[str, int]:
    """Which process keeps which tensor: the largest first, each to the one that has least. The same on all of them."""
    loads = [0] * processes
    owners = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        owners[name] = loads.index(min(loads))
        loads[owners[name]] += sizes[name]
    return {name: owners[name] for name in sizes}


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All weights in a model's folder, in however many files they lie."""
    weights: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        weights.update(load_file(path))
    return weights


def weight_names(folder: Path) -> set[str]:
    """The names of all weights in a model's folder."""
    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            names.update(file.keys())
    return names


def clear_weights(folder: Path) -> None:
    """Takes away what an earlier start wrote, of whatever number of processes: files of both would be read as one."""
    for path in (*folder.glob("*.safetensors"), folder / INDEX):
        path.unlink(missing_ok=True)
