"""Caption shards (webdataset tars) as an endless stream, exact to the sample.

The shards are dealt to a fixed number of *streams*, whatever the number of processes and workers. Micro-batch number
B of the whole run (counted over processes) comes from stream B modulo the number of streams. So the samples of a run
depend on the seed alone, no sample is read twice or left out within a stream's epoch, and a run can be resumed with
another number of processes or workers. Every item carries its stream's position; the trainer saves the last ones in
the checkpoint.

Order: shards are shuffled by (seed, epoch), records are shuffled within blocks of a shard by (seed, epoch, shard,
block).
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from PIL import Image

from benchmarks.errors import UserError

from .pictures import to_pixels
from .samples import Item, Skip

CaptionKind = Literal["kale", "ocr"]
PICTURES = ("jpg", "jpeg", "png", "webp")
END_OF_TAR = bytes(1024)
READ_AHEAD = 32


class Position(NamedTuple):
    """Where a stream stands: epoch, number of the shard in the epoch's order, records of that shard already used."""

    epoch: int = 0
    shard: int = 0
    record: int = 0


@dataclass(frozen=True, kw_only=True)
class Lane:
    """What one process's data loader worker reads: micro-batches start, start + step, ... of the run."""

    rank: int = 0
    world_size: int = 1


class CaptionStream(torch.utils.data.IterableDataset):  # type: ignore[misc]
    """Items of one process, micro-batch after micro-batch.

    Args:
        shards: tar files, in a fixed order.
        kind: how the caption is read.
        micro_batch: samples a process takes at once; each comes from one stream.
        first_micro_batch: of the run, over all processes; more than 0 when resuming.
        positions: of the streams when resuming.
    """

    def __init__(
        self,
        shards: Sequence[Path],
        kind: CaptionKind,
        *,
        image_processor: Any,
        micro_batch: int,
        num_streams: int,
        seed: int,
        shuffle_block: int = 512,
        lane: Lane | None = None,
        first_micro_batch: int = 0,
        positions: Mapping[int, Position] | None = None,
    ) -> None:
        if len(shards) < num_streams:
            raise UserError(
                f"{len(shards)} shards for {num_streams} streams: set `streams` to at most the number of shards"
            )
        self.shards = list(shards)
        self.read_caption = CAPTIONS[kind]
        self.kind = kind
        self.image_processor = image_processor
        self.micro_batch = micro_batch
        self.num_streams = num_streams
        self.seed = seed
        self.shuffle_block = shuffle_block
        self.lane = lane or Lane()
        self.first_micro_batch = first_micro_batch
        self.positions = {number: Position(*position) for number, position in (positions or {}).items()}

    def __iter__(self) -> Iterator[Item]:
        worker = torch.utils.data.get_worker_info()
        number, num_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        step = self.lane.world_size * num_workers
        if self.num_streams % step:
            raise UserError(
                f"{self.num_streams} streams cannot be divided among {self.lane.world_size} processes of {num_workers} "
                "workers: set `streams` to a multiple of both"
            )
        streams: dict[int, Iterator[Item]] = {}
        micro_batch = self.first_micro_batch + self.lane.rank + self.lane.world_size * number
        while True:
            stream = micro_batch % self.num_streams
            if stream not in streams:
                streams[stream] = self._items(stream, self.positions.get(stream, Position()))
            yield from islice(streams[stream], self.micro_batch)
            micro_batch += step

    def _items(self, stream: int, start: Position) -> Iterator[Item]:
        """Readable samples of one stream, endlessly; what could not be read goes with the next one that could."""
        skipped: list[Skip] = []
        since_last = 0
        for record, position in self._records(stream, start):
            try:
                caption, pixels = self.read_caption(record), to_pixels(self.image_processor, _picture(record))
            except (OSError, ValueError, KeyError, IndexError, TypeError, Image.DecompressionBombError) as error:
                reason = f"{type(error).__name__}: {error}"
                skipped.append(Skip(source=str(record["__url__"]), record=str(record["__key__"]), reason=reason))
                since_last += 1
                if since_last > 1000:
                    raise UserError(
                        f"1000 records in a row could not be read, the last {record['__key__']} of {record['__url__']} "
                        f"({reason}); is this {self.kind} data?"
                    ) from error
                continue
            yield Item(
                prompt=None,
                answer=caption,
                picture={"pixel_values": pixels},
                source=self.kind,
                skipped=tuple(skipped),
                position=(stream, position),
            )
            skipped, since_last = [], 0

    def _records(self, stream: int, start: Position) -> Iterator[tuple[dict[str, Any], Position]]:
        """Records with the position after each."""
        epoch, shard, used = start
        while True:
            order = random.Random(f"{self.seed} {epoch}").sample(range(len(self.shards)), len(self.shards))
            mine = order[stream :: self.num_streams]
            read_any = shard > 0 or used > 0
            while shard < len(mine):
                for record in self._shuffled(mine[shard], epoch, used):
                    used, read_any = used + 1, True
                    yield record, Position(epoch, shard, used)
                shard, used = shard + 1, 0
            if not read_any:
                raise UserError(f"{self.shards[mine[0]].parent}: no record in {len(mine)} shards of a stream")
            epoch, shard = epoch + 1, 0

    def _shuffled(self, shard: int, epoch: int, used: int) -> Iterator[dict[str, Any]]:
        """The records of a shard, block by block in shuffled order, `used` of them left out."""
        block, offset = divmod(used, self.shuffle_block)
        records = read_shard(self.shards[shard], start=block * self.shuffle_block)
        while part := list(islice(records, self.shuffle_block)):
            random.Random(f"{self.seed} {epoch} {shard} {block}").shuffle(part)
            yield from part[offset:]
            block, offset = block + 1, 0


