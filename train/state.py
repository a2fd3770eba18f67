"""Weights and optimizer in a checkpoint, for any number of processes, sharded or not.

Weights are the safetensors that `from_pretrained` reads: there is one copy, and a checkpoint is a model. The state of
the optimizer lies beside them as torch's distributed checkpoint: every process writes its shards, and reads what it
needs of them, whoever wrote them.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load

from benchmarks.errors import UserError

from .weights import read_weights, repeated, weight_names
from .writing import Writing, is_alone

OPTIMIZER = "optimizer"


def save_optimizer(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path, writing: Writing
) -> None:
    """Each process its part; `model` is the wrapped one.

    The folder is there at once: it tells others that `stage.json` will say when this checkpoint is whole.
    """
    (checkpoint / OPTIMIZER).mkdir(parents=True, exist_ok=True)
    writing.state({OPTIMIZER: get_optimizer_state_dict(model, optimizer)}, checkpoint / OPTIMIZER)


def load_optimizer(model: torch.nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path) -> None:
    """What `save_optimizer` wrote, cut as this run needs it.

    Raises:
        UserError: the checkpoint holds no optimizer state of this form.
    """
    folder = checkpoint / OPTIMIZER
    if not folder.is_dir():
        raise UserError(f"{checkpoint}: no {OPTIMIZER}/ in it, as checkpoints have; use another --out")
    state = {OPTIMIZER: get_optimizer_state_dict(model, optimizer)}
    load(state, checkpoint_id=folder, no_dist=is_alone())
    set_optimizer_state_dict(model, optimizer, state[OPTIMIZER])


def load_weights(
    model: torch.nn.Module,
    checkpoint: Path,
    *,
    sharded: bool,
    read: Callable[[Path], dict[str, torch.Tensor]] | None = None,
) -> None:
    """The checkpoint's weights into a model; of a sharded one each process reads its own parts.

    Args:
        model: an AKI, laid out over the processes already if `sharded`.
        checkpoint: the folder.
        sharded: the model's parts are spread over processes.
        read: what reads the checkpoint's trained weights, where it does not hold all of the model's. They are few: the
            first process reads them and sends the others their parts.

    Raises:
        UserError: weights are missing, or of another model.
    """
    if sharded and read is None:
        _load_parts(model, checkpoint)
        return
    weights: dict[str, Any] = {}
    if not sharded or torch.distributed.get_rank() == 0:
        weights = (read or read_weights)(checkpoint)
        _check_names(model, weights.keys(), checkpoint, trained_only=read is not None)
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=sharded, strict=False)
    set_model_state_dict(model, weights, options=options)


def _load_parts(model: torch.nn.Module, checkpoint: Path) -> None:
    """Each process its own, whoever wrote which file."""
    _check_names(model, weight_names(checkpoint), checkpoint)
    state = get_model_state_dict(model)
    for name in repeated(model):
        del state[name]
    load(state, storage_reader=HuggingFaceStorageReader(str(checkpoint)), no_dist=is_alone())
    set_model_state_dict(model, state, options=StateDictOptions(strict=False))


def _check_names(
    model: torch.nn.Module, found: AbstractSet[str], checkpoint: Path, *, trained_only: bool = False
) -> None:
    """Compares the names of the weights with the model's. A head that is the embedding is stored once.

    Raises:
        UserError: a weight is missing or unknown.
    """
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    expected = {name.removeprefix("module.") for name in (trained if trained_only else model.state_dict())}
    tied = getattr(getattr(model, "config", None), "tie_word_embeddings", False)
    optional = set(getattr(model, "_tied_weights_keys", None) or {}) if tied else set()
    for word, names in (("missing", expected - found - optional), ("unknown", found - expected)):
        if names:
            raise UserError(f"{checkpoint}: weights of another model ({min(names)} is {word})")
