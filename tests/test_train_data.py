"""Mixture, batches and caption streams: what is drawn, in which order, and what becomes of it."""

from __future__ import annotations

import io
import json
import random
import struct
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from model_helpers import tokenizer as family_tokenizer
from phi3_style import phi3_style_tokenizer
from PIL import Image

from benchmarks.errors import UserError
from model import AkiImageProcessor, AkiProcessor
from model.attention import IMAGE, QUESTION_END
from train.data.captions import (
    CaptionBatches,
    CaptionStream,
    Lane,
    ShardRecord,
    UnusableRecord,
    check_shard,
    read_shard,
    streams_of,
    unusable_records,
)
from train.data.collate import IGNORED, Collator, Encoder
from train.data.dealing import Dealing, DealtBatches
from train.data.instructions import Example
from train.data.mixture import Mixture
from train.data.pictures import PixelReader, UnreadablePicture, augment
from train.data.samples import Item
from train.data.shards import find_shards
from train.machine import Machine

NUM_LATENTS = 4
PROCESSOR = AkiProcessor(AkiImageProcessor(size=28), phi3_style_tokenizer(), num_latents=NUM_LATENTS)
NO_PICTURE: dict[str, torch.Tensor] = {}


class FakeSet:
    """A set whose question number n is "n" and whose picture is `name/n`."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.instruction_set = type("Set", (), {"augmentable": False})

    def __len__(self) -> int:
        return self.size

    def example(self, index: int, rng: random.Random) -> Example:
        return Example(image=f"{self.name}/{index}", prompt=str(index), answer=rng.choice("AB") * (1 + index % 7))


def no_pixels(name: str, rng: random.Random, may_augment: bool) -> dict[str, torch.Tensor]:
    return NO_PICTURE


def mixture(weights: dict[str, float], num_samples: int = 4000, pictures: Any = no_pixels, seed: int = 1) -> Mixture:
    data = {name: FakeSet(name, 50) for name in weights}
    return Mixture(data, weights, pictures=pictures, num_samples=num_samples, seed=seed)  # type: ignore[arg-type]


def encoder(max_length: int = 400, **settings: Any) -> Encoder:
    return Encoder(
        PROCESSOR,
        image_token_id=PROCESSOR.image_token_id,
        num_image_tokens=NUM_LATENTS,
        question_end_id=PROCESSOR.question_end_token_id,
        max_length=max_length,
        **settings,
    )


def question(prompt: str = "why?", answer: str = "because", with_image: bool = True) -> Item:
    return Item(prompt=prompt, answer=answer, picture=NO_PICTURE if with_image else None, source="test")


def caption(text: str) -> Item:
    return Item(prompt=None, answer=text, picture=NO_PICTURE, source="kale")


def learned(encoded: Any) -> str:
    return str(PROCESSOR.tokenizer.decode([label for label in encoded.labels if label != IGNORED]))


# Mixture


def test_sets_come_by_their_probabilities() -> None:
    weights = {"a": 10.3, "b": 10.3, "c": 2.6, "d": 4.7}
    drawn = Counter(mixture(weights).draw(position)[0] for position in range(20_000))
    for name, weight in weights.items():
        assert drawn[name] / 20_000 == pytest.approx(weight / 27.9, abs=4 * (0.25 / 20_000) ** 0.5)


def test_a_sample_depends_on_seed_and_position_alone() -> None:
    forward = [mixture({"a": 1, "b": 1})[position].answer for position in range(200)]
    backward = [mixture({"a": 1, "b": 1})[position].answer for position in reversed(range(200))]
    assert forward == backward[::-1]
    assert forward != [mixture({"a": 1, "b": 1}, seed=2)[position].answer for position in range(200)]


def test_unreadable_pictures_are_replaced_and_listed() -> None:
    def sometimes(name: str, rng: random.Random, may_augment: bool) -> dict[str, torch.Tensor]:
        if name.startswith("a"):
            raise OSError("broken")
        return NO_PICTURE

    items = [mixture({"a": 1, "b": 3}, pictures=sometimes)[position] for position in range(200)]
    assert {item.source for item in items} == {"b"}
    skips = [skip for item in items for skip in item.skipped]
    assert 30 < len(skips) < 110
    assert skips[0].record.startswith("a/")
    assert skips[0].reason == "OSError: broken"


@pytest.mark.parametrize(
    ("augmentation", "moved"), [("none", set()), ("safe", {"plain"}), ("original", {"plain", "boxes"})]
)
def test_safe_augmentation_leaves_alone_what_a_box_names(augmentation: str, moved: set[str]) -> None:
    seen = set()

    def pictures(name: str, rng: random.Random, may_augment: bool) -> dict[str, Any]:
        if may_augment:
            seen.add(name)
        return {}

    data = {name: FakeSet(name, 50) for name in ("plain", "boxes")}
    data["plain"].instruction_set = type("Set", (), {"augmentable": True})
    made = Mixture(data, dict.fromkeys(data, 1.0), pictures=pictures, num_samples=40, seed=1, augmentation=augmentation)  # type: ignore[arg-type]
    items = [made[position] for position in range(40)]
    assert {item.source for item in items} == set(data)
    assert {name.split("/")[0] for name in seen} == moved


def test_nothing_readable_is_an_error_and_no_endless_loop(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="10 pictures in a row could not be read"):
        mixture({"a": 1}, pictures=PixelReader(tmp_path, None))[0]


def test_of_many_that_are_unreadable_the_last_is_named() -> None:
    asked = []

    def pictures(name: str, rng: random.Random, may_augment: bool) -> dict[str, Any]:
        asked.append(name)
        raise UnreadablePicture(f"broken {len(asked)}")

    with pytest.raises(UserError) as stopped:
        mixture({"a": 1}, pictures=pictures)[0]
    assert len(set(asked[-3:])) > 1
    assert f"the last {asked[-1]} (broken 10); " in str(stopped.value)


LENGTHS = [60, 61, 70, 90, 200, 205, 210, 215, 220, 225, 230, 240, 250, 260, 400, 620]
PICTURED = [length >= 200 for length in LENGTHS]


def cost(piece: list[int], image_cost: float = 0.0) -> float:
    longest = max((LENGTHS[index] for index in piece), default=0)
    return len(piece) * longest + image_cost * sum(PICTURED[index] for index in piece)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 5, 16, 24])
@pytest.mark.parametrize("slots", [1, 2])
def test_a_step_is_dealt_whole_whoever_takes_part(world_size: int, slots: int) -> None:
    dealt = Dealing(world_size=world_size, slots=slots, image_cost=30.0).deal(LENGTHS, PICTURED)
    assert len(dealt) == world_size * slots
    assert sorted(index for piece in dealt for index in piece) == list(range(16))


@pytest.mark.parametrize("image_cost", [0.0, 37.0])
def test_no_other_cut_has_a_cheaper_costliest_piece(image_cost: float) -> None:
    dealing = Dealing(world_size=4, image_cost=image_cost)
    worst = max(cost(piece, image_cost) for piece in dealing.deal(LENGTHS, PICTURED))
    ends = ((0, *cuts, 16) for cuts in combinations(range(17), 3))
    best = min(max(cost(list(range(a, b)), image_cost) for a, b in pairwise(cut)) for cut in ends)
    assert worst == best
    rows = Dealing(world_size=4, even_rows=True).deal(LENGTHS, PICTURED)
    assert worst < max(cost(piece, image_cost) for piece in rows) / 1.8


def test_alone_micro_batches_have_as_many_rows_each() -> None:
    assert [len(piece) for piece in Dealing(slots=4).deal(LENGTHS[::-1], PICTURED)] == [4, 4, 4, 4]
    assert Dealing(slots=4).deal(LENGTHS[::-1], PICTURED)[0] == [15, 14, 13, 12]
    assert Dealing(slots=3, sorts=False).deal([0] * 16, []) == [[*range(6)], [*range(6, 11)], [*range(11, 16)]]


def batches(world_size: int, **settings: Any) -> list[list[list[int]]]:
    mixed = mixture({"a": 1, "b": 1}, num_samples=96)
    dealing = Dealing(world_size=world_size, slots=2)
    ranks = range(world_size)
    return [list(DealtBatches(mixed, encoder(), dealing, batch_size=16, rank=rank, **settings)) for rank in ranks]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_samples_of_a_step_do_not_depend_on_who_takes_them(world_size: int) -> None:
    dealt = batches(world_size)
    for step in range(6):
        mine = [sample for rank in dealt for piece in rank[2 * step : 2 * step + 2] for sample in piece]
        assert sorted(mine) == list(range(16 * step, 16 * step + 16))


@pytest.mark.parametrize("group_steps", [1, 2, 4])
@pytest.mark.parametrize("first_step", [0, 1, 3, 5, 6])
def test_a_resumed_stage_goes_on_with_the_same_batches(group_steps: int, first_step: int) -> None:
    whole = batches(2, group_steps=group_steps)
    later = batches(2, group_steps=group_steps, first_step=first_step)
    assert [rank[2 * first_step :] for rank in whole] == later


def test_steps_of_like_length_come_in_random_order() -> None:
    mixed = mixture({"a": 1, "b": 1}, num_samples=96)
    [dealt] = batches(1, group_steps=6)
    steps = [dealt[at] + dealt[at + 1] for at in range(0, 12, 2)]
    assert sorted(sample for step in steps for sample in step) == list(range(96))
    longest = [max(len(encoder()([mixed[sample]])[0].input_ids) for sample in step) for step in steps]
    assert longest != sorted(longest)


def test_an_outline_is_as_long_as_the_sample_with_or_without_a_picture() -> None:
    class TextSet(FakeSet):
        def example(self, index: int, rng: random.Random) -> Example:
            return replace(super().example(index, rng), image=None)

    data = {"seen": FakeSet("seen", 50), "read": TextSet("read", 50)}
    made = Mixture(data, dict.fromkeys(data, 1.0), pictures=no_pixels, num_samples=20, seed=1)  # type: ignore[arg-type]
    samples, outlines = ([get(place) for place in range(20)] for get in (made.__getitem__, made.outline))
    assert {sample.picture is None for sample in samples} == {True, False}
    lengths = [[len(one.input_ids) for one in encoder()(items)] for items in (samples, outlines)]
    assert lengths[0] == lengths[1]


# Ids and labels


def test_question_is_what_the_processor_makes_of_it() -> None:
    """Training and evaluation must see the same ids up to the answer."""
    conversation = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "why?"}]}]
    prompt = PROCESSOR.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
    asked = PROCESSOR(text=prompt, images=Image.new("RGB", (28, 28)))["input_ids"][0]
    (encoded,) = encoder()([question()])
    assert encoded.input_ids[: len(asked)] == list(asked)


def test_only_the_answer_and_its_end_are_learned() -> None:
    encoded = encoder()([question(), question(with_image=False)])
    assert [learned(one) for one in encoded] == ["because<|endoftext|>"] * 2
    assert encoded[0].input_ids.count(PROCESSOR.image_token_id) == NUM_LATENTS
    assert encoded[1].input_ids.count(PROCESSOR.image_token_id) == 0


@pytest.mark.parametrize("family", ["phi3", "qwen2", "llama"])
def test_no_family_learns_its_prompt(family: str) -> None:
    """In ChatML and Llama 3 the token that ends the question also opens the system's turn; data may quote it too."""
    tokenizer = family_tokenizer(family)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|endofchunk|>"]})
    processor = AkiProcessor(AkiImageProcessor(size=28), tokenizer, num_latents=NUM_LATENTS)
    encode = Encoder(
        processor,
        image_token_id=processor.image_token_id,
        num_image_tokens=NUM_LATENTS,
        question_end_id=processor.question_end_token_id,
        max_length=900,
    )
    for prompt in ("what colour?", "what is <|assistant|> <|im_start|> <image>?"):
        (encoded,) = encode([Item(source="x", prompt=prompt, answer="red", picture={})])
        text = tokenizer.decode([label for label in encoded.labels if label != IGNORED])
        assert text.removeprefix("assistant").strip() == f"red{tokenizer.eos_token}"