def read_shard(path: Path, start: int = 0) -> Iterator[dict[str, Any]]:
    """Records of a shard from number `start` on, pictures as bytes.

    Read in batches on purpose: iterated record by record, a data set of `datasets` deals its shards to the data
    loader's workers once more, so that all workers but the first would find none.

    Raises:
        UserError: the file is missing, ends early or is not a webdataset shard.
    """
    import datasets

    check_shard(path)
    try:
        shard = datasets.load_dataset("webdataset", data_files={"train": [str(path)]}, split="train", streaming=True)
        for name in set(shard.features) & set(PICTURES):
            shard = shard.cast_column(name, datasets.Image(decode=False))
        for batch in (shard.skip(start) if start else shard).iter(READ_AHEAD):
            for values in zip(*batch.values(), strict=True):
                yield dict(zip(batch, values, strict=True))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a webdataset shard ({error})") from error


def check_shard(path: Path) -> None:
    """A tar file ends with two empty blocks; one that was cut off does not.

    `datasets` reads a shard that ends early without a word, half of its last record included.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - len(END_OF_TAR)))
            whole = file.read() == END_OF_TAR
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if not whole:
        raise UserError(f"{path}: the shard ends early ({size} bytes, no end-of-archive mark); download it again")


def find_shards(root: Path) -> list[Path]:
    """The shards of a folder in the order of their names. Raises UserError when there is none."""
    shards = sorted(root.glob("*.tar"))
    if not shards:
        raise UserError(f"{root}: no *.tar shard here")
    return shards


def _kale(record: Mapping[str, Any]) -> str:
    return _text(record["txt"])


def _ocr(record: Mapping[str, Any]) -> str:
    """Level 1 of BLIP3-OCR: the entry of granularity 1, or the second one where entries carry no granularity."""
    raw = record.get("json", record.get("txt"))
    entries = json.loads(raw) if isinstance(raw, str | bytes) else raw
    level_1 = [entry for entry in entries if entry.get("granularity") == 1]
    return _text((level_1 or [entries[1]])[0]["text"])


def _text(raw: Any) -> str:
    text = str(raw.decode() if isinstance(raw, bytes) else raw).strip()
    if not text:
        raise ValueError("empty caption")
    return text


def _picture(record: Mapping[str, Any]) -> Image.Image:
    name = next((name for name in PICTURES if record.get(name) is not None), None)
    if name is None:
        raise ValueError(f"no picture among {sorted(record)}")
    return Image.open(io.BytesIO(record[name]["bytes"])).convert("RGB")


CAPTIONS: dict[str, Callable[[Mapping[str, Any]], str]] = {"kale": _kale, "ocr": _ocr}
FOLDERS = {"kale": "captions", "ocr": "ocr"}
"""Of the shards, below the data root."""
