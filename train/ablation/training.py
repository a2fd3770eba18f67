"""Trains one row with one seed: on the toy here, on real data by `aki-train run` with a recipe written for it.

Nothing differs between rows but order and mask: the vision tower, the initial weights, the data and the order of
samples follow from the seed. Rows that begin with the same stages share them; each is charged their cost all the same.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from benchmarks.errors import UserError
from benchmarks.files import beside, write_atomically

from ..checkpoint import SPECIFICATION, damage
from ..recipe import Stage, load_recipe
from .plan import AblationPlan
from .rows import AblationRow, RowStage

COST = "cost.json"
CI = "ci"
"""Of `aki-train run --bench`: a small part of all benchmarks."""


class Snapshot(NamedTuple):
    """A model along a row's training: optimizer steps of all its stages so far, and where it, or its run, lies."""

    steps: int
    model: Path


class Trained(NamedTuple):
    """points: in order, the finished model last. seconds, steps, samples: of all stages, shared ones included.

    evaluated: run folders along the last stage, where the training made them itself.
    """

    points: list[Snapshot]
    seconds: float
    steps: int
    samples: int
    evaluated: tuple[Snapshot, ...] = ()


def train_row(plan: AblationPlan, row: AblationRow, seed: int, out: Path) -> Trained:
    """Trains what is not trained yet.

    Raises:
        UserError: a stage on real data ended with an error; a folder is damaged.
    """
    return _toy_row(plan, row, seed, out) if plan.is_toy else _real_row(plan, row, seed, out)


# -- the toy ----------------------------------------------------------------------------------------------------------


def toy_stages(plan: AblationPlan, row: AblationRow, seed: int) -> list[Stage]:
    """The toy's own stages with the row's order and mask."""
    from ..toy.build import caption_stage, sft_stage

    made = []
    for place, stage in enumerate(row.stages):
        own = (caption_stage if stage.kind == "pretrain" else sft_stage)(plan.toy, seed, stage.attention)
        steps = max(1, round(own.steps * stage.share))
        changes = {
            "name": f"{place}_{own.name}_{stage.image_order}",
            "image_order": stage.image_order,
            "steps": steps,
            "warmup_steps": min(own.warmup_steps, steps),
            "attention_layers": dict(stage.attention_layers) or None,
        }
        made.append(Stage(**own.model_dump() | changes))
    return made


def _toy_row(plan: AblationPlan, row: AblationRow, seed: int, out: Path) -> Trained:
    from ..toy import arithmetic
    from ..toy.prepared import ensure_training_data

    stages = toy_stages(plan, row, seed)
    data_root = ensure_training_data(plan.toy)
    with arithmetic.fixed():
        shared = out.parent / "trained" / f"seed{seed}"
        start = previous = _start(plan, seed, shared / f"start-{plan.toy.vision_steps}")
        seconds = 0.0
        folders: list[Path] = []
        for place, stage in enumerate(stages):
            folder = shared / f"{stage.name}-{_key(stages[: place + 1])}"
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "lock"):  # another worker may be at the same stage of another row
                if not _whole(folder / "model"):
                    _toy_stage(stage, previous, folder, data_root, plan, start)
            seconds += float(json.loads((folder / COST).read_text("utf-8"))["seconds"])
            previous = folder / "model"
            folders.append(folder)
    before = sum(stage.steps for stage in stages[:-1])
    points = [Snapshot(before + steps, path) for steps, path in _checkpoints(folders[-1], stages[-1].steps)]
    total = before + stages[-1].steps
    samples = sum(stage.steps * stage.batch_size for stage in stages)
    return Trained([*points, Snapshot(total, previous)], seconds, total, samples)


def _toy_stage(stage: Stage, previous: Path, folder: Path, data_root: Path, plan: AblationPlan, start: Path) -> None:
    from ..machine import Machine
    from ..run_recipe import last_checkpoint, load_parts
    from ..run_stage import run_stage
    from ..state import OPTIMIZER

    began = time.perf_counter()
    model, processor = load_parts(previous)
    is_sft = stage.kind == "sft"
    every = max(1, stage.steps // (plan.points + 1)) if is_sft and plan.points else None
    run_stage(
        stage,
        model,
        processor,
        data_root=data_root,
        out=folder,
        machine=Machine(micro_batch=16 if is_sft else 32, cpu=True, save_steps=every),
        pictures=_features(stage, start, data_root) if is_sft else None,
        resume=last_checkpoint(folder),
        save_to=folder / "model",
        specification={"stage": stage.model_dump(mode="json")},
    )
    content = {"seconds": round(time.perf_counter() - began, 2), "steps": stage.steps}
    write_atomically(folder / COST, json.dumps(content) + "\n")
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint / OPTIMIZER, ignore_errors=True)  # the stage is done: nothing goes on from here
        for name in ("scheduler.pt", "rng_state.pth", "training_args.bin"):
            (checkpoint / name).unlink(missing_ok=True)


def _features(stage: Stage, start: Path, data_root: Path) -> Any:
    """What a seed's frozen tower makes of the pictures, computed once for all of its rows and budgets."""
    import torch

    from ..data.pictures import FeatureTable
    from ..run_recipe import load_parts
    from ..toy.build import picture_features

    path = start.with_name(f"features-{'-'.join(stage.data)}-{data_root.name}.pt")
    with FileLock(f"{path}.lock"):
        if not path.exists():
            model, processor = load_parts(start)
            made = picture_features(model, processor, stage.data, data_root).features
            names, features = list(made), torch.stack(list(made.values()))
            with beside(path) as scratch:
                torch.save((names, features), scratch)
    names, features = torch.load(path, weights_only=True)
    return FeatureTable(dict(zip(names, features, strict=True)))