def test_text_first_puts_the_image_behind_the_question() -> None:
    (encoded,) = encoder(image_order="text_first")([question()])
    text = PROCESSOR.tokenizer.decode(encoded.input_ids)
    assert "why?\n" + "<image>" * NUM_LATENTS + "<|end|>" in text
    assert learned(encoded) == "because<|endoftext|>"


def test_caption_learns_everything_but_start_and_image() -> None:
    first, last = encoder()([caption(" a cat ")])[0], encoder(image_order="text_first")([caption("a cat")])[0]
    end = PROCESSOR.tokenizer.convert_tokens_to_ids("<|endofchunk|>")
    assert learned(first) == learned(last) == "a cat<|endofchunk|><|endoftext|>"
    assert [label for label in first.labels if label != IGNORED][-2:] == [end, PROCESSOR.tokenizer.eos_token_id]
    image = [PROCESSOR.image_token_id] * NUM_LATENTS
    assert first.input_ids[1 : 1 + NUM_LATENTS] == image
    assert last.input_ids[-2 - NUM_LATENTS : -2] == image


def test_a_cut_caption_does_not_teach_to_stop() -> None:
    (cut,) = encoder(max_length=8)([caption("a very long caption")])
    (as_original,) = encoder(max_length=8, truncation="original")([caption("a very long caption")])
    assert len(cut.input_ids) == len(as_original.input_ids) == 8 + NUM_LATENTS - 1
    eos = PROCESSOR.tokenizer.eos_token_id
    assert eos not in cut.labels
    assert as_original.labels[-1] == eos


