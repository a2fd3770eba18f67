"""Caption shards (webdataset tars) as an endless stream, exact to the sample.

The shards are dealt to a fixed number of *streams*, whatever the number of processes and workers. Sample number n of
the stage comes from stream n modulo the number of streams, and process r of p takes the samples n = r modulo p. So the
samples of a step depend on the seed alone, not on processes, workers or micro-batches; no sample is read twice or left
out within a stream's epoch, and a run can be resumed with another number of processes or workers. Every item carries
its stream's position; the trainer saves the last ones in the checkpoint.

Order: shards are shuffled by (seed, epoch), records are shuffled within blocks of a shard by (seed, epoch, shard,
block).
"""

from __future__ import annotations

import io
import json
import random
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from PIL import Image

from benchmarks.errors import UserError

from .dealing import even_rows
from .held_out import HeldOut, Split, chosen
from .pictures import UnreadablePicture, read_picture, to_pixels
from .samples import Item, Skip
from .shards import Shard, ShardCache

CaptionKind = Literal["kale", "ocr"]
PICTURES = ("jpg", "jpeg", "png", "webp")
END_OF_TAR = bytes(1024)
NAME = re.compile(r"(?P<key>(?:.*/)?[^./]+)\.(?P<extension>[^/]+)", re.DOTALL)
"""Hidden files (those that macOS puts beside others, say) have no key and belong to no record."""
MOST_IN_A_ROW = 1000
MOST_PASSED_OVER = 10_000
Batch = dict[str, Any]


class Position(NamedTuple):
    """Where a stream stands: epoch, number of the shard in the epoch's order, records of that shard already used."""

    epoch: int = 0
    shard: int = 0
    record: int = 0


@dataclass(frozen=True, kw_only=True)
class Lane:
    """Which process of how many reads."""

    rank: int = 0
    world_size: int = 1