def _start(plan: AblationPlan, seed: int, folder: Path) -> Path:
    """The seed's untrained model with its trained vision tower."""
    from ..checkpoint import write_specification
    from ..toy.build import untrained

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not _whole(folder / "model"):
            model, processor, _ = untrained(plan.toy, seed, folder)
            model.save_pretrained(folder / "model")
            processor.save_pretrained(folder / "model")
            write_specification(folder / "model", {"stage": {"seed": seed}})
    return folder / "model"


def _whole(folder: Path) -> bool:
    if not (folder / SPECIFICATION).exists():
        return False
    if wrong := damage(folder):
        raise UserError(f"{folder} is damaged: {wrong}; remove {folder.parent}, and it is trained anew")
    return True


def _checkpoints(folder: Path, last: int) -> Iterator[tuple[int, Path]]:
    """(step, folder) of a stage's checkpoints before its end, in order."""
    from ..run_stage import steps_done

    found = [(steps_done(path), path) for path in folder.glob("checkpoint-*")]
    yield from sorted((step, path) for step, path in found if step < last)


def _key(stages: Sequence[Stage]) -> str:
    """Names what a model was trained with from its start on."""
    content = json.dumps([stage.model_dump(mode="json") for stage in stages], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:10]


# -- real data --------------------------------------------------------------------------------------------------------


def write_recipe(plan: AblationPlan, row: AblationRow, seed: int, out: Path) -> Path:
    """The row as a recipe file of its own, with the seed in every stage."""
    lines = ['extends = "paper.toml"', f'name = "{row.name}"', f'title = "{row.title}, seed {seed}"']
    for kind in ("pretrain", "sft"):
        lines += ["", f"[{kind}]", f"seed = {seed}"]
    for place, stage in enumerate(row.stages):
        lines += ["", "[[stage]]", *_stage_lines(place, stage, _steps(plan, stage))]
    path = out / "recipes" / f"{row.name}-seed{seed}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "\n".join(lines) + "\n")
    load_recipe(str(path))
    return path


def _stage_lines(place: int, stage: RowStage, steps: int | None) -> Iterator[str]:
    yield f'name = "{place}_{stage.kind}_{stage.image_order}"'
    yield f'kind = "{stage.kind}"'
    yield f'attention = "{stage.attention}"'
    yield f'image_order = "{stage.image_order}"'
    if stage.attention_layers:
        named = ", ".join(f'"{layers}" = "{kind}"' for layers, kind in stage.attention_layers)
        yield f"attention_layers = {{ {named} }}"
    if steps is not None:
        yield f"steps = {steps}"


def _steps(plan: AblationPlan, stage: RowStage) -> int | None:
    """None: as the paper's recipe has it."""
    if plan.steps is None and stage.share == 1.0:
        return None
    usual = plan.steps or next(each.steps for each in load_recipe("it_it").stages if each.kind == stage.kind)
    return max(1, round(usual * stage.share))


def _real_row(plan: AblationPlan, row: AblationRow, seed: int, out: Path) -> Trained:
    recipe = write_recipe(plan, row, seed, out)
    folder = out / "trained" / f"{row.name}-seed{seed}"
    began = time.perf_counter()
    program = str(Path(sys.executable).with_name("aki-train"))
    stages = load_recipe(str(recipe)).stages
    command = [program, "run", str(recipe), "--data", plan.data, "--out", str(folder), *_along(plan, stages[-1])]
    done = subprocess.run([*shlex.split(plan.launch), *command], check=False, text=True)
    if done.returncode:
        raise UserError(f"aki-train run {recipe} ended with code {done.returncode}; see above. A second start goes on")
    cost = folder / COST
    if not cost.exists():
        write_atomically(cost, json.dumps({"seconds": round(time.perf_counter() - began, 2)}) + "\n")
    total = sum(stage.steps for stage in stages)
    samples = sum(stage.steps * stage.batch_size for stage in stages)
    last = folder / stages[-1].name
    seconds = float(json.loads(cost.read_text("utf-8"))["seconds"])
    evaluated = tuple(_evaluated(last, total - stages[-1].steps)) if plan.points else ()
    return Trained([Snapshot(total, last / "model")], seconds, total, samples, evaluated)


def _along(plan: AblationPlan, last: Stage) -> list[str]:
    """Has the training evaluated on its way, by its own hand: checkpoints of this size are not all kept."""
    if not plan.points:
        return []
    every = str(-(-last.steps // (plan.points + 1)))
    bench = CI if plan.bench == "all" else plan.bench
    return ["--eval-every", every, "--bench", bench, "--eval-data", plan.evaluation]


def _evaluated(stage: Path, before: int) -> Iterator[Snapshot]:
    """The runs of `aki-train run --eval-every` in a stage begun after `before` steps; what failed is left out."""
    found = {
        int(run.name.removeprefix("step-")): run
        for run in stage.glob("evaluations/step-*")
        if run.name.removeprefix("step-").isdecimal() and any(run.glob("*/metrics.json"))
    }
    yield from (Snapshot(before + step, found[step]) for step in sorted(found))