@pytest.mark.parametrize("truncation", ["open", "original"])
def test_a_sample_exactly_as_long_as_allowed_is_whole(truncation: str) -> None:
    """Nothing is cut; with one token less it loses its end, or, as in the original, the token before it."""
    item = caption("a caption")
    (whole,) = encoder(max_length=400)([item])
    length = len(whole.input_ids) - (NUM_LATENTS - 1)
    (exact,) = encoder(max_length=length, truncation=truncation)([item])
    assert exact.input_ids == whole.input_ids
    (cut,) = encoder(max_length=length - 1, truncation=truncation)([item])
    if truncation == "open":
        assert cut.input_ids == whole.input_ids[:-2]
    else:
        assert cut.input_ids == [*whole.input_ids[:-2], whole.input_ids[-1]]


def test_a_cut_answer_ends_as_truncation_says() -> None:
    length = len(encoder()([question(with_image=False)])[0].input_ids)
    (open_end,) = encoder(max_length=length - 4)([question(with_image=False)])
    (original,) = encoder(max_length=length - 4, truncation="original")([question(with_image=False)])
    assert (learned(open_end), learned(original)) == ("beca", "bec<|endoftext|>")


def adding_tokenizer() -> Any:
    """One that puts its own marks around a text wherever it may: `<s>` before it, the question's end behind it."""
    from tokenizers.processors import TemplateProcessing

    tokenizer, end = phi3_style_tokenizer(), PROCESSOR.tokenizer.convert_ids_to_tokens(PROCESSOR.question_end_token_id)
    marks = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<s>", end)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"<s> $A {end}", special_tokens=marks)
    return tokenizer


