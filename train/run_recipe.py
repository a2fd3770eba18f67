"""Runs a recipe: its stages in order, each from the model of the one before, resumed wherever a run was cut off.

OUT/<stage>/checkpoint-N/     model and processor, optimizer/, the streams' positions, `stage.json` written last
OUT/<stage>/model/            the stage's result: model and processor, `stage.json` written last
OUT/<stage>/log.jsonl         the stage's log, a line as it goes; log.json when the stage is done
OUT/<stage>/skipped.jsonl     records that could not be used
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.errors import UserError
from benchmarks.printable import printable

from .checkpoint import SPECIFICATION, damage
from .data.fingerprint import changes, fingerprint
from .machine import Machine, is_first
from .recipe import Recipe, Stage
from .run_stage import run_stage

DATA = "data"
VALIDATION = "validation"
FREE = {"max_skipped", "shards", "logits", "gradient_checkpointing", "attention_backend", "compile"}
"""Settings of a stage that may change on the way: how is computed, not what; where data lie, as their fingerprint says
what they are. `validation` may where the same samples stay held out (`split_of`)."""
UNREAD = {
    "pretrain": {"group_steps", "augmentation"},
    "sft": {"streams", "shuffle_block", "allow_mutual_pretraining"},
}
"""Settings that a kind of stage does not read."""


class Parts(NamedTuple):
    """What is trained."""

    model: Any
    processor: Any


def run_recipe(
    recipe: Recipe, start: Callable[[], Parts], *, data_root: Path, out: Path, machine: Machine, only: str | None = None
) -> Path:
    """Runs what is not done yet and returns the folder of the last stage's model.

    Args:
        recipe: its stages, in order.
        data_root: folder of the data sets.
        out: a folder for each stage goes here.
        machine: what it is trained on.
        start: makes the untrained model; called only when no stage is done.
        only: the kind of stages to run (`pretrain`); the others must be done already.

    Raises:
        UserError: a folder or checkpoint of other settings.
    """
    previous: Path | None = None
    for stage in recipe.stages:
        folder = out / stage.name
        finished = folder / "model"
        if (finished / SPECIFICATION).exists():
            check_specification(finished, recipe, stage)
            if wrong := damage(finished):
                raise UserError(f"{finished} is damaged: {wrong}; remove it, and the stage goes on from its checkpoint")
        elif only is None or stage.kind == only:
            _run(recipe, stage, previous, start, folder, data_root=data_root, machine=machine)
            free_memory()
        elif stage.kind == "pretrain":
            raise UserError(f"stage {stage.name!r} is not done; run `aki-train pretrain` with the same --out first")
        else:
            break
        previous = finished
    assert previous is not None, "a recipe has stages"
    return previous


def _run(
    recipe: Recipe,
    stage: Stage,
    previous: Path | None,
    start: Callable[[], Parts],
    folder: Path,
    *,
    data_root: Path,
    machine: Machine,
) -> None:
    resume = last_checkpoint(folder)
    data = fingerprint(stage, data_root)
    changed = False
    if resume is not None:
        check_specification(resume, recipe, stage)
        changed = check_data(resume, data, machine)
    model, processor = load_parts(previous) if previous else start()
    folder.mkdir(parents=True, exist_ok=True)
    run_stage(
        stage,
        model,
        processor,
        data_root=data_root,
        out=folder,
        machine=machine,
        resume=resume,
        changed_data=changed,
        save_to=folder / "model",
        specification={**specification(recipe, stage), DATA: data},
    )


def free_memory() -> None:
    """Gives back what the stage that is done held: the Trainer refers to itself, so only the collector finds it."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def load_parts(folder: Path) -> Parts:
    """Model and processor of a finished stage, in fp32."""
    import torch

    from model import AkiForConditionalGeneration, AkiProcessor

    model = AkiForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    return Parts(model, AkiProcessor.from_pretrained(folder))


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a stage.

    One whose writing was cut off has no specification. What is passed over is said on stderr.

    Raises:
        UserError: all that were whole once are damaged.
    """
    found = [path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]
    damaged = None
    for path in sorted(found, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        cut_off = not (path / SPECIFICATION).exists()
        wrong = "its writing was cut off" if cut_off else damage(path)
        if wrong is None:
            return path
        damaged = damaged or (None if cut_off else f"{path} is damaged: {wrong}")
        if is_first():
            print(printable(f"aki-train: {path} is passed over: {wrong}"), file=sys.stderr)
    if damaged:
        raise UserError(f"{damaged}, and there is no earlier one; remove it to begin the stage anew")
    return None


def specification(recipe: Recipe, stage: Stage) -> dict[str, Any]:
    """What a checkpoint was made with. Recipes that differ here must not go on from each other's checkpoints."""
    return {"model": recipe.model.model_dump(mode="json"), "stage": stage.model_dump(mode="json")}


def check_specification(folder: Path, recipe: Recipe, stage: Stage) -> None:
    """Compares the folder's recipe with this one, as far as it is read.

    Raises:
        UserError: they differ; the first setting that does is named.
    """
    saved, wanted = json.loads((folder / SPECIFICATION).read_text()), specification(recipe, stage)
    for part in wanted:
        for key, value in wanted[part].items():
            if part == "stage" and key in FREE | UNREAD[stage.kind]:
                continue
            before = saved.get(part, {}).get(key)
            if part == "stage" and key == VALIDATION:
                before, value = split_of(before), split_of(value)
            if before != value:
                raise UserError(
                    f"{folder} was made with {part}.{key} = {before!r}, "
                    f"the recipe says {value!r}; use another --out, or the recipe it was made with"
                )


def split_of(validation: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What of the table decides what is trained on."""
    return None if validation is None else {"share": validation["share"]}


def check_data(checkpoint: Path, now: Mapping[str, Any], machine: Machine) -> bool:
    """Whether the data are other than the checkpoint's, which the user must have allowed.

    Raises:
        UserError: they are, and nobody said that they may be.
    """
    then = json.loads((checkpoint / SPECIFICATION).read_text()).get(DATA, {})
    found = changes(then, now)
    if found and not machine.changed_data:
        raise UserError(
            f"{checkpoint} was trained on other data: {'; '.join(found)}; bring them back, use another --out, or say "
            "--changed-data (captions then begin a new pass, and instructions are drawn from what is there now)"
        )
    return bool(found)
