"""Reads golden sets: inputs and outputs of the original implementation on tiny random weights.

A set is a folder with `manifest.json`, `SHA256SUMS.json` and, for every model, `config.json`, `model.safetensors`,
`masks.safetensors` and `case_*.safetensors`. AKI_GOLDEN_DIR names another one than the committed.

Tolerances are for fp32 on a CPU and relative to the largest expected magnitude of the compared array, so that a pass
means the same on every machine and for every set. See `TOLERANCES`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor

from model import AkiConfig, AkiForConditionalGeneration
from model.published.names import EMBEDDING
from model.published.weights import load_published

GOLDEN = Path(os.environ.get("AKI_GOLDEN_DIR", Path(__file__).parent / "data" / "golden"))
MANIFEST = json.loads((GOLDEN / "manifest.json").read_text())
ROWS = {name: info["state_dict"][EMBEDDING][0] for name, info in MANIFEST["models"].items()}
"""Rows of the published text embedding, used and unused."""
TOLERANCES = {
    "pixel_values": 0.0,  # the same arithmetic on bytes
    "vision_embeddings": 2e-6,
    "vision_hidden": 5e-6,
    "vision_tokens": 3e-6,
    "inputs_embeds": 3e-6,
    "hidden": 5e-6,
    "logits": 6e-6,
    "logsumexp": 1e-6,
    "loss": 1e-6,
    "token_nll": 3e-6,
    "gradient": 1.5e-5,
    "gradient_norm": 1e-4,  # the manifest's norms were summed in fp32, of lm_head over a million numbers: 7e-5 off
}
"""Largest difference by quantity, as a share of the largest magnitude.