def test_a_tokenizer_s_own_marks_stay_out() -> None:
    processor = AkiProcessor(AkiImageProcessor(size=28), adding_tokenizer(), num_latents=NUM_LATENTS)
    assert len(processor.tokenizer("why?")["input_ids"]) == 2 + len(PROCESSOR.tokenizer("why?")["input_ids"])
    encode = Encoder(
        processor,
        image_token_id=PROCESSOR.image_token_id,
        num_image_tokens=NUM_LATENTS,
        question_end_id=PROCESSOR.question_end_token_id,
        max_length=400,
    )
    assert encode([question()]) == encoder()([question()])


def test_a_picture_may_have_a_turn_of_its_own() -> None:
    """Then a question with one holds an end more than a question without."""

    def template(conversation: Any, **settings: Any) -> str:
        image = "<|user|>\n<image><|end|>\n" if {"type": "image"} in conversation[0]["content"] else ""
        return f"{image}<|user|>\n\x00<|end|>\n<|assistant|>\n"

    own_turn = SimpleNamespace(tokenizer=PROCESSOR.tokenizer, apply_chat_template=template)
    end = PROCESSOR.tokenizer.convert_tokens_to_ids("<|end|>")
    encode = Encoder(
        own_turn,
        image_token_id=PROCESSOR.image_token_id,
        num_image_tokens=NUM_LATENTS,
        question_end_id=end,
        max_length=99,
    )
    for with_image in (True, False):
        (encoded,) = encode([question(with_image=with_image)])
        assert learned(encoded).removeprefix("<|assistant|>") == "because<|endoftext|>"


