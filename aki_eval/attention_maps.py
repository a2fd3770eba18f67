"""Where attention goes in one prompt: between the picture's latents and the words, and from latents to the picture.

Letters: L tokens, N latents, P patches, H heads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.records import Prompt

from .predictors.aki import AkiPredictor

Floats = NDArray[np.float64]
SHOWN = ("causal", "mma", "cca")
"""The paper's kinds; a checkpoint of another is shown beside them."""


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word of the question and its tokens, `start` to `end` (exclusive)."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class LayerView:
    """What a layer of the text backbone does to the picture's latents, averaged over them and, for shares, over heads.

    image_to_question, image_to_image: shares of the latents' attention. question_to_image: of the question's tokens'.
    change: how far the latents' states behind the layer move when another question is asked about the same picture,
    relative to their length. 0 where no word can reach them.
    """

    layer: int
    kind: str
    image_to_question: float
    image_to_image: float
    question_to_image: float
    change: float


OTHER_QUESTION = "How many things are there in the picture, and which of them is the largest?"
"""Asked about the same picture, to see what a question does to the picture's latents."""


@dataclass(frozen=True, kw_only=True)
class Attended:
    """Attention in one pass over a prompt, averaged over layers and heads, seen from its last picture and question.

    attention: (L, L), rows look, columns are seen. latents_to_patches: (N, P), rows sum to 1. `image` is the picture's
    latents' first place and the one behind their last.
    """

    image: tuple[int, int]
    words: tuple[Word, ...]
    attention: Floats
    latents_to_patches: Floats

    def image_to_word(self, word: Word) -> tuple[float, Floats]:
        """(share of the latents' attention that the word takes, where on the picture it comes from: (R, C))."""
        block = self.attention[self.image[0] : self.image[1], word.start : word.end].sum(axis=1)
        return float(block.mean()), self._on_picture(block)

    def word_to_image(self, word: Word) -> tuple[float, Floats]:
        """(share of the word's attention that the picture takes, where on the picture it goes to: (R, C))."""
        block = self.attention[word.start : word.end, self.image[0] : self.image[1]].mean(axis=0)
        return float(block.sum()), self._on_picture(block)

    def _on_picture(self, by_latent: Floats) -> Floats:
        total = by_latent.sum()
        patches = (by_latent / total if total > 0 else by_latent) @ self.latents_to_patches
        side = isqrt(len(patches))
        return patches.reshape(side, len(patches) // side)


@dataclass(frozen=True, kw_only=True)
class View(Attended):
    """One prompt of one picture seen from inside. masks: by kind, bool, over the prompt and its answer."""

    text: str
    answer: str
    num_prompt_tokens: int
    masks: dict[str, NDArray[np.bool_]]
    layer_kinds: tuple[str, ...]
    """The kind of every layer of the text backbone."""
    by_layer: tuple[LayerView, ...]

    def layers_of(self, kind: str) -> str:
        """Which layers of the model have a kind, to stand behind its name; nothing for a kind that none has."""
        own = [layer for layer, each in enumerate(self.layer_kinds) if each == kind]
        if len(own) == len(self.layer_kinds):
            return ", this model"
        return f", this model's layers {', '.join(map(str, own))}" if own else ""


def look(
    predictor: AkiPredictor, prompt: Prompt, question: str, max_new_tokens: int = 32, other: str = OTHER_QUESTION
) -> View:
    """Answers a prompt of one picture and looks at the forward pass over it.

    Args:
        predictor: the checkpoint.
        prompt: one picture, and `question` among its texts.
        question: whose words are looked at.
        max_new_tokens: the answer's length at the most.
        other: the question that is asked instead, to see what changes in the picture's latents.

    Raises:
        UserError: the checkpoint's tokenizer cannot say which characters a token came from.
    """
    text = predictor.render(prompt)
    model = predictor.model
    refuse_slow_tokenizer(predictor)
    generation = predictor.predict([prompt], max_new_tokens)[0]
    pixels = [image.decode() for image in prompt.images]
    seen, output, ids = attend(model, predictor.processor, text, question, pixels)
    swapped = _states_asked(predictor, prompt, question, other, pixels)
    places = list(range(*seen.image))
    return View(
        image=seen.image,
        words=seen.words,
        attention=seen.attention,
        latents_to_patches=seen.latents_to_patches,
        text=text,
        answer=generation.text or "",
        num_prompt_tokens=len(ids),
        masks=_masks(model, ids, generation.num_tokens or 0),
        layer_kinds=model.config.layer_kinds,
        by_layer=tuple(_by_layer(model.config.layer_kinds, output, swapped, places, seen.words)),
    )


def refuse_slow_tokenizer(predictor: AkiPredictor) -> None:
    """Raises UserError where the checkpoint's tokenizer cannot say which characters a token came from."""
    if not predictor.processor.tokenizer.is_fast:
        raise UserError(f"{predictor.name}: its tokenizer has no offsets; save it with a fast tokenizer")


def attend(model: Any, processor: Any, text: str, question: str, pixels: list[Any]) -> tuple[Attended, Any, Any]:
    """One pass over a rendered prompt, whose last picture and `question` are looked at.

    Returns what was seen, the pass itself and the prompt's ids, (L).
    """
    import torch

    inputs = processor(images=pixels, text=text, add_special_tokens=False, return_tensors="pt").to(model.device)
    with torch.inference_mode(), _eager(model), _watched(model) as layers:
        output = model(**inputs.to(model.dtype), output_attentions=True, output_hidden_states=True, use_cache=False)
    ids = inputs["input_ids"][0]
    places = (ids == model.config.image_token_id).nonzero().flatten().tolist()[-model.config.num_latents :]
    attention = torch.stack([layer[0].float().mean(0) for layer in output.attentions]).mean(0)
    seen = Attended(
        image=(places[0], places[-1] + 1),
        words=tuple(_words(processor, text, question)),
        attention=attention.cpu().numpy().astype(np.float64),
        latents_to_patches=rolled_out(layers),
    )
    return seen, output, ids


class LayerPass(NamedTuple):
    """A pass over a prompt of one picture, seen from the picture's latents.

    states: of what comes into the first layer and of what leaves each, (N, T) in float32. image_to_question,
    image_to_image: by layer, shares of the latents' attention, averaged over them and over heads.
    """

    states: list[NDArray[np.float32]]
    image_to_question: list[float]
    image_to_image: list[float]


def layer_pass(predictor: AkiPredictor, prompt: Prompt, question: str) -> LayerPass:
    """One pass, batch size 1, so that nothing but the question tells two passes over a picture apart."""
    import torch

    model, processor = predictor.model, predictor.processor
    text = predictor.render(prompt)
    pixels = [image.decode() for image in prompt.images]
    inputs = processor(images=pixels, text=text, add_special_tokens=False, return_tensors="pt").to(model.device)
    with torch.inference_mode(), _eager(model):
        output = model(**inputs.to(model.dtype), output_attentions=True, output_hidden_states=True, use_cache=False)
        places = (inputs["input_ids"][0] == model.config.image_token_id).nonzero().flatten()
        words = _words(processor, text, question)
        asked = sorted({token for word in words for token in range(word.start, word.end)})
        looking = [layer[0][:, places.to(layer.device)].float().mean((0, 1)).cpu() for layer in output.attentions]
        states = [layer[0][places.to(layer.device)].float().cpu().numpy() for layer in output.hidden_states]
    return LayerPass(
        states=states,
        image_to_question=[float(row[asked].sum()) for row in looking],
        image_to_image=[float(row[places.cpu()].sum()) for row in looking],
    )


def _states_asked(predictor: AkiPredictor, prompt: Prompt, question: str, other: str, pixels: list[Any]) -> list[Any]:
    """(N, T) of every layer: the latents' states when `other` is asked about the picture."""
    import torch

    parts = tuple(part.replace(question, other) if isinstance(part, str) else part for part in prompt.parts)
    text = predictor.render(Prompt(prompt.index, parts))
    model = predictor.model
    inputs = predictor.processor(images=pixels, text=text, add_special_tokens=False, return_tensors="pt")
    with torch.inference_mode(), _eager(model):
        given = inputs.to(model.device).to(model.dtype)
        output = model(**given, output_hidden_states=True, use_cache=False)
    places = inputs["input_ids"][0] == model.config.image_token_id
    return [states[0][places.to(states.device)].float() for states in output.hidden_states[1:]]


def _by_layer(
    kinds: tuple[str, ...], output: Any, swapped: list[Any], places: list[int], words: tuple[Word, ...]
) -> Iterator[LayerView]:
    first, end = places[0], places[-1] + 1
    asked = sorted({token for word in words for token in range(word.start, word.end)})
    for layer, kind in enumerate(kinds):
        attention = output.attentions[layer][0].float().mean(0)
        states = output.hidden_states[layer + 1][0][places].float()
        moved = (states - swapped[layer]).norm(dim=-1) / states.norm(dim=-1)
        yield LayerView(
            layer=layer,
            kind=kind,
            image_to_question=float(attention[first:end, asked].sum(-1).mean()),
            image_to_image=float(attention[first:end, first:end].sum(-1).mean()),
            question_to_image=float(attention[asked, first:end].sum(-1).mean()),
            change=float(moved.mean()),
        )


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    """Attention computed the plain way for a moment: only then its weights can be seen."""
    before = model.config.text_config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def _watched(model: Any) -> Iterator[list[Floats]]:
    """Collects each resampler layer's attention, (N, P + N), averaged over heads."""
    seen: list[Floats] = []

    def watch(layer: Any, given: tuple[Any, ...], output: Any) -> None:
        seen.append(_resampler_weights(layer, *given))

    layers = [each.attention for each in model.model.resampler.layers]
    hooks = [layer.register_forward_hook(watch) for layer in layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _resampler_weights(layer: Any, patches: Any, latents: Any, positions: Any = None) -> Floats:
    """What `ResamplerAttention.forward` weighs its values with, of the last picture."""
    import torch

    latents = layer.norm_latents(latents)
    query = layer.to_q(latents)
    key, _ = layer.to_kv(torch.cat([layer.norm_media(patches), latents], dim=1)).chunk(2, dim=-1)
    if positions is not None:
        query, key = query + positions[0], key + positions[1]
    query, key = (part.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in (query, key))
    weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).float().softmax(-1)
    averaged: Floats = weights[-1].mean(0).cpu().numpy().astype(np.float64)
    return averaged


def rolled_out(layers: list[Floats]) -> Floats:
    """Attention of latents to patches through all layers, (N, P), rows summing to 1.

    Half of each layer's output is its residual, half what it attends to (Abnar and Zuidema 2020, arXiv 2005.00928);
    latents hold nothing of the picture before the first layer.
    """
    num_latents, width = layers[0].shape
    num_patches = width - num_latents
    flow = np.zeros((num_latents, num_patches))
    for weights in layers:
        flow = 0.5 * flow + 0.5 * (weights[:, :num_patches] + weights[:, num_patches:] @ flow)
    rows: Floats = flow / flow.sum(axis=1, keepdims=True)
    return rows


def _words(processor: Any, text: str, question: str) -> Iterator[Word]:
    """The question's words with the tokens that any of their characters fell into."""
    expanded = text.replace(processor.image_token, processor.image_token * processor.num_latents)
    offsets = processor.tokenizer(expanded, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    start = expanded.rfind(question.strip())
    for found in re.finditer(r"\S+", question.strip()):
        first, last = start + found.start(), start + found.end()
        inside = [place for place, (begin, end) in enumerate(offsets) if begin < last and end > first]
        if start >= 0 and inside:
            yield Word(text=found[0], start=inside[0], end=inside[-1] + 1)


def _masks(model: Any, ids: Any, num_answer_tokens: int) -> dict[str, NDArray[np.bool_]]:
    """The prompt's mask, its answer appended, under each kind of attention."""
    import torch

    from model.attention import build_mask, token_types

    config = model.config
    types = token_types(ids[None], config.image_token_id, config.question_end_token_id)
    types = torch.nn.functional.pad(types, (0, num_answer_tokens))
    shown = dict.fromkeys((*SHOWN, *config.layer_kinds))
    masks = {kind: build_mask(kind, types, num_latents=config.num_latents)[0, 0] for kind in shown}
    return {kind: mask.cpu().numpy() for kind, mask in masks.items()}
