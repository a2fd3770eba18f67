"""Probes of the picture: taken away, replaced, damaged.

Severities of blur and noise are those of level 3 of ImageNet-C (Hendrycks and Dietterich 2019, arXiv 1903.12261), at
its resolution: they are measured in 224ths of the shorter side, so that a photograph of any size loses the same. What
is drawn is drawn from the picture's hash, not the question's: all questions about a picture see the same damage, as
they see the same picture (and its vision features are computed once).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from random import Random

from PIL import Image, ImageFilter

from ..records import ImageRef, Prompt, PromptStyle, Sample
from ..task import Task
from .rule import Asked, ProbedTask, ProbeRule

SIDE = 224
"""Of ImageNet-C's pictures, in whose pixels severities are given."""
BLUR_RADIUS = 3.0
NOISE_SIGMA = 0.18
OCCLUDED = 0.5
"""Of each side: a quarter of the picture."""
GREY = (128, 128, 128)
BLANK_SIZE = (384, 384)

NO_PICTURE = "it has no picture"
NO_OTHER = "no other question has pictures that it does not share"

Damage = Callable[[Image.Image, Random], Image.Image]


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@cache
def blank_picture() -> ImageRef:
    """One for all: its size says nothing either."""
    content = _png(Image.new("RGB", BLANK_SIZE, GREY))
    return ImageRef("probe/blank", lambda: content)


def blurred(image: Image.Image, random: Random) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(BLUR_RADIUS * min(image.size) / SIDE))


def noised(image: Image.Image, random: Random) -> Image.Image:
    """Gaussian noise of each channel, on a grid of which the shorter side has 224 cells at most."""
    import numpy as np

    width, height = image.size
    scale = min(1.0, SIDE / min(image.size))
    cells = (max(1, round(height * scale)), max(1, round(width * scale)), 3)
    grains = np.random.default_rng(random.getrandbits(64)).normal(0.0, NOISE_SIGMA * 255, cells)
    rows = np.arange(height) * cells[0] // height
    columns = np.arange(width) * cells[1] // width
    noisy = np.asarray(image, dtype=np.float64) + grains[rows][:, columns]
    return Image.fromarray(np.rint(np.clip(noisy, 0, 255)).astype(np.uint8))


def occluded(image: Image.Image, random: Random) -> Image.Image:
    """A grey rectangle of half the width and half the height, somewhere in the picture."""
    width, height = (max(1, round(side * OCCLUDED)) for side in image.size)
    left, top = random.randint(0, image.width - width), random.randint(0, image.height - height)
    covered = image.copy()
    covered.paste(GREY, (left, top, left + width, top + height))
    return covered


def damaged(image: ImageRef, name: str, damage: Damage) -> ImageRef:
    """The picture as the damage leaves it; made when somebody looks at it."""

    def read() -> bytes:
        seed = int.from_bytes(sha256(f"{name}/{image.key}".encode()).digest()[:8])
        return _png(damage(image.decode().convert("RGB"), Random(seed)))

    return ImageRef(f"probe/{name}/{image.key}", read)


def with_pictures(prompt: Prompt, picture: Callable[[ImageRef], ImageRef]) -> Prompt:
    """The prompt with every picture replaced."""
    return replace(prompt, parts=tuple(part if isinstance(part, str) else picture(part) for part in prompt.parts))


def without_pictures(prompt: Prompt) -> Prompt:
    """The text alone; the line break that separated it from a leading picture goes too."""
    texts = [part for part in prompt.parts if isinstance(part, str)]
    if texts and not isinstance(prompt.parts[0], str):
        texts[0] = texts[0].removeprefix("\n")
    return replace(prompt, parts=tuple(text for text in texts if text))


def _each(change: Callable[[Prompt], Prompt]) -> Callable[[Task, Asked, PromptStyle], ProbedTask]:
    """A probe that treats each prompt by itself."""

    def apply(task: Task, asked: Asked, style: PromptStyle) -> ProbedTask:
        shown = [(sample, prompt) for sample, prompt in asked if prompt.images]
        return ProbedTask(
            samples=[sample for sample, _ in shown],
            prompts=[change(prompt) for _, prompt in shown],
            left_out={sample.index: NO_PICTURE for sample, prompt in asked if not prompt.images},
        )

    return apply


def _damaging(name: str, damage: Damage) -> Callable[[Task, Asked, PromptStyle], ProbedTask]:
    return _each(lambda prompt: with_pictures(prompt, lambda image: damaged(image, name, damage)))


def exchange(samples: Sequence[Sample]) -> Mapping[str, tuple[ImageRef, ...]]:
    """By cluster, the pictures of another: a seeded derangement, in which no cluster gets a picture that it shows.

    Clusters stand in the order of a hash, those with the same pictures next to each other, and each gets the pictures
    of the one so many places on that no two of them share any. Empty where there is no such number.
    """
    pictures: dict[str, tuple[ImageRef, ...]] = {}
    for sample in samples:
        if sample.images:
            pictures.setdefault(sample.cluster, sample.images)
    own = {name: frozenset(image.key for image in images) for name, images in pictures.items()}
    order = sorted(pictures, key=lambda name: (_hash("/".join(sorted(own[name]))), _hash(name)))
    for step in range(1, len(order)):
        givers = order[step:] + order[:step]
        if all(own[taker].isdisjoint(own[giver]) for taker, giver in zip(order, givers, strict=True)):
            return {taker: pictures[giver] for taker, giver in zip(order, givers, strict=True)}
    return {}


def _hash(text: str) -> str:
    return sha256(f"wrong_image/{text}".encode()).hexdigest()


def _wrong(task: Task, asked: Asked, style: PromptStyle) -> ProbedTask:
    given = exchange([sample for sample, _ in asked])
    samples, prompts, left_out = [], [], {}
    for sample, prompt in asked:
        others = given.get(sample.cluster, ())
        if not prompt.images or not others:
            left_out[sample.index] = NO_OTHER if prompt.images else NO_PICTURE
            continue
        places = {image.key: others[place % len(others)] for place, image in enumerate(sample.images)}
        samples.append(sample)
        prompts.append(with_pictures(prompt, lambda image, places=places: places[image.key]))  # type: ignore[misc]
    return ProbedTask(samples=samples, prompts=prompts, left_out=left_out)


NO_IMAGE = ProbeRule(
    name="no_image",
    does="the picture is taken out of the prompt",
    apply=_each(without_pictures),
    blind=True,
)
BLANK = ProbeRule(
    name="blank",
    does=f"every picture is one and the same grey {BLANK_SIZE[0]} x {BLANK_SIZE[1]} (value {GREY[0]})",
    apply=_each(lambda prompt: with_pictures(prompt, lambda image: blank_picture())),
    blind=True,
)
WRONG_IMAGE = ProbeRule(
    name="wrong_image",
    does="every cluster of questions gets the pictures of another cluster of the task",
    apply=_wrong,
    blind=True,
)
BLUR = ProbeRule(
    name="blur",
    does=f"Gaussian blur, standard deviation {BLUR_RADIUS:g}/{SIDE} of the shorter side (ImageNet-C, level 3)",
    apply=_damaging("blur", blurred),
)
NOISE = ProbeRule(
    name="noise",
    does=f"Gaussian noise, standard deviation {NOISE_SIGMA} of white, on a grid of {SIDE} cells on the shorter side "
    "(ImageNet-C, level 3)",
    apply=_damaging("noise", noised),
)
OCCLUDE = ProbeRule(
    name="occlude",
    does=f"a grey rectangle of {OCCLUDED:g} of the width and of the height covers a place of the picture",
    apply=_damaging("occlude", occluded),
)