def test_a_text_is_turned_into_ids_once_and_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample is measured before it is dealt and encoded afterwards; a corpus does not fit into the memory."""
    monkeypatch.setattr("train.data.collate.MOST_KNOWN", 3)
    encode, asked = encoder(), []
    tokenizer = encode.tokenizer
    encode.tokenizer = type(
        "Asked",
        (),
        {
            "__call__": lambda self, texts, **settings: asked.append(len(texts)) or tokenizer(texts, **settings),
            "__getattr__": lambda self, name: getattr(tokenizer, name),
        },
    )()
    for _ in range(2):
        encode([question("one"), question("two"), question("two")])
    assert asked == [2]
    for prompt in ("three", "four", "five"):
        encode([question(prompt)])
    encode([question("one")])
    assert asked == [2, 1, 1, 1, 1]


def test_a_mark_in_the_text_is_no_image() -> None:
    (encoded,) = encoder()([question(prompt="what is <image> here?", answer="<image>")])
    assert encoded.input_ids.count(PROCESSOR.image_token_id) == NUM_LATENTS


def test_a_question_cut_before_its_end_is_reported() -> None:
    items = [question(prompt="long " * 50, answer="because " * 20), question()]
    batch = Collator(encoder=encoder(max_length=20))(items)
    assert (batch["labels"] == IGNORED).all()
    assert [skip.reason for skip in batch["notes"].skipped] == ["nothing left to learn after truncation"] * 2
    assert [skip.record for skip in batch["notes"].skipped] == [("because " * 20)[:80], "because"]


def test_batches_are_padded_to_their_longest_sample() -> None:
    items = [question("?"), question("a longer question"), question("?", with_image=False)]
    items = [Item(**{**vars(item), "picture": {"pixel_values": torch.ones(3, 2, 2)} if item.picture == {} else None})
             for item in items]  # fmt: skip
    batch = Collator(encoder=encoder())(items)
    lengths = batch["attention_mask"].sum(1)
    assert batch["input_ids"].shape[1] == lengths.max()
    assert batch["pixel_values"].shape == (2, 3, 2, 2)  # text-only samples cost no vision
    assert (batch["labels"][batch["attention_mask"] == 0] == IGNORED).all()
    notes = batch["notes"]
    assert notes.num_tokens == int(lengths.sum())
    assert notes.num_positions == 3 * int(lengths.max())
    assert (notes.num_samples, notes.num_images, notes.skipped) == (3, 2, ())
    assert set(batch) == {"input_ids", "attention_mask", "labels", "pixel_values", "notes"}
    assert Collator(encoder=encoder(), pad_to=300)(items)["input_ids"].shape == (3, 300)


def test_a_process_without_samples_gets_a_blank_row() -> None:
    blank = {"pixel_values": torch.zeros(3, 28, 28)}
    batch = Collator(encoder=encoder(), blank=blank)([])
    assert batch["input_ids"].shape[0] == 1
    assert (batch["labels"] == IGNORED).all()
    assert batch["pixel_values"].shape == (1, 3, 28, 28)
    assert (batch["notes"].num_samples, batch["notes"].num_tokens) == (0, 0)


def test_a_batch_without_a_picture_gets_a_blank_row_behind_its_own() -> None:
    blank = {"pixel_values": torch.zeros(3, 28, 28)}
    collate = Collator(encoder=encoder(), blank=blank)
    (row,) = collate([])["input_ids"].tolist()
    batch = collate([question("?", with_image=False), question("??", with_image=False)])
    assert batch["input_ids"].shape[0] == 3
    assert batch["input_ids"][2, : len(row)].tolist() == row
    assert (batch["labels"][2] == IGNORED).all()
    assert (batch["labels"][:2] != IGNORED).any(1).all()
    assert (batch["notes"].num_samples, batch["notes"].num_images) == (2, 0)
    seen = [replace(question("?"), picture=blank), question("??", with_image=False)]
    assert collate(seen)["input_ids"].shape[0] == 2


def test_captions_as_questions_end_with_their_last_token() -> None:
    batch = Collator(encoder=encoder(), captions_as_questions=True)([caption("a cat"), caption("a")])
    types, lengths = batch["mm_token_type_ids"], batch["attention_mask"].sum(1).tolist()
    assert types.shape == batch["input_ids"].shape
    for row, ids, length in zip(types.tolist(), batch["input_ids"].tolist(), lengths, strict=True):
        assert [place for place, kind in enumerate(row) if kind == QUESTION_END] == [length - 1]
        places = [place for place, token in enumerate(ids) if token == PROCESSOR.image_token_id]
        assert [place for place, kind in enumerate(row) if kind == IMAGE] == places


def test_original_augmentation_moves_what_a_box_names() -> None:
    """Why it is off by default: with a mark in one corner, most crops and mirrors move it."""
    image = Image.new("L", (40, 40))
    image.putpixel((1, 1), 255)
    kept = sum(augment(image, random.Random(seed)).getpixel((1, 1)) == 255 for seed in range(100))
    assert kept < 30


# Captions


def write_shard(path: Path, keys: range, broken: tuple[int, ...] = ()) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for key in keys:
            picture = b"no picture" if key in broken else buffer.getvalue()
            for extension, content in (("png", picture), ("txt", f"caption {key}".encode())):
                entry = tarfile.TarInfo(f"{key:06d}.{extension}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight shards of 10 to 17 records; record 3 is broken."""
    root = tmp_path_factory.mktemp("captions")
    start = 0
    for number in range(8):
        write_shard(root / f"{number}.tar", range(start, start + 10 + number), broken=(3,))
        start += 10 + number
    return find_shards(root)


