"""Figures about attention, through matplotlib: a prompt's mask as in the paper's Figure 5, and heat over a picture.

Letters: L tokens of a prompt with its answer; R, C rows and columns of a heat map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIDDEN, CAUSAL, UNLOCKED, LOCKED = 0, 1, 2, 3
COLOURS = ("#ffffff", "#b9cfe4", "#c2410c", "#f3ddd3")
MEANINGS = ("hidden", "visible, as in causal order", "visible here only", "hidden here only")
INK = "#211d1a"
DPI = 160


@dataclass(frozen=True)
class Span:
    """Tokens `start` to `end` (exclusive) under one name: system, image, question, answer."""

    label: str
    start: int
    end: int


@dataclass(frozen=True)
class Heat:
    """What a word has to do with the picture: `grid` (R, C) sums to 1, `share` is how much attention the word takes."""

    word: str
    share: float
    grid: NDArray[np.float64]


def mask_figure(masks: Mapping[str, NDArray[np.bool_]], spans: Sequence[Span], title: str = "") -> Figure:
    """Masks (L, L) of one prompt side by side; rows are queries, columns keys, True = may see (paper, Figure 5)."""
    figure, axes = _panels(len(masks), 1, size=4.2)
    for axis, (name, mask) in zip(axes, masks.items(), strict=True):
        _draw_mask(axis, name, mask, spans)
    axes[0].set_ylabel("token that looks")
    _legend(figure, {int(value) for mask in masks.values() for value in np.unique(compared(mask))})
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


class LayerNumbers(Protocol):
    """Shares of attention and relative changes of one layer, between 0 and 1 but for `change`."""

    @property
    def layer(self) -> int: ...
    @property
    def image_to_question(self) -> float: ...
    @property
    def image_to_image(self) -> float: ...
    @property
    def question_to_image(self) -> float: ...
    @property
    def change(self) -> float: ...


def layer_figure(layers: Sequence[LayerNumbers]) -> Figure:
    """Left: where attention goes, layer by layer. Right: how far a question moves the image tokens."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    places = [each.layer for each in layers]
    for name, colour in (
        ("image_to_question", "#c2410c"),
        ("image_to_image", "#6b7280"),
        ("question_to_image", "#1d4ed8"),
    ):
        values = [100 * getattr(each, name) for each in layers]
        left.plot(places, values, "o-", color=colour, markersize=4, label=name.replace("_", " "))
    left.set(xlabel="layer", ylabel="per cent of the attention")
    left.legend(fontsize=7)
    right.plot(places, [100 * each.change for each in layers], "o-", color="#c2410c", markersize=4)
    right.set(xlabel="layer", ylabel="change of image tokens, per cent", title="another question, same picture")
    right.title.set_fontsize(9)
    for axis in (left, right):
        axis.set_xticks(places if len(places) < 13 else places[:: len(places) // 8])
        axis.grid(visible=True, color="#e5ded6")
    return figure


def compared(mask: NDArray[np.bool_]) -> NDArray[np.int_]:
    """(L, L) bool -> where it agrees with plain causal order and where it does not."""
    causal = np.tri(len(mask), dtype=bool)
    unlocked = np.where(causal, CAUSAL, UNLOCKED)
    locked = np.where(causal, LOCKED, HIDDEN)
    return np.where(mask, unlocked, locked)


def _draw_mask(axis: Any, name: str, mask: NDArray[np.bool_], spans: Sequence[Span]) -> None:
    from matplotlib.colors import ListedColormap

    axis.imshow(compared(mask), cmap=ListedColormap(list(COLOURS)), vmin=0, vmax=3, interpolation="none")
    middles = [(span.start + span.end - 1) / 2 for span in spans]
    labels = [span.label for span in spans]
    axis.set_xticks(middles, labels, rotation=30, ha="right")
    axis.set_yticks(middles, labels)
    axis.tick_params(length=0, labelsize=8)
    for span in spans[1:]:
        axis.axhline(span.start - 0.5, color=INK, linewidth=0.6)
        axis.axvline(span.start - 0.5, color=INK, linewidth=0.6)
    axis.set_title(name, fontsize=10)
    axis.set_xlabel("token that is seen")


def _legend(figure: Figure, used: set[int]) -> None:
    from matplotlib.patches import Patch

    kinds = [kind for kind in (CAUSAL, UNLOCKED, LOCKED, HIDDEN) if kind in used]
    patches = [Patch(facecolor=COLOURS[kind], edgecolor=INK, linewidth=0.5, label=MEANINGS[kind]) for kind in kinds]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), fontsize=8, frameon=False)


def heat_figure(picture: Image.Image, heats: Sequence[Heat], title: str, most_columns: int = 6) -> Figure:
    """The picture, then the picture under each word's heat, in the order of the words."""
    panels = len(heats) + 1
    rows = -(-panels // most_columns)
    columns = -(-panels // rows)
    figure, axes = _panels(columns, rows, size=2.1)
    axes[0].imshow(picture)
    axes[0].set_title("picture", fontsize=9)
    for axis, heat in zip(axes[1:], heats, strict=False):
        axis.imshow(picture)
        axis.imshow(_blown_up(heat.grid, picture.size), cmap="inferno", alpha=0.6)
        axis.set_title(f"{heat.word}\n{100 * heat.share:.1f} %", fontsize=9, parse_math=False)
    for axis in axes:
        axis.set_axis_off()
    figure.suptitle(title, fontsize=10)
    return figure


def overlay(picture: Image.Image, grid: NDArray[np.float64], pixels: int = 448) -> Image.Image:
    """The picture under a heat map (R, C), its longer side `pixels` long. Without any heat it is dark."""
    from matplotlib import colormaps

    shown = picture.convert("RGB")
    shown = shown.resize(_within(shown.size, pixels), Image.Resampling.BICUBIC)
    heat = colormaps["inferno"](_blown_up(grid, shown.size))[..., :3]
    mixed = 0.4 * np.asarray(shown, dtype=np.float64) + 0.6 * 255 * heat
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def _within(size: tuple[int, int], most: int) -> tuple[int, int]:
    """The longer side is `most` long."""
    factor = most / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _blown_up(grid: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """(R, C) -> (height, width), smoothly, from 0 to 1."""
    largest = float(grid.max())
    image = Image.fromarray((grid / largest if largest else grid).astype(np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.float32).clip(0, 1)


def _panels(columns: int, rows: int, size: float) -> tuple[Figure, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size * columns + 0.4, size * rows + 0.9), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def save(figure: Figure, out: Path, name: str) -> list[Path]:
    """As PNG, SVG and PDF below `out`; the same figure gives the same bytes."""
    import matplotlib

    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"{name}.{kind}" for kind in ("png", "svg", "pdf")]
    figure.savefig(paths[0], dpi=DPI, metadata={"Software": None})
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(paths[1], metadata={"Date": None})
    figure.savefig(paths[2], metadata={"CreationDate": None})
    return paths