class CaptionStream(torch.utils.data.IterableDataset[Item]):
    """Items of one process, one after the other.

    Args:
        shards: tar files, in a fixed order.
        kind: how the caption is read.
        num_streams: at most; see `streams_of`.
        first_sample: of the stage, over all processes; more than 0 when resuming.
        positions: of the streams when resuming.
        split: records that are passed over; None: all are read.
        cache: where remote shards are fetched to.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        kind: CaptionKind,
        *,
        image_processor: Any,
        num_streams: int,
        seed: int,
        shuffle_block: int = 512,
        lane: Lane | None = None,
        first_sample: int = 0,
        positions: Mapping[int, Position] | None = None,
        split: Split | None = None,
        cache: ShardCache | None = None,
    ) -> None:
        for shard in shards:
            if isinstance(shard, Path):
                check_shard(shard)
        self.shards = list(shards)
        self.read_caption = CAPTIONS[kind]
        self.kind = kind
        self.image_processor = image_processor
        self.num_streams = streams_of(len(shards), num_streams)
        self.seed = seed
        self.shuffle_block = shuffle_block
        self.lane = lane or Lane()
        self.first_sample = first_sample
        self.split = split
        self.cache = cache or ShardCache(Path(".aki/shards"))
        self.positions = {number: Position(*position) for number, position in (positions or {}).items()}

    def __iter__(self) -> Iterator[Item]:
        worker = torch.utils.data.get_worker_info()
        number, num_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        rank, world_size = self.lane.rank, self.lane.world_size
        step = world_size * num_workers
        if self.num_streams % step:
            raise UserError(
                f"{self.num_streams} streams cannot be divided among {world_size} processes of {num_workers} workers; "
                f"{readers_for(self.num_streams)}"
            )
        streams: dict[int, Iterator[Item]] = {}
        sample = self.first_sample + (rank - self.first_sample) % world_size + world_size * number
        while True:
            stream = sample % self.num_streams
            if stream not in streams:
                streams[stream] = self._items(stream, self.positions.get(stream, Position()))
            yield next(streams[stream])
            sample += step

    def _items(self, stream: int, start: Position) -> Iterator[Item]:
        """Usable samples of one stream, endlessly; what could not be used goes with the next one that could."""
        skipped: list[Skip] = []
        since_last = passed_over = 0
        for record, position in self._records(stream, start):
            if self._is_held_out(record):
                passed_over += 1
                if passed_over > MOST_PASSED_OVER:
                    raise UserError(f"validation: all of {record.shard} and more is held out; lower the share")
                continue
            passed_over = 0
            try:
                item = self._item(record)
            except UnusableRecord as error:
                skipped.append(Skip(source=str(record.shard), record=record.key, reason=str(error)))
                since_last += 1
                if since_last > MOST_IN_A_ROW:
                    raise UserError(
                        f"{MOST_IN_A_ROW} records in a row could not be used, the last {record.key} of {record.shard} "
                        f"({error}); is this {self.kind} data?"
                    ) from error
                continue
            yield replace(item, skipped=tuple(skipped), position=(stream, position))
            skipped, since_last = [], 0

    def _is_held_out(self, record: ShardRecord) -> bool:
        """By its picture's bytes: whatever shard it lies in, and how often."""
        name = _picture_name(record)
        return self.split is not None and name is not None and self.split.holds_out(record.files[name])

    def held_out(self, samples: int) -> list[HeldOut]:
        """Up to so many usable held-out records, the first ones of the shards in their order.

        Raises:
            UserError: there is none.
        """
        assert self.split is not None, "asked only of what is split"
        records = chosen(self._usable_held_out(), samples, self.kind, self.split.share)
        return [HeldOut(self.kind, 1.0, len(records), lambda number: self._item(records[number]))]

    def _usable_held_out(self) -> Iterator[ShardRecord]:
        for record in chain.from_iterable(map(self._read, self.shards)):
            if self._is_held_out(record):
                with suppress(UnusableRecord):
                    self._item(record)
                    yield record

    def _item(self, record: ShardRecord) -> Item:
        """Raises UnusableRecord."""
        return Item(
            prompt=None,
            answer=self.read_caption(record),
            picture={"pixel_values": to_pixels(self.image_processor, _picture(record))},
            source=self.kind,
        )

    def _records(self, stream: int, start: Position) -> Iterator[tuple[ShardRecord, Position]]:
        """Records with the position after each."""
        epoch, shard, used = start
        while True:
            order = random.Random(f"{self.seed} {epoch}").sample(range(len(self.shards)), len(self.shards))
            mine = order[stream :: self.num_streams]
            read_any = shard > 0 or used > 0
            while shard < len(mine):
                self.cache.ahead(self.shards[mine[(shard + 1) % len(mine)]])
                for record in self._shuffled(mine[shard], epoch, used):
                    used, read_any = used + 1, True
                    yield record, Position(epoch, shard, used)
                shard, used = shard + 1, 0
            if not read_any:
                raise UserError(f"{self.shards[mine[0]]}: no record in it, nor in any other shard of a stream")
            epoch, shard = epoch + 1, 0

    def _read(self, shard: Shard, start: int = 0) -> Iterator[ShardRecord]:
        """A remote shard that is no archive costs its records, and is named; nobody could have known."""
        while True:
            try:
                yield from read_shard(self.cache.local(shard), start, shown=shard)
            except NoArchive as error:  # before the first record
                if isinstance(shard, Path):
                    raise
                if isinstance(error.__cause__, FileNotFoundError):
                    continue  # it made room for another one before it was opened
                if start == 0:
                    yield ShardRecord(shard=shard, key="?", files={}, fault=str(error))
            return

    def _shuffled(self, shard: int, epoch: int, used: int) -> Iterator[ShardRecord]:
        """The records of a shard, block by block in shuffled order, `used` of them left out."""
        block, offset = divmod(used, self.shuffle_block)
        records = self._read(self.shards[shard], start=block * self.shuffle_block)
        while part := list(islice(records, self.shuffle_block)):
            random.Random(f"{self.seed} {epoch} {shard} {block}").shuffle(part)
            yield from part[offset:]
            block, offset = block + 1, 0


