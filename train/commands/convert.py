"""`aki-train convert`: checkpoints from the published form to ours, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmarks.errors import UserError

from .options import say


def convert(
    source: Annotated[str, typer.Argument(help="Folder or Hub id as published, a .pt training checkpoint, or ours.")],
    target: Annotated[Path, typer.Argument(help="New folder.")],
    to: Annotated[
        Literal["ours", "published", "reference"],
        typer.Option(help="Which form to write; reference is an older word for published."),
    ] = "ours",
    config: Annotated[Path | None, typer.Option(help="For .pt: the published config.json it belongs to.")] = None,
    vision_tower: Annotated[
        Path | None, typer.Option(help="For .pt: SigLIP's folder; .pt files lack the tower.")
    ] = None,
) -> None:
    """Convert a checkpoint. There and back again is exact to the bit; nothing but tensors is ever loaded."""
    from model.published.convert import convert as write

    try:
        done = write(
            source, target, to="ours" if to == "ours" else "published", config=config, vision_tower=vision_tower
        )
    except (ValueError, OSError) as error:
        raise UserError(str(error).replace("\n", " ")) from error
    say(f"{target}: {done['num_tensors']} tensors, {done['num_parameters'] / 1e6:,.1f} M parameters")
    if done.get("processor") is False:
        say("no tokenizer in the source, so no processor was written")
    if done.get("pooling_head") is False:
        say("no record of SigLIP's pooling head, so it is left out; AKI never reads it")
