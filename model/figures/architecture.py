"""Draws architecture.svg: the parts with their tensor shapes, and the masks as `model.attention` builds them.

python -m model.figures.architecture
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch

from model.attention import IMAGE, QUESTION_END, TEXT, build_mask
from model.kinds import KINDS

TYPES = [TEXT] * 2 + [IMAGE] * 4 + [TEXT] * 2 + [QUESTION_END] + [TEXT] * 2
NAMES = ["system"] * 2 + ["latent"] * 4 + ["question"] * 2 + ["question end"] + ["answer"] * 2
GREY, GREEN, BLUE, INK = "#c9ced6", "#2a9d6f", "#dfe8f5", "#1f2933"


def draw() -> Any:
    """The figure: parts on the left, masks of the three kinds on the right."""
    mpl.rcParams.update({"svg.hashsalt": "aki", "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 9})
    figure = plt.figure(figsize=(11.5, 5.6))
    _parts(figure.add_axes((0.01, 0.02, 0.42, 0.96)))
    for place, kind in enumerate(("causal", "mma", "cca")):
        _mask(figure.add_axes((0.515 + 0.163 * place, 0.24, 0.15, 0.6)), kind, KINDS[kind].title, labels=place == 0)
    figure.text(0.515, 0.12, "grey: what causal attention sees.  green: what is unlocked on top of it.", color=INK)
    figure.text(
        0.515, 0.07, "rows: queries, columns: keys, in the order of the prompt. 4 latents instead of 144.", color=INK
    )
    return figure


def _parts(axes: Any) -> None:
    axes.set(xlim=(0, 10), ylim=(0, 10))
    axes.axis("off")
    boxes = [
        (0.2, 7.9, "picture", "(M, 3, 384, 384)"),
        (0.2, 5.6, "SigLIP, frozen", "27 layers, 1152 wide"),
        (0.2, 3.3, "perceiver resampler", "6 layers, 144 latents, then Linear"),
        (5.2, 7.9, "prompt", "system, <image>, question, <|assistant|>"),
        (5.2, 5.6, "token embedding", "32014 rows"),
        (2.7, 0.6, "text backbone: Phi-3.5", "32 layers, 3072 wide -> logits (B, L, 32014)"),
    ]
    for x, y, title, detail in boxes:
        axes.add_patch(FancyBboxPatch((x, y), 4.5, 1.3, boxstyle="round,pad=0.06", facecolor=BLUE, edgecolor=INK))
        axes.text(x + 2.25, y + 0.88, title, ha="center", va="center", weight="bold", color=INK)
        axes.text(x + 2.25, y + 0.4, detail, ha="center", va="center", size=7.5, color=INK)
    arrows = [
        ((2.4, 7.8), (2.4, 7.0), ""),
        ((2.4, 5.5), (2.4, 4.7), "(M, 729, 1152)"),
        ((3.2, 3.2), (4.2, 2.0), "(M, 144, 3072)"),
        ((7.5, 7.8), (7.5, 7.0), "(B, L)"),
        ((7.3, 5.5), (6.0, 2.0), "(B, L, 3072), latents put\nwhere <image> stands"),
    ]
    for start, end, label in arrows:
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK})
        middle = ((start[0] + end[0]) / 2 + 0.2, (start[1] + end[1]) / 2)
        axes.text(*middle, label, size=7.5, va="center", color=INK)


def _mask(axes: Any, kind: str, title: str, *, labels: bool) -> None:
    types = torch.tensor([TYPES])
    visible = build_mask(kind, types, num_latents=4)[0, 0]
    causal = build_mask("causal", types, num_latents=4)[0, 0]
    for row in range(len(TYPES)):
        for column in range(len(TYPES)):
            if visible[row, column]:
                colour = GREY if causal[row, column] else GREEN
                axes.add_patch(plt.Rectangle((column, row), 0.92, 0.92, color=colour, linewidth=0))
    axes.set(xlim=(0, len(TYPES)), ylim=(len(TYPES), 0), aspect="equal", xticks=[])
    axes.set_yticks([row + 0.5 for row in range(len(TYPES))], NAMES if labels else [""] * len(TYPES), size=7.5)
    axes.tick_params(length=0)
    axes.set_title(title, size=9, color=INK)
    for side in axes.spines.values():
        side.set_color(GREY)


def main() -> None:
    file = Path(__file__).with_suffix(".svg")
    draw().savefig(file, metadata={"Date": None})
    print(file)


if __name__ == "__main__":
    main()