class CaptionBatches(torch.utils.data.IterableDataset[Batch]):
    """A process's micro-batches of a caption stage: its samples of each step, cut into `slots` of like size.

    Workers read and decode samples; they are put together here, so that their number and the size of a micro-batch
    have no part in which samples belong to a step.
    """

    def __init__(
        self,
        stream: CaptionStream,
        collate: Callable[[Sequence[Item]], Batch],
        *,
        batch_size: int,
        slots: int,
        workers: int = 0,
    ) -> None:
        self.stream = stream
        self.collate = collate
        self.batch_size = batch_size
        self.slots = slots
        self.workers = workers

    def __iter__(self) -> Iterator[Batch]:
        most = -(-self.batch_size // (self.stream.lane.world_size * self.slots))
        loader = torch.utils.data.DataLoader(
            self.stream,
            batch_size=None,
            num_workers=self.workers,
            collate_fn=as_it_is,
            prefetch_factor=2 * most if self.workers else None,
        )
        items = iter(loader)
        start = self.stream.first_sample
        while True:
            for rows in even_rows(range(self._share(start)), self.slots):
                yield self.collate([next(items) for _ in rows])
            start += self.batch_size

    def _share(self, start: int) -> int:
        """How many of the samples start, start + 1, ... of a step are this process's."""
        rank, world_size = self.stream.lane.rank, self.stream.lane.world_size
        return len(range(start + (rank - start) % world_size, start + self.batch_size, world_size))


def as_it_is(item: Any) -> Any:
    """In the place of a collate function: the loader's own would convert what is in the item."""
    return item


def streams_of(num_shards: int, at_most: int) -> int:
    """The largest divisor of `at_most` that the shards suffice for: what fits among many numbers of processes stays so.

    Of data and recipe alone, so that the order of samples does not depend on who reads.
    """
    return max(n for n in range(1, min(num_shards, at_most) + 1) if at_most % n == 0)


def readers_for(num_streams: int) -> str:
    """What a user may choose instead."""
    fitting = [str(n) for n in range(1, num_streams + 1) if num_streams % n == 0]
    return f"processes times workers may be {', '.join(fitting)}; or set the stage's `streams` to a multiple"


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """Files of a shard that share a name: by extension (in small letters), each as it lies there, undecoded."""

    shard: Shard
    key: str
    files: Mapping[str, bytes]
    fault: str | None = None
    """Why nothing can be made of it, where the shard itself says so."""


class NoArchive(UserError):
    """A shard that is no tar archive at all."""


class UnusableRecord(ValueError):
    """A record that cannot be trained on; its text says why. The next one takes its place."""


def read_shard(path: Path, start: int = 0, shown: Shard | None = None) -> Iterator[ShardRecord]:
    """Records of a shard from number `start` on. Nothing is decoded, so that no record can spoil another.

    A record is what webdataset takes for one: neighbouring files whose names agree up to the first dot behind the last
    slash. A file that stands twice in a record makes it unusable; where the archive breaks off, a last record says so.

    Args:
        path: where it lies.
        start: number of the first record.
        shown: what the shard is called, where that is not its path.

    Raises:
        NoArchive: the file is missing or no tar archive at all.
    """
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(tarfile.open(path, "r:"))
        except (OSError, tarfile.TarError) as error:
            raise NoArchive(f"{shown or path}: not a webdataset shard ({error})") from error
        yield from islice(_grouped(shown or path, archive), start, None)


def _grouped(path: Shard, archive: tarfile.TarFile) -> Iterator[ShardRecord]:
    key: str | None = None
    files: dict[str, bytes] = {}
    fault: str | None = None
    try:
        for member in archive:
            found = NAME.fullmatch(member.name)
            if not member.isfile() or found is None:
                continue
            if key is not None and found["key"] != key:
                yield ShardRecord(shard=path, key=key, files=files, fault=fault)
                files, fault = {}, None
            key, extension = found["key"], found["extension"].lower()
            if extension in files:
                fault = f"two files {extension} of one name"
            content = archive.extractfile(member)
            files[extension] = content.read() if content is not None else b""
        _refuse_damaged_header(archive)
    except (OSError, tarfile.TarError, EOFError) as error:
        yield ShardRecord(shard=path, key=key or "?", files={}, fault=f"the shard breaks off here ({error})")
        return
    if key is not None:
        yield ShardRecord(shard=path, key=key, files=files, fault=fault)


def _refuse_damaged_header(archive: tarfile.TarFile) -> None:
    """Tarfile takes a header that it cannot read for the end of the archive; the end is a block of zeros.

    Raises:
        tarfile.ReadError: something else stands where the archive was left.
    """
    assert archive.fileobj is not None, "the archive is open"
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"no header at byte {archive.offset}")