def stream(shards: list[Path], **settings: Any) -> CaptionStream:
    defaults: dict[str, Any] = {"num_streams": 4, "seed": 5, "shuffle_block": 4}
    return CaptionStream(shards, "kale", image_processor=PROCESSOR.image_processor, **{**defaults, **settings})


def take(items: Iterator[Item], count: int) -> list[Item]:
    return [next(items) for _ in range(count)]


def captions(items: list[Item]) -> list[str]:
    return [item.answer for item in items]


def dealt(shards: list[Path], world_size: int, workers: int, slots: int, num_steps: int, first: int = 0) -> list[Any]:
    """The captions of each step, whichever process and micro-batch they are in. Eight samples a step."""
    taken: list[set[str]] = [set() for _ in range(num_steps)]
    for rank in range(world_size):
        read = stream(shards, lane=Lane(rank=rank, world_size=world_size), first_sample=8 * first)
        loader = iter(CaptionBatches(read, captions, batch_size=8, slots=slots, workers=workers))
        for step in taken:
            for _ in range(slots):
                step |= set(next(loader))
    return taken


def test_an_epoch_has_every_record_once(shards: list[Path]) -> None:
    total = sum(range(10, 18))
    one = stream(shards, num_streams=1)
    items = take(iter(one), 2 * (total - 1))
    first, second = captions(items[: total - 1]), captions(items[total - 1 :])
    expected = {f"caption {number}" for number in range(total)} - {"caption 3"}
    assert len(first) == len(set(first))
    assert set(first) == set(second) == expected
    assert first != second


@pytest.mark.parametrize(("world_size", "workers", "slots"), [(1, 0, 4), (2, 0, 1), (4, 0, 3), (1, 2, 2), (2, 2, 2)])
def test_who_reads_has_no_part_in_which_captions_a_step_has(
    shards: list[Path], world_size: int, workers: int, slots: int
) -> None:
    alone = dealt(shards, 1, 0, 1, 10)
    assert [len(step) for step in alone] == [8] * 10
    assert dealt(shards, world_size, workers, slots, 10) == alone


def test_a_batch_that_processes_do_not_divide() -> None:
    """Ten samples a step for four processes: three or two each, in turns."""
    shares = []
    for rank in range(4):
        read = SimpleNamespace(lane=Lane(rank=rank, world_size=4), first_sample=0)
        made = CaptionBatches(cast(Any, read), captions, batch_size=10, slots=1)
        shares.append([made._share(start) for start in (0, 10, 20)])
    assert [sum(step) for step in zip(*shares, strict=True)] == [10, 10, 10]
    assert shares == [[3, 2, 3], [3, 2, 3], [2, 3, 2], [2, 3, 2]]


@pytest.mark.parametrize("done", [0, 10, 62])
def test_resumed_streams_go_on_where_they_stood(shards: list[Path], done: int) -> None:
    """After `done` samples, with another number of processes."""
    whole = take(iter(stream(shards)), 120)
    positions = dict(item.position for item in whole[:done] if item.position)
    positions = {number: json.loads(json.dumps(place)) for number, place in positions.items()}
    resumed = [
        iter(stream(shards, lane=Lane(rank=rank, world_size=2), first_sample=done, positions=positions))
        for rank in range(2)
    ]
    texts = [text for number in range(32) for text in captions(take(resumed[number % 2], 1))]
    assert texts == captions(whole[done : done + 32])


def test_broken_records_are_listed(shards: list[Path]) -> None:
    skips = [skip for item in take(iter(stream(shards, num_streams=1)), 100) for skip in item.skipped]
    assert [skip.record for skip in skips] == ["000003"]
    assert skips[0].source.endswith("0.tar")
    assert "UnidentifiedImageError" in skips[0].reason


