"""A picture's prefix kept between questions: the same answers as without, for causal models, and nothing for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import model_helpers
import pytest
import torch

from aki_eval.predictors.aki import AkiPredictor
from aki_eval.predictors.prefixes import PrefixCache, common_beginning, filled, may_reuse, with_prefix
from benchmarks.records import ImageRef, Prompt

QUESTIONS = ("What colour is it?", "How many?", "Is there a circle in the picture, or is there none?", "why")
TOY = Path(__file__).parent / "data" / "toy_model"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for kind in ("causal", "mma"):
        processor = model_helpers.processor()
        model_helpers.model_for(processor, attention=kind).save_pretrained(root / kind)
        processor.save_pretrained(root / kind)
    for number in range(3):
        model_helpers.picture(40, 40, seed=number).save(root / f"{number}.png")
    return root


def prompts(root: Path) -> list[Prompt]:
    """Twelve questions about three pictures, of several lengths."""
    return [
        Prompt(index=f"{number}{place}", parts=(ImageRef(str(number), (root / f"{number}.png").read_bytes), text))
        for number in range(3)
        for place, text in enumerate(QUESTIONS)
    ]


def answers(predictor: AkiPredictor, asked: list[Prompt], size: int) -> list[Any]:
    batches = [asked[start : start + size] for start in range(0, len(asked), size)]
    return [each for batch in batches for each in predictor.predict(batch, 8)]


@pytest.mark.parametrize("size", [1, 5, 12])
def test_the_same_answers_as_without(root: Path, size: int) -> None:
    plain, reusing = (AkiPredictor(root / "causal", device="cpu") for _ in range(2))
    plain.prefixes = PrefixCache(0)
    assert answers(reusing, prompts(root), size) == answers(plain, prompts(root), size)
    assert len(reusing.prefixes._kept) == 3


def test_the_frozen_toy_under_a_causal_mask(root: Path) -> None:
    plain, reusing = (AkiPredictor(TOY, device="cpu", attention="causal") for _ in range(2))
    plain.prefixes = PrefixCache(0)
    assert answers(reusing, prompts(root), 6) == answers(plain, prompts(root), 6)
    assert reusing.prefixes._kept


def test_each_picture_is_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def counted(model: Any, beginning: tuple[int, ...], vectors: torch.Tensor) -> Any:
        read.append(len(vectors))
        return filled(model, beginning, vectors)

    monkeypatch.setattr("aki_eval.predictors.aki.filled", counted)
    answers(AkiPredictor(root / "causal", device="cpu"), prompts(root), 2)
    assert sum(read) == 3


def test_nothing_is_kept_of_a_mutual_model(root: Path) -> None:
    mutual = AkiPredictor(root / "mma", device="cpu")
    answers(mutual, prompts(root), 4)
    assert not mutual.prefixes._kept


def test_what_may_be_kept() -> None:
    causal = model_helpers.config(attention="causal")
    assert may_reuse(causal, 400)
    assert not may_reuse(model_helpers.config(attention="mma", attention_layers={"0": "causal"}), 400)
    assert not may_reuse(model_helpers.config(text={"sliding_window": 100}, attention="causal"), 400)


def test_common_beginning_and_where_the_padding_goes() -> None:
    ids = torch.tensor([[0, 0, 1, 9, 9, 5], [1, 9, 9, 6, 7, 8]])
    padding = torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6])
    assert common_beginning(ids, padding, 9) == (1, 9, 9)
    moved, mask = with_prefix(ids, padding, 3)
    assert moved.tolist() == [[1, 9, 9, 0, 0, 5], [1, 9, 9, 6, 7, 8]]
    assert mask.tolist() == [[1, 1, 1, 0, 0, 1], [1] * 6]
    assert common_beginning(torch.tensor([[1, 9, 5], [2, 9, 5]]), torch.ones(2, 3), 9) is None  # another beginning
    assert common_beginning(torch.tensor([[1, 5, 9]]), torch.ones(1, 3), 9) is None  # nothing behind the picture
    assert common_beginning(torch.tensor([[1, 5, 6]]), torch.ones(1, 3), 9) is None


def test_the_longest_unused_goes_first() -> None:
    layers = [(torch.zeros(1, 1, 4, 2), torch.zeros(1, 1, 4, 2))]  # 64 bytes
    kept = PrefixCache(130)
    for name in "ab":
        kept.put(name, (1,), layers)
    assert kept.get("a", (1,)) is not None
    kept.put("c", (1,), layers)
    assert [kept.get(name, (1,)) is not None for name in "abc"] == [True, False, True]
    assert kept.get("a", (2,)) is None
