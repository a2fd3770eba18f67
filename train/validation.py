"""Loss and answers on samples that are never trained on, while a stage goes on.

Measuring changes nothing: weights, data and randomness afterwards are what they would have been (tested).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from model.attention import IGNORED

from .data.captions import UnusableRecord
from .data.held_out import HeldOut
from .data.pictures import UnreadablePicture
from .data.samples import Item
from .recipe import Validation

if TYPE_CHECKING:
    from .trainer import AkiTrainer

LOSS = "validation_loss"
LONGEST_SHOWN = 300


class Measuring(TrainerCallback):  # type: ignore[misc]
    """Measures before the first step, every so many steps, and after the last."""

    def __init__(self, validation: Validation, held_out: Sequence[HeldOut], micro_batch: int) -> None:
        self.validation = validation
        self.held_out = held_out
        self.micro_batch = micro_batch
        self.trainer: AkiTrainer | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self._measure(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.validation.every == 0 or state.global_step == args.max_steps:
            self._measure(control)

    def _measure(self, control: Any) -> None:
        trainer = self.trainer
        assert trainer is not None, "set when the trainer is made"
        model = trainer.model_wrapped
        model.eval()
        with trainer.besides_training():
            entry: dict[str, Any] = losses(trainer, self.held_out, self.micro_batch)
            if trainer.averages is not None:
                with trainer.averages.in_place():
                    averaged = losses(trainer, self.held_out, self.micro_batch)
                entry.update({f"ema_{name}": value for name, value in averaged.items() if name.startswith(LOSS)})
            if self.validation.answers:
                entry.update(answers(trainer, self.held_out, self.validation))
        model.train()
        loss_is_due = control.should_log
        trainer.log(entry)
        control.should_log = loss_is_due  # logging, whatever it is, clears it


@torch.no_grad()
def losses(trainer: AkiTrainer, held_out: Sequence[HeldOut], micro_batch: int) -> dict[str, float]:
    """`validation_loss/SET`: mean over the learned tokens of a set's samples, of all processes together.

    `validation_loss` is the sets' mean by their probability in the mixture. `validation_unreadable` counts samples
    whose picture could not be read: they are in no mean. All processes make the same number of passes.
    """
    world_size, rank = trainer.args.world_size, trainer.args.process_index
    found: dict[str, float] = {}
    total = weights = unreadable = 0.0
    for one in held_out:
        sums = torch.zeros(3, dtype=torch.float64)
        rounds = -(-one.num // (micro_batch * world_size))
        own = range(rank, one.num, world_size)
        for number in range(rounds):
            mine = own[number * micro_batch : (number + 1) * micro_batch]
            items = list(_readable(one, mine))
            sums[2] += len(mine) - len(items)
            loss, tokens = _sum_of_losses(trainer, items or [_nothing(one)])
            if items:
                sums[:2] += torch.tensor([loss, tokens], dtype=torch.float64)
        loss, tokens, missing = trainer.accelerator.gather(sums[None].to(trainer.args.device)).sum(0).tolist()
        unreadable += missing
        if tokens:
            found[f"{LOSS}/{one.name}"] = loss / tokens
            total, weights = total + one.weight * loss / tokens, weights + one.weight
    everything = {LOSS: total / weights} if weights else {}
    return {**everything, **found, **({"validation_unreadable": unreadable} if unreadable else {})}


def _readable(one: HeldOut, numbers: Sequence[int]) -> Iterator[Item]:
    for number in numbers:
        try:
            yield one.item(number)
        except (UnreadablePicture, UnusableRecord, OSError):
            continue


def _nothing(one: HeldOut) -> Item:
    """For a process that has no sample left while others have: it must go through all layers with them."""
    return Item(prompt="nothing", answer="nothing", picture=None, source=one.name)


def _sum_of_losses(trainer: AkiTrainer, items: Sequence[Item]) -> tuple[float, int]:
    batch = trainer.data_collator(items)
    batch.pop("notes")
    batch = trainer._prepare_inputs(batch)
    with trainer.compute_loss_context_manager():
        loss = trainer.model_wrapped(**batch, loss_only=True, num_items_in_batch=1).loss
    return float(loss), int((batch["labels"][:, 1:] != IGNORED).sum())


@torch.no_grad()
def answers(trainer: AkiTrainer, held_out: Sequence[HeldOut], validation: Validation) -> dict[str, str]:
    """`answer/SET/N`: what was asked, what is said now, and what was expected.

    Sharded processes answer together, each the same. Captions that stand before their picture cannot be asked for.
    """
    if not (trainer.is_fsdp_enabled or trainer.is_world_process_zero()):
        return {}
    encoder, said = trainer.data_collator.encoder, {}
    for one in held_out:
        for number, item in enumerate(_readable(one, range(min(validation.answers, one.num)))):
            if item.prompt is None and encoder.image_order == "text_first":
                continue
            text = _answer(trainer, item, validation.answer_tokens)
            asked = f"{item.prompt[-LONGEST_SHOWN:]}\n" if item.prompt else ""
            said[f"answer/{one.name}/{number}"] = f"{asked}-> {text}\n(expected: {item.answer[:LONGEST_SHOWN]})"
    return said


def _answer(trainer: AkiTrainer, item: Item, most: int) -> str:
    """Greedily."""
    encoder = trainer.data_collator.encoder
    one = encoder([item])[0]
    asked = one.input_ids
    if item.prompt is None:
        asked = asked[: len(asked) - asked[::-1].index(encoder.image_token_id)]  # up to the picture's end
    elif any(label != IGNORED for label in one.labels):
        asked = asked[: next(place for place, label in enumerate(one.labels) if label != IGNORED)]
    inputs = {"input_ids": torch.tensor([asked]), "attention_mask": torch.ones(1, len(asked), dtype=torch.long)}
    inputs |= {name: tensor[None] for name, tensor in (item.picture or {}).items()}
    with trainer.compute_loss_context_manager():
        made = trainer.model.generate(
            **trainer._prepare_inputs(inputs),
            max_new_tokens=most,
            do_sample=False,
            eos_token_id=[*trainer.processor.stop_token_ids, encoder.end_of_chunk_id],
            pad_token_id=encoder.tokenizer.pad_token_id,
        )
    text: str = encoder.tokenizer.decode(made[0, len(asked) :], skip_special_tokens=True)
    return text.strip()