def check_shard(path: Path) -> None:
    """Looks at a shard's two ends. A tar file ends with two empty blocks; one that was cut off does not.

    Raises:
        UserError: the file cannot be read, ends early or holds nothing.
    """
    try:
        with path.open("rb") as file:
            begins = file.read(512)
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - len(END_OF_TAR)))
            whole = file.read() == END_OF_TAR
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if not whole:
        raise UserError(f"{path}: the shard ends early ({size} bytes, no end-of-archive mark); download it again")
    if not any(begins):
        raise UserError(f"{path}: the shard is empty; download it again, or delete it")


def unusable_records(path: Path, kind: CaptionKind) -> Iterator[Skip]:
    """Every record of a shard that training would leave out, with the reason. Decodes every picture.

    Raises:
        UserError: no tar archive.
    """
    for record in read_shard(path):
        try:
            CAPTIONS[kind](record)
            _picture(record)
        except UnusableRecord as error:
            yield Skip(source=str(path), record=record.key, reason=str(error))


def _kale(record: ShardRecord) -> str:
    return _caption(_text(_file(record, "txt"), "txt"))


def _ocr(record: ShardRecord) -> str:
    """Level 1 of BLIP3-OCR: the entry of granularity 1, or the second one where entries carry no granularity.

    The entries stand in `json` or `txt`, or, as img2dataset writes further columns, in `captions` of its `json`.
    """
    reasons = []
    for extension in ("json", "txt"):
        if extension in record.files:
            try:
                return _level_1(_entries(_text(record.files[extension], extension)))
            except UnusableRecord as error:
                reasons.append(f"{extension}: {error}")
    if record.fault or not reasons:
        _file(record, "json")
    raise UnusableRecord("; ".join(reasons))


def _entries(text: str) -> list[Any]:
    try:
        content = json.loads(text)
        if isinstance(content, dict):  # img2dataset's own columns, the captions among them
            content = content.get("captions")
            content = json.loads(content) if isinstance(content, str) else content
    except (ValueError, RecursionError) as error:
        raise UnusableRecord(f"not JSON ({error})") from None
    if not isinstance(content, list):
        raise UnusableRecord("no list of captions by granularity")
    return content


def _level_1(entries: list[Any]) -> str:
    if not all(isinstance(entry, dict) for entry in entries):
        raise UnusableRecord("the captions are no objects with a granularity and a text")
    level_1 = [entry for entry in entries if entry.get("granularity") == 1]
    found = (level_1 or entries[1:2] or [{}])[0]
    return _caption(found.get("text"))


def _file(record: ShardRecord, extension: str) -> bytes:
    if record.fault:
        raise UnusableRecord(record.fault)
    if extension not in record.files:
        raise UnusableRecord(f"no caption: no {extension} among {sorted(record.files)}")
    return record.files[extension]


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableRecord(f"{what} is not UTF-8 ({error.reason} at byte {error.start})") from None


def _caption(text: Any) -> str:
    if not isinstance(text, str):
        raise UnusableRecord(f"no caption: {text!r:.40}")
    if not text.strip():
        raise UnusableRecord("the caption is empty")
    return text.strip()


def _picture(record: ShardRecord) -> Image.Image:
    if record.fault:
        raise UnusableRecord(record.fault)
    name = _picture_name(record)
    if name is None:
        raise UnusableRecord(f"no picture among {sorted(record.files)}")
    try:
        return read_picture(io.BytesIO(record.files[name]))
    except UnreadablePicture as error:
        raise UnusableRecord(f"{name}: {error}") from None


def _picture_name(record: ShardRecord) -> str | None:
    return next((name for name in PICTURES if name in record.files), None)


CAPTIONS: dict[str, Callable[[ShardRecord], str]] = {"kale": _kale, "ocr": _ocr}
FOLDERS: dict[CaptionKind, str] = {"kale": "captions", "ocr": "ocr"}
"""Of the shards, below the data root."""
