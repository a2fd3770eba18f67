"""transformers.Trainer with what AKI's training adds: parameter groups, schedule, token average, guards, positions."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer import SCHEDULER_NAME

from benchmarks.errors import UserError

from .averages import Averages
from .cost import Cost
from .data.captions import CaptionBatches, CaptionStream, as_it_is
from .data.dealing import Dealing, DealtBatches
from .data.mixture import Mixture
from .data.samples import Notes
from .lora import FOLDER as ADAPTER
from .lora import load_adapter, merged, save_adapter
from .recipe import Stage
from .schedule import CosineSchedule
from .state import load_optimizer, load_weights, save_optimizer
from .weights import Part, clear_weights, own_part
from .writing import Writing

POSITIONS = "positions.rank{rank}.json"
COUNTS = ("num_samples", "num_images", "num_tokens", "num_positions")


class AkiTrainer(Trainer):  # type: ignore[misc]
    """Trains one stage.

    The data set is a `Mixture` (drawn by position) or a `CaptionStream` (its positions are saved and given back);
    `first_step` is where a resumed stage begins to read. Batches carry `notes`, which stay here.
    """

    optimizer: torch.optim.Optimizer | None
    lr_scheduler: LambdaLR | None

    def __init__(
        self,
        *,
        stage: Stage,
        skips: Path | None = None,
        peak_flops: float | None = None,
        specification: Mapping[str, Any] | None = None,
        first_step: int = 0,
        workers: int = 0,
        processor: Any = None,
        log_file: Path | None = None,
        resumed_from: Path | None = None,
        writing: Writing | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.writing = writing or Writing()
        self.specification = specification
        self.stage = stage
        self.first_step = first_step
        self.workers = workers
        self.processor = processor
        self.log_file = log_file
        self.resumed_from = resumed_from
        self.averages = Averages(stage.ema.decay) if stage.ema is not None else None
        if self.averages is not None:
            self.callback_handler.callbacks.insert(0, self.averages)  # before what measures them
        self.peak_flops = peak_flops
        self.cost = Cost.of(self.model)
        self.skips = skips
        self.positions: dict[int, Any] = {}
        if isinstance(self.train_dataset, CaptionStream):  # a stream that is not read again before the next checkpoint
            self.positions |= self.train_dataset.positions  # still stands where it stood
        self.num_skipped: Counter[str] = Counter()
        self._since_log: Counter[str] = Counter()
        self._last_log = time.perf_counter()

    # Optimizer and schedule

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(
                parameter_groups(model or self.model, self.stage),
                lr=self.stage.learning_rate,
                betas=self.stage.betas,
                eps=self.stage.epsilon,
                fused=True,
            )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LambdaLR:
        if self.lr_scheduler is None:
            rate = schedule_of(self.stage)
            chosen = optimizer or self.create_optimizer()
            self.lr_scheduler = LambdaLR(chosen, lambda step: rate(step) / self.stage.learning_rate)
        return self.lr_scheduler

    # Data

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Each process's own micro-batches: none goes through accelerate, which knows only one way of dealing."""
        dataset, stage = self.train_dataset, self.stage
        slots, pin = self.args.gradient_accumulation_steps, self.args.dataloader_pin_memory
        if isinstance(dataset, CaptionStream):
            batches = CaptionBatches(
                dataset, self.data_collator, batch_size=stage.batch_size, slots=slots, workers=self.workers
            )
            return DataLoader(batches, batch_size=None, collate_fn=as_it_is, pin_memory=pin)
        if not isinstance(dataset, Mixture):
            loader: DataLoader[Any] = super().get_train_dataloader()
            return loader
        sampler = DealtBatches(
            dataset,
            self.data_collator.encoder,
            self._dealing(),
            batch_size=stage.batch_size,
            group_steps=stage.group_steps,
            rank=self.args.process_index,
            first_step=self.first_step,
        )
        return DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=self.workers,
            pin_memory=pin,
        )

    def _dealing(self) -> Dealing:
        return Dealing(
            world_size=self.args.world_size,
            slots=self.args.gradient_accumulation_steps,
            sorts=self.stage.group_steps > 0,
            even_rows=self.stage.averaging == "micro_batch" or self.stage.pad_to_max_length,
            image_cost=self.cost.image_cost,
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Any]:
        """The micro-batches of an optimizer step, their notes taken out, and the number of tokens learned in them.

        Raises:
            UserError: no token is learned in the whole step.
        """
        batches, num_tokens = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.resumed_from is not None:  # again: the loader, when it began, drew a number that it drew before, too
            self._load_rng_state(str(self.resumed_from))
            self.resumed_from = None
        for batch in batches:
            self._note(batch.pop("notes"))
        if num_tokens is not None and num_tokens == 0:
            raise UserError(
                f"step {self.state.global_step}: no token to learn in the whole step; is max_length too small?"
            )
        return batches, num_tokens

    def _note(self, notes: Notes) -> None:
        self.positions.update(notes.positions)
        for name in COUNTS:
            self._since_log[name] += getattr(notes, name)
        for skip in notes.skipped:
            self.num_skipped[skip.source] += 1
            if self.skips is not None:
                with self.skips.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(skip)) + "\n")
        if sum(self.num_skipped.values()) > self.stage.max_skipped:
            raise UserError(
                f"{sum(self.num_skipped.values())} records could not be used ({dict(self.num_skipped)}), more than "
                f"max_skipped = {self.stage.max_skipped}; they are listed in {self.skips}"
            )

    # Step

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean over all learned tokens of the optimizer step and all processes, or the original's mean of means."""
        if self.stage.averaging == "micro_batch":
            num_items_in_batch, self.loss_is_scaled_for_ga = None, False
        inputs = {**inputs, "use_cache": False}  # which the library fills in training, too, for nobody
        if self.stage.logits == "learned":
            inputs["loss_only"] = True
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def floating_point_ops(self, inputs: Any) -> int:
        """Not the library's estimate, which counts all parameters anew for every micro-batch; `Cost` knows."""
        return 0

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> AbstractContextManager[Any]:
        """Around models that FSDP2 shards; accelerate puts it around all others itself.

        Nothing is cached: a weight's bf16 copy would outlive the layer's turn to be whole.
        """
        if not (self.is_fsdp_enabled and self.args.bf16):
            return nullcontext()
        return torch.autocast(self.accelerator.device.type, dtype=torch.bfloat16, cache_enabled=False)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Stands between clipping and the optimizer's step: nothing that is not a number gets into the weights."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if isinstance(norm, DTensor):  # of shards: torch 2.9 would log this process's shard alone
            norm = norm.full_tensor()
        if norm is not None and not math.isfinite(float(norm)):
            raise FloatingPointError(
                f"step {self.state.global_step + 1}: the gradient's norm is {float(norm)}; no weight was changed. "
                "The last checkpoint is good; lower the learning rate or look at the data of this step"
            )
        return norm

    # Log and checkpoint

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds what all processes together have read since the last entry. The log file has it at once."""
        now = time.perf_counter()
        seconds, self._last_log = now - self._last_log, now
        if "loss" in logs:
            logs.update(self._throughput(seconds))
            self._since_log = Counter()
        super().log(logs, start_time)
        if self.log_file is not None and self.is_world_process_zero():
            with self.log_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.state.log_history[-1]) + "\n")

    @contextmanager
    def besides_training(self) -> Iterator[None]:
        """Keeps the clock of the rates in the log, and the randomness of training, out of what is done inside."""
        began = time.perf_counter()
        devices = [self.args.device] if self.args.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            yield
        self._last_log += time.perf_counter() - began

    def _throughput(self, seconds: float) -> dict[str, float]:
        mine = [*(self._since_log[name] for name in COUNTS), sum(self.num_skipped.values())]
        of_each = self.accelerator.gather(torch.tensor([mine], dtype=torch.float64, device=self.args.device)).cpu()
        samples, images, tokens, positions, skipped = of_each.sum(0).tolist()
        if not samples:
            return {}
        found = {
            "tokens": tokens,
            "samples_per_second": round(samples / seconds, 2),
            "tokens_per_second": round(tokens / seconds, 1),
        }
        if self.peak_flops:
            flops = self.cost.training_flops(tokens, images, adapters=self.stage.lora is not None)
            found["mfu"] = round(flops / seconds / self.peak_flops / self.args.world_size, 4)
        found["padding"] = round(1 - tokens / positions, 4)
        if self.args.world_size > 1:
            found["waiting"] = round(1 - positions / self.args.world_size / float(of_each[:, 3].max()), 4)
        return {**found, "skipped": skipped}

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Written when it returns, unless it is part of a checkpoint."""
        folder = Path(output_dir or self.args.output_dir)
        if self.is_world_process_zero():
            clear_weights(folder)
        if self.is_fsdp_enabled:
            self._save_parts(folder)
        else:
            super().save_model(str(folder), _internal_call)
        if self.processor is not None and self.is_world_process_zero():  # a checkpoint is a model that can be loaded
            self.processor.save_pretrained(folder)
        if not _internal_call:
            self.writing.finish()

    def _save_parts(self, folder: Path) -> None:
        """Each process writes its part of the weights, so that none has to hold them all."""
        if self.args.should_save:
            super()._save(str(folder), {})  # what lies beside the weights
        self.accelerator.wait_for_everyone()  # for the first one, which made room in the folder
        self.writing.together(folder, partial(self._write_part, folder, own_part(self.model)))

    def _write_part(self, folder: Path, part: Part) -> None:
        if self.stage.lora is not None:
            if part.index is not None:
                save_adapter(folder / ADAPTER, self.model, part.trained, self.stage.lora)
            part = replace(part, tensors=merged(part.tensors, self.stage.lora))
        part.write(folder)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if not self.args.should_save:
            return
        gathered = state_dict is not None and self.args.device.type != "cpu"  # from the devices: a copy already
        state = state_dict or self.model.state_dict()
        kept = state if gathered else self.writing.copied(state)
        self.writing.run(partial(self._write_weights, output_dir or self.args.output_dir, kept))

    def _write_weights(self, folder: str, state: Mapping[str, torch.Tensor]) -> None:
        """Adapters are saved by themselves, and merged into the weights that `from_pretrained` reads."""
        if self.stage.lora is not None:
            save_adapter(Path(folder) / ADAPTER, self.model, state, self.stage.lora)
            state = merged(state, self.stage.lora)
        super()._save(folder, dict(state))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.averages is not None:
            self.averages.save(Path(output_dir), self.writing)
        save_optimizer(self.model_wrapped, self._plain_optimizer(), Path(output_dir), self.writing)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)  # type: ignore[union-attr]

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        read = load_adapter if self.stage.lora is not None else None
        load_weights(model or self.model, Path(resume_from_checkpoint), sharded=self.is_fsdp_enabled, read=read)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        load_optimizer(self.model_wrapped, self._plain_optimizer(), Path(checkpoint))
        if self.averages is not None:
            self.averages.begin(self.model_wrapped)
            self.averages.load(Path(checkpoint))
        state = torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True)
        self.lr_scheduler.load_state_dict(state)  # type: ignore[union-attr]

    def _plain_optimizer(self) -> torch.optim.Optimizer:
        """Without what accelerate wraps around it."""
        assert self.optimizer is not None, "made before anything is saved or loaded"
        plain: torch.optim.Optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        return plain

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        self.writing.begin(folder)
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # whose small files are part of it
        if self.is_world_process_zero():
            self.writing.end(folder, dict(self.specification or {}))

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        if isinstance(self.train_dataset, CaptionStream):
            path = Path(output_dir) / POSITIONS.format(rank=self.args.process_index)
            path.write_text(json.dumps({str(stream): list(place) for stream, place in self.positions.items()}))


