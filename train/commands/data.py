"""`aki-train data`: is the data sound, and what does it look like?"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from benchmarks.console import PlainConsole
from benchmarks.errors import UserError

from .options import say

T = TypeVar("T")

if TYPE_CHECKING:
    from rich.table import Table

    from ..data.check import SetReport

app = typer.Typer(no_args_is_help=True, help="Check a data root, look at its samples.")

Root = Annotated[Path, typer.Option("--data", help="Data root: the folder that holds vqav2, coco, llava, ...")]
Sets = Annotated[str | None, typer.Option(help="Names of sets, with commas between; all of Table 4 unless given.")]


@app.command()
def check(
    data: Root,
    sets: Sets = None,
    decode: Annotated[int, typer.Option(help="Pictures of each set that are opened and decoded.")] = 100,
    full: Annotated[bool, typer.Option("--full", help="Read every caption shard from end to end.")] = False,
    shards_read: Annotated[int, typer.Option(min=0, help="Caption shards of a kind that are read without --full.")] = 3,
    report: Annotated[Path | None, typer.Option(help="File for the full findings as JSON.")] = None,
) -> None:
    """Validate a data root: annotations, counts against Table 4, missing pictures, broken boxes, caption shards.

    Exit code 1 when something is missing or broken. Sizes that are not Table 4's are pointed out, and no fault.
    """
    from ..data.check import check_set
    from ..data.instructions import SETS

    root, names = _existing(data), _names(sets)
    reports = [check_set(SETS[name], root, decode=decode, watch=partial(_bar, name)) for name in names]
    shards = _shard_findings(root, None if full else shards_read)
    console = PlainConsole()
    console.print(_table(reports))
    for line in _details(reports, shards):
        console.print(line, soft_wrap=True)
    if report is not None:
        content = {"sets": [one.as_json() for one in reports], "shards": shards}
        _write(report, json.dumps(content, indent=1) + "\n")
    if not all(one.sound for one in reports) or any(shards.values()):
        raise typer.Exit(1)


@app.command()
def show(
    data: Root,
    out: Annotated[Path, typer.Option(help="The page to write.")],
    sets: Sets = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples of each set.")] = 4,
    seed: Annotated[int, typer.Option(help="Which samples.")] = 0,
    processor: Annotated[
        str | None,
        typer.Option(help="Folder or Hub id of a processor: shows tokens, chat frame and labels as trained on."),
    ] = None,
    image_order: Annotated[
        Literal["image_first", "text_first"], typer.Option(help="Order of picture and text (with --processor).")
    ] = "image_first",
    max_length: Annotated[int, typer.Option(min=8, help="Tokens a sample is cut at (with --processor).")] = 512,
) -> None:
    """Write one HTML page of samples: picture, box, prompt, and what is learned in color."""
    from ..data.show import make_encoder, page, sample_cards

    root, names = _existing(data), _names(sets)
    encoder = None
    if processor is not None:
        try:
            encoder = make_encoder(processor, image_order, max_length)
        except (OSError, ValueError) as error:
            first_line = str(error).splitlines()[0]
            raise UserError(f"--processor {processor}: no processor of AKI could be loaded ({first_line})") from error
    cards = sample_cards(root, names, samples, seed, encoder)
    _write(out, page(cards, f"Training samples of {root.name}"))
    say(f"{out}: {len(cards)} samples of {len(names)} sets")


def _existing(root: Path) -> Path:
    if not root.is_dir():
        raise UserError(f"--data {root}: no such folder; expected the folder that holds vqav2, coco, llava, ...")
    if not os.access(root, os.W_OK):
        raise UserError(f"--data {root}: not writable; an index of the annotations has to be kept in {root / '.aki'}")
    return root


def _names(sets: str | None) -> list[str]:
    from ..data.instructions import SETS, TABLE_4

    if sets is None:
        return [one.name for one in TABLE_4]
    names = [name.strip() for name in sets.split(",") if name.strip()]
    unknown = [name for name in names if name not in SETS]
    if unknown or not names:
        raise UserError(f"--sets {sets}: unknown {', '.join(unknown) or 'nothing'}; known are {', '.join(SETS)}")
    return names


def _bar(name: str, things: Iterable[T], unit: str = "sample") -> Iterable[T]:
    from tqdm.auto import tqdm

    yield from tqdm(things, desc=name, unit=unit, leave=False, mininterval=0.5, delay=1.0)


def _shard_findings(root: Path, read: int | None) -> dict[str, list[str]]:
    """Faults of the caption shards by kind; kinds that are not there are left out."""
    from ..data.captions import FOLDERS
    from ..data.check import check_shards

    return {
        kind: check_shards(root / folder, kind, read=read, watch=partial(_bar, f"{kind} shards", unit="shard"))
        for kind, folder in FOLDERS.items()
        if (root / folder).is_dir()
    }


def _table(reports: Iterable[SetReport]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("set", "samples", "pictures", "Table 4", "missing", "damaged", "boxes", ""):
        table.add_column(column, justify="left" if column in ("set", "Table 4", "") else "right", no_wrap=True)
    for one in reports:
        faults = (len(one.missing), len(one.damaged), len(one.broken_boxes))
        counts = (f"{one.num_samples:,}", f"{one.num_pictures:,}", one.size_note, *(f"{count:,}" for count in faults))
        table.add_row(one.title, *(counts if one.error is None else [""] * 6), "ok" if one.sound else "FAULTY")
    return table


def _details(reports: Iterable[SetReport], shards: dict[str, list[str]]) -> Iterable[str]:
    """One line a fault, the first few of each kind."""
    from ..data.check import NUM_EXAMPLES

    for one in reports:
        if one.error:
            yield f"{one.title}: {one.error}"
        found = {"missing": one.missing, "damaged": one.damaged, "broken box": one.broken_boxes}
        found["left out"] = one.unusable
        for kind, faults in found.items():
            yield from (f"{one.title}: {kind}: {fault}" for fault in faults[:NUM_EXAMPLES])
            if len(faults) > NUM_EXAMPLES:
                yield f"{one.title}: {kind}: and {len(faults) - NUM_EXAMPLES:,} more"
        if one.over_the_edge:
            yield f"{one.title}: {one.over_the_edge:,} boxes reach over the edge of the picture; they are kept so"
        if one.num_left_out:
            yield f"{one.title}: {one.num_left_out:,} regions without a phrase or extent are left out"
    for kind, faults in shards.items():
        yield from (f"{kind} shards: {fault}" for fault in faults[:NUM_EXAMPLES])
        if len(faults) > NUM_EXAMPLES:
            yield f"{kind} shards: and {len(faults) - NUM_EXAMPLES:,} more; --report FILE names them all"


def _write(path: Path, content: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