They lie between what rounding gives (fp32 against float64: 2e-6 on logits, 1e-6 on vision tokens, 2e-6 on gradients)
and the weakest of two dozen plausible mistakes, a LayerNorm's epsilon of 1e-5 for 1e-6 or the other way round: from
8e-6 on logits, 4e-6 on vision tokens, 4e-5 on vision features and 3e-5 on gradients. So they are not to be widened.
"""
IGNORED = -100


@dataclass(frozen=True)
class Case:
    """One case: arrays by the names they have in the file, without the prefix."""

    model: str
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    meta: dict[str, np.ndarray]
    info: dict

    @property
    def num_latents(self) -> int:
        return MANIFEST["models"][self.model]["config"]["num_vision_tokens"]

    def ids(self) -> Tensor:
        """(B, L) with every image id repeated, right-padded."""
        return expand(self.inputs["input_ids"], self.inputs["attention_mask"], self.num_latents)[0]

    def mask(self) -> Tensor:
        """(B, L), 1 = real."""
        return expand(self.inputs["input_ids"], self.inputs["attention_mask"], self.num_latents)[1]

    def valid(self) -> np.ndarray:
        return self.expected["valid"].astype(bool)

    def pixels(self) -> Tensor | None:
        """(M, 3, H, W): the pictures of the rows that have an image mark."""
        if "pixel_values" not in self.inputs:
            return None
        has_image = (self.inputs["input_ids"] == MANIFEST["ids"]["image"]).any(-1)
        return torch.from_numpy(self.inputs["pixel_values"][has_image][:, 0, 0])

    def model_inputs(self) -> dict[str, Tensor]:
        inputs = {"input_ids": self.ids(), "attention_mask": self.mask()}
        return inputs if self.pixels() is None else inputs | {"pixel_values": self.pixels()}


def cases(has: str) -> list[tuple[str, str]]:
    """(model, case) of the cases whose file holds an array that begins with `has`."""
    return [
        (model, case)
        for model, info in MANIFEST["models"].items()
        for case, facts in info["cases"].items()
        if any(name.startswith(has) for name in load_file(case_file(model, case)))
    ]


def models() -> list[str]:
    return list(MANIFEST["models"])


def case_file(model: str, case: str) -> Path:
    return GOLDEN / model / f"case_{case}.safetensors"


@cache
def load_case(model: str, case: str) -> Case:
    arrays = load_file(case_file(model, case))
    part = {
        prefix: {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for prefix in ("in.", "out.", "meta.")
    }
    gradients = {name: array for name, array in arrays.items() if name.startswith("grad")}
    info = MANIFEST["models"][model]["cases"][case]
    return Case(model, part["in."], part["out."] | gradients, part["meta."], info)


@cache
def load_model(name: str, attention: str = "mma", override: str = "{}") -> AkiForConditionalGeneration:
    """A golden model in fp32. `override`: JSON of text settings that a case changes."""
    _, state = load_published(GOLDEN / name, AkiForConditionalGeneration)
    raw = json.loads((GOLDEN / name / "config.json").read_text())
    changed = json.loads(override)
    if scaling := changed.pop("rope_scaling", None):
        changed["rope_scaling"] = {key: value for key, value in scaling.items() if key != "type"} | {
            "rope_type": "longrope"
        }
    raw["lang"] |= changed
    config = AkiConfig.from_published(raw)
    config.attention = attention
    config._attn_implementation = "eager"
    model = AkiForConditionalGeneration(config)
    model.load_state_dict({key: value.float() for key, value in state.items()})
    model.model.vision_tower.requires_grad_(False)
    return model.eval()


def expand(ids: np.ndarray, mask: np.ndarray, num_latents: int) -> tuple[Tensor, Tensor]:
    """(B, T) ids and mask with every image id repeated `num_latents` times, filled up on the right."""
    image, pad = MANIFEST["ids"]["image"], MANIFEST["ids"]["pad"]
    rows = [np.repeat(row, np.where(row == image, num_latents, 1)) for row in ids]
    marks = [np.repeat(flags, np.where(row == image, num_latents, 1)) for row, flags in zip(ids, mask, strict=True)]
    length = max(map(len, rows))
    filled = [np.pad(row, (0, length - len(row)), constant_values=pad) for row in rows]
    real = [np.pad(flags, (0, length - len(flags))) for flags in marks]
    return torch.from_numpy(np.stack(filled)), torch.from_numpy(np.stack(real))


def assert_close(got: Tensor, expected: np.ndarray, quantity: str, rows: np.ndarray | None = None) -> None:
    """Largest difference within the quantity's share of the largest expected magnitude, over the given rows only."""
    values = got.detach().float().cpu().numpy() if isinstance(got, Tensor) else got
    if rows is not None:
        values, expected = values[rows], expected[rows]
    assert values.shape == expected.shape
    worst = np.abs(values.astype(np.float64) - expected.astype(np.float64)).max()
    scale = np.abs(expected.astype(np.float64)).max()
    limit = TOLERANCES[quantity] * scale
    assert worst <= limit, f"{quantity}: largest difference {worst:.2e} at magnitude {scale:.2g}, allowed {limit:.1e}"


def sft_labels(case: Case) -> Tensor:
    """(B, L) labels of the SFT loss, from the unexpanded ones."""
    given = case.inputs["labels"]
    as_ids = np.where(case.inputs["input_ids"] == MANIFEST["ids"]["image"], MANIFEST["ids"]["image"], given)
    labels = expand(as_ids, case.inputs["attention_mask"], case.num_latents)[0]
    ignored = torch.tensor([MANIFEST["ids"][name] for name in ("pad", "image", "endofchunk")])
    return labels.masked_fill(torch.isin(labels, ignored), IGNORED)


def caption_labels(case: Case) -> Tensor:
    """(B, L) labels of the next-token loss: everything but padding and pictures."""
    labels = case.ids()
    return labels.masked_fill((case.mask() == 0) | (labels == MANIFEST["ids"]["image"]), IGNORED)


def labels_of(case: Case) -> Tensor:
    return sft_labels(case) if "labels" in case.inputs else caption_labels(case)