def test_streams_must_divide_among_the_readers(shards: list[Path]) -> None:
    with pytest.raises(UserError, match="4 streams cannot be divided among 3 processes"):
        next(iter(stream(shards, lane=Lane(rank=0, world_size=3))))
    assert stream(shards, num_streams=16).num_streams == 8  # there are eight shards
    assert streams_of(100, 384) == 96


@pytest.mark.parametrize(
    ("world_size", "wanted", "given"), [(8, 4, 4), (24, 4, 4), (64, 4, 3), (128, 4, 3), (96, 0, 0)]
)
def test_workers_fit_the_streams(world_size: int, wanted: int, given: int) -> None:
    assert Machine(micro_batch=8, workers=wanted).readers(384, world_size) == given
    with pytest.raises(UserError, match="384 caption streams cannot be divided among 100 processes"):
        Machine(micro_batch=8, workers=wanted).readers(384, 100)


def test_a_shard_that_ends_early(tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar"
    write_shard(whole, range(30))
    check_shard(whole)
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole.read_bytes()[:20_000])
    with pytest.raises(UserError, match=r"cut\.tar: the shard ends early"):
        next(iter(stream([cut], num_streams=1)))
    with pytest.raises(UserError, match=r"no \*\.tar shard here"):
        find_shards(tmp_path / "nowhere")


def test_ocr_takes_level_1(tmp_path: Path) -> None:
    from train.data.captions import CAPTIONS

    entries = [
        {"text": "three", "granularity": 3},
        {"text": "none", "granularity": 0},
        {"text": "one", "granularity": 1},
    ]

    def read(**files: Any) -> str:
        encoded = {name: json.dumps(content).encode() for name, content in files.items()}
        return CAPTIONS["ocr"](ShardRecord(shard=tmp_path, key="1", files=encoded))

    assert read(txt=entries) == "one"
    assert read(json=[{"text": "first"}, {"text": "second"}]) == "second"
    metadata = {"url": "x", "key": "1"}  # as img2dataset writes it, with or without the captions' column
    assert read(json=metadata | {"captions": json.dumps(entries)}) == "one"
    assert read(json=metadata | {"captions": entries}) == "one"
    assert read(json=metadata, txt=entries) == "one"
    for unusable in ({"json": metadata}, {"txt": [{"granularity": 1, "text": None}]}, {"json": [1, 2]}, {"json": "x"}):
        with pytest.raises(UnusableRecord):
            read(**unusable)


def test_a_template_without_the_question_end_is_refused() -> None:
    with pytest.raises(UserError, match="never sends token"):
        Encoder(
            PROCESSOR,
            image_token_id=PROCESSOR.image_token_id,
            num_image_tokens=NUM_LATENTS,
            question_end_id=PROCESSOR.tokenizer.eos_token_id,
            max_length=99,
        )


