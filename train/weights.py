"""The weights of a model that FSDP shards, in a file of each process: together what `from_pretrained` reads.

No process holds more than its own part and one tensor that is being put together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from torch.distributed.tensor import DTensor

from benchmarks.files import write_atomically
from model.files import readable_as_umask_says

FILE = "model-{number:05}-of-{total:05}.safetensors"
"""As the library names the files of a model that it splits."""
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one process writes: whole tensors in the CPU's memory, by name; the index, if it is the first."""

    file: str
    tensors: Mapping[str, torch.Tensor]
    index: Mapping[str, Any] | None

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
    sizes = {name: tensor.numel() * tensor.element_size() for name, tensor in state.items()}  # whole, of all shards
    owners = dealt(sizes, processes)
    total = len(set(owners.values()))
    kept = {}
    for name in list(state):
        tensor = state.pop(name)
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.clone()
        if owners[name] == rank:
            kept[name] = whole.cpu().contiguous()
    index = {
        "metadata": {"total_parameters": model.num_parameters(), "total_size": sum(sizes.values())},
        "weight_map": {name: FILE.format(number=owner + 1, total=total) for name, owner in owners.items()},
    }
    return Part(file=FILE.format(number=rank + 1, total=total), tensors=kept, index=index if rank == 0 else None)


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


def clear_weights(folder: Path) -> None:
    """Takes away what an earlier start wrote, of whatever number of processes: files of both would be read as one."""
    for path in (*folder.glob("*.safetensors"), folder / INDEX):
        path.unlink(missing_ok=True)