def schedule_of(stage: Stage) -> CosineSchedule:
    """The stage's learning rate as a function of the step."""
    return CosineSchedule(
        peak=stage.learning_rate,
        minimum=stage.min_learning_rate,
        warmup_steps=stage.warmup_steps,
        horizon=stage.schedule_steps or stage.steps,
    )


def parameter_groups(model: Any, stage: Stage) -> list[dict[str, Any]]:
    """Trainable parameters with and without weight decay.

    standard: matrices decay, embeddings, norms, biases and latents do not. original: everything but the embeddings
    decays.
    """
    embeddings = {id(parameter) for parameter in model.get_input_embeddings().parameters()}
    groups: dict[bool, list[torch.nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim >= 2 and not name.endswith("latents")
            groups[id(parameter) not in embeddings and (matrix or stage.decay == "original")].append(parameter)
    return [
        {"params": parameters, "weight_decay": stage.weight_decay if decays else 0.0}
        for decays, parameters in groups.items()
        if parameters
    ]


def saved_positions(checkpoint: Path) -> dict[int, Any]:
    """The streams' positions in a checkpoint, of all processes together.

    Each process knows where its own streams stand and where the others' stood when it began; the later place holds.
    """
    positions: dict[int, Any] = {}
    for path in checkpoint.glob(POSITIONS.format(rank="*")):
        for stream, place in json.loads(path.read_text()).items():
            positions[int(stream)] = max(tuple(place), positions.get(int(stream), (0, 0, 0)))
    return positions