def picture(size: tuple[int, int] = (8, 8), kind: str = "PNG", **settings: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(buffer, kind, **settings)
    return buffer.getvalue()


def turned(damaged: bool = False) -> bytes:
    """A JPEG of 8 x 4 that its Exif block turns upright to 4 x 8; or one whose Exif block is cut short."""
    exif = Image.Exif()
    exif[0x0112] = 6
    content = exif.tobytes()
    return picture((8, 4), "JPEG", exif=content[: len(content) - 9] if damaged else content)


def of_size(png: bytes, side: int) -> bytes:
    """A PNG whose header says so; what is too large is refused by its header."""
    head = b"IHDR" + struct.pack(">II", side, side) + png[24:29]
    return png[:12] + head + struct.pack(">I", zlib.crc32(head)) + png[33:]


def archive(path: Path, files: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            shard.addfile(entry, io.BytesIO(content))
    return path


TEXT = ("txt", b"a dog")
USABLE = {
    "plain": [("jpg", picture(kind="JPEG")), TEXT],
    "capital extension": [("JPG", picture(kind="JPEG")), ("TXT", b"a dog")],
    "jpeg": [("jpeg", picture(kind="JPEG")), TEXT],
    "png among jpg": [("png", picture()), TEXT],
    "webp": [("webp", picture(kind="WEBP")), TEXT],
    "a PNG that is called jpg": [("jpg", picture()), TEXT],
    "byte order mark": [("png", picture()), ("txt", b"\xef\xbb\xbfa dog")],
    "metadata that is no JSON": [("png", picture()), TEXT, ("json", b"{")],
    "turned": [("jpg", turned()), TEXT],
    "damaged Exif": [("jpg", turned(damaged=True)), TEXT],
    "further files": [("png", picture()), TEXT, ("cls", b"3"), ("mask.png", b"?")],
}
UNUSABLE = {
    "no caption": ([("png", picture())], "no caption: no txt among ['png']"),
    "empty caption": ([("png", picture()), ("txt", b" \n")], "the caption is empty"),
    "not UTF-8": ([("png", picture()), ("txt", b"caf\xe9")], "txt is not UTF-8"),
    "no picture": ([TEXT], "no picture among ['txt']"),
    "empty picture": ([("png", b""), TEXT], "png: UnidentifiedImageError"),
    "cut picture": ([("jpg", picture((64, 64), "JPEG")[:400]), TEXT], "jpg: "),
    "broken PNG": ([("png", picture()[:20] + bytes(8) + picture()[28:]), TEXT], "png: "),
    "bomb": ([("png", of_size(picture(), 20_000)), TEXT], "png: ValueError: the picture is too large"),
    "given twice": ([("png", picture()), TEXT, ("txt", b"a cat")], "two files txt of one name"),
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One shard of everything that people's shards hold."""
    records = [*USABLE.items(), *((name, files) for name, (files, _) in UNUSABLE.items())]
    files = [(f"part/{name}.{extension}", content) for name, record in records for extension, content in record]
    files.insert(4, ("part/._plain.jpg", b"resource fork"))
    return archive(tmp_path_factory.mktemp("mixed") / "0.tar", files)


def test_every_usable_record_is_trained_and_every_other_is_named(mixed: Path) -> None:
    skips = {skip.record.removeprefix("part/"): skip.reason for skip in unusable_records(mixed, "kale")}
    assert set(skips) == set(UNUSABLE)
    for name, (_, reason) in UNUSABLE.items():
        assert skips[name].startswith(reason), (name, skips[name])
    items = take(iter(stream([mixed], num_streams=1)), 2 * len(USABLE))
    assert set(captions(items)) == {"a dog"}
    assert Counter(skip.record for item in items for skip in item.skipped).keys() <= {
        f"part/{name}" for name in UNUSABLE
    }
    assert max(item.position[1][0] for item in items if item.position) == 1  # no record of the shard was lost


def test_pictures_stand_upright_whatever_reads_them(mixed: Path, tmp_path: Path) -> None:
    from train.data.pictures import read_picture

    records = {record.key.removeprefix("part/"): record for record in read_shard(mixed)}
    for name, size in (("turned", (4, 8)), ("damaged Exif", (8, 4))):
        content = records[name].files["jpg"]
        (tmp_path / "a.jpg").write_bytes(content)
        assert read_picture(io.BytesIO(content)).size == read_picture(tmp_path / "a.jpg").size == size


def test_a_shard_without_records_is_found_before_anything_is_read(tmp_path: Path) -> None:
    empty = archive(tmp_path / "0.tar", [])
    with pytest.raises(UserError, match=r"0\.tar: the shard is empty"):
        stream([empty], num_streams=1)


def test_a_shard_that_breaks_off_while_training_costs_what_is_behind(tmp_path: Path) -> None:
    """Two shards; of one, damage in the middle appears after training has begun."""
    write_shard(tmp_path / "0.tar", range(6))
    write_shard(tmp_path / "1.tar", range(6, 12))
    made = stream(find_shards(tmp_path), num_streams=1, shuffle_block=1)
    content = bytearray((tmp_path / "0.tar").read_bytes())
    content[6 * 1024 : 6 * 1024 + 512] = b"\xff" * 512
    (tmp_path / "0.tar").write_bytes(content)
    items = take(iter(made), 20)
    assert {"caption 0", "caption 11"} <= set(captions(items))
    assert any("breaks off" in skip.reason for item in items for skip in item.skipped)


def test_positions_of_streams_that_were_not_read_again_stay(shards: list[Path], tmp_path: Path) -> None:
    from train.trainer import saved_positions

    (tmp_path / "positions.rank0.json").write_text(json.dumps({"0": [1, 0, 2], "1": [0, 1, 3]}))
    (tmp_path / "positions.rank1.json").write_text(json.dumps({"0": [0, 1, 9], "1": [0, 2, 0], "2": [0, 0, 1]}))
    assert saved_positions(tmp_path) == {0: (1, 0, 2), 1: (0, 2, 0), 2: (0, 0, 1)}
