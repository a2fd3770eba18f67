"""Who may see whom: modality-mutual attention (Eq. 5 and 6), causal attention (Eq. 2), and the masks people propose.

A kind of attention is one predicate over two tokens, the one that looks and the one that is seen, and a declaration of
what it must do to a model. `model.attention` makes masks of the predicate; the self-test, the drawings and the tests go
through the table `KINDS`. A new kind is one entry there, and a matrix drawn by hand in tests/test_model_attention.py.

Needs no torch, so that command lines and recipes can name the kinds at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Tokens(NamedTuple):
    """What a predicate may ask of a token. All (B, L) in a layout, and of shapes that broadcast inside a predicate.

    Places count from the beginning of the sequence, what is in the cache included.
    """

    place: Tensor
    modality: Tensor
    """The type, the question end counted as text."""
    image: Tensor
    """The running number of the picture a latent belongs to, -1 for everything else."""
    ring: Tensor
    """Distance of a latent from the border of its square."""
    last_visible: Tensor
    """For pictures and further modalities the end of the question behind them, else the token's own place."""
    prompt_end: Tensor
    """The first question end behind the sequence's first picture, -1 without one (or where it lies in the cache)."""


Predicate = Callable[[Tokens, Tokens], "Tensor"]
"""(the tokens that look, the tokens that are seen) -> bool, True = may see."""


def causal(query: Tokens, key: Tokens) -> Tensor:
    """Eq. 2: M(i, j) = 0 where j <= i, -inf elsewhere."""
    return key.place <= query.place


def mma(query: Tokens, key: Tokens) -> Tensor:
    """Eq. 6, of which Eq. 5 is the case of one picture before one text.

    M(i, j) = 0 where j <= i, or where m(i) != m(j) and j belongs to the question that i precedes; -inf elsewhere.
    Tokens of one picture, and of several pictures, see each other causally: they share a modality.
    """
    return causal(query, key) | ((key.place <= query.last_visible) & (query.modality != key.modality))


def cca(query: Tokens, key: Tokens) -> Tensor:
    """Concentric causal attention: in a picture a latent sees its ring and all rings around it; elsewhere causal."""
    same = _same_image(query, key)
    return (same & (key.ring <= query.ring)) | (~same & causal(query, key))


def v2v(query: Tokens, key: Tokens) -> Tensor:
    """The latents of one picture see each other, whatever their order; elsewhere causal (FutureMask's M^v2v)."""
    return causal(query, key) | _same_image(query, key)


def future(query: Tokens, key: Tokens) -> Tensor:
    """A latent sees all that follows it up to its question's end, latents and words.

    FutureMask's M^f, arXiv 2505.18605.
    """
    return causal(query, key) | ((query.image >= 0) & (key.place <= query.last_visible))


def prefix(query: Tokens, key: Tokens) -> Tensor:
    """Prefix-LM: everything up to the first question end sees everything up to there; behind it causal.

    Later turns are causal, too: between them lie answers, which their questions must not read ahead of time. Without a
    picture all is causal, as under every other kind.
    """
    return causal(query, key) | ((query.place <= query.prompt_end) & (key.place <= query.prompt_end))


def mma_v2v(query: Tokens, key: Tokens) -> Tensor:
    """Both: a latent sees its question and all latents of its own picture."""
    return mma(query, key) | v2v(query, key)


def _same_image(query: Tokens, key: Tokens) -> Tensor:
    return (query.image == key.image) & (query.image >= 0)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of attention: its predicate, and what must be seen of it in any model, given one picture and a question.

    The declarations are made by hand and not derived from the predicate: the self-test holds a real model against them.
    """

    sees: Predicate
    title: str
    first_row: Literal["prompt", "image"] | None
    """The first row whose output may differ from causal attention: the prompt's, the picture's; None: none differs."""
    question_reaches_image: bool
    """Whether another word in the question changes the picture's rows."""
    question_reaches_earlier_text: bool = False
    """Whether it changes the rows before the picture."""
    later_latents_reach_earlier: bool = False
    """Whether a picture's last latent changes its earlier ones within one layer."""
    drawn: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Sequences and what each token sees, by hand. `model.drawn` says how, and holds the predicate against them."""

    def __post_init__(self) -> None:
        """A declaration that says nothing is found where it is made.

        Raises:
            ValueError: `first_row` is none of the three, or a drawing is none.
        """
        if self.first_row not in ("prompt", "image", None):
            raise ValueError(f"first_row is {self.first_row!r}, expected 'prompt', 'image' or None")
        for sequence, rows in self.drawn.items():
            pictures = {sequence.count(digit) for digit in sequence if digit.isdecimal()}
            if not re.fullmatch("[tqa1-9]+", sequence) or len(pictures) > 1 or ("1" in sequence) != bool(pictures):
                raise ValueError(
                    f"drawn: {sequence!r} is no sequence; expected t (text), q (question's end), a (answer) and 1, 2, "
                    "... for the latents of pictures, equally many each"
                )
            if [len(row) for row in rows] != [len(sequence)] * len(sequence) or set("".join(rows)) - set("#."):
                raise ValueError(
                    f"drawn: of {sequence} expected {len(sequence)} rows of {len(sequence)} # and ., found {list(rows)}"
                )


GROUP = "aki_eval.mask_kinds"
"""The entry points by which installed packages announce further kinds."""


class Kinds(dict[str, Kind]):
    """The kinds by name. One that is not among them is looked for in installed packages before it counts as unknown."""

    def __contains__(self, name: object) -> bool:
        """Whether there is such a kind.

        Raises:
            ValueError: a package announces it, and it cannot be used.
        """
        return isinstance(name, str) and (dict.__contains__(self, name) or self._installed(name))

    def __missing__(self, name: str) -> Kind:
        if name not in self:
            raise KeyError(name)
        return self[name]

    def _installed(self, name: str) -> bool:
        found = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
        if len(found) > 1:
            raise ValueError(f"attention={name!r}: {' and '.join(sorted(found))} have that name; uninstall one of them")
        for value, entry in found.items():
            try:
                kind = entry.load()
            except Exception as error:  # somebody else's module may do anything
                raise ValueError(
                    f"attention={name!r}: {value} does not load: {type(error).__name__}: {error}"
                ) from error
            if not isinstance(kind, Kind):
                raise ValueError(f"attention={name!r}: {value} is a {type(kind).__name__}, expected a model.kinds.Kind")
            self[name] = kind
        return bool(found)


KINDS = Kinds(
    {
        "mma": Kind(sees=mma, title="modality-mutual (Eq. 5)", first_row="image", question_reaches_image=True),
        "causal": Kind(sees=causal, title="causal (Eq. 2)", first_row=None, question_reaches_image=False),
        "cca": Kind(
            sees=cca,
            title="concentric causal",
            first_row="image",
            question_reaches_image=False,
            later_latents_reach_earlier=True,
        ),
        "v2v": Kind(
            sees=v2v,
            title="latents see their picture",
            first_row="image",
            question_reaches_image=False,
            later_latents_reach_earlier=True,
        ),
        "future": Kind(
            sees=future,
            title="latents see all of the question",
            first_row="image",
            question_reaches_image=True,
            later_latents_reach_earlier=True,
        ),
        "prefix": Kind(
            sees=prefix,
            title="prefix-LM",
            first_row="prompt",
            question_reaches_image=True,
            question_reaches_earlier_text=True,
            later_latents_reach_earlier=True,
        ),
        "mma_v2v": Kind(
            sees=mma_v2v,
            title="modality-mutual, and latents see their picture",
            first_row="image",
            question_reaches_image=True,
            later_latents_reach_earlier=True,
        ),
    }
)

OURS = frozenset(KINDS)
"""Proven by matrices in the tests. Every other kind is tried before a model stands on it (`model.drawn.check_kind`)."""


def find_kind(name: str) -> Kind:
    """The kind of that name.

    Raises:
        ValueError: there is none; an unknown kind must not turn out causal without a word.
    """
    if name not in KINDS:
        raise ValueError(f"attention={name!r}, expected one of {', '.join(map(repr, KINDS))}")
    return KINDS[name]


def kinds_by_layer(attention: str, layers: Mapping[str, str] | None, num_layers: int) -> tuple[str, ...]:
    """The kind of every layer: `attention`, and another one where `layers` says so.

    Args:
        attention: of all layers that `layers` does not name.
        num_layers: of the text backbone.
        layers: `{"0-9": "causal"}`: layers 0 to 9 of the text backbone are causal. Also `{"3": ...}`. None: none.

    Raises:
        ValueError: an unknown kind, a range that cannot be read, lies outside the model or is given twice, or `cca`
            among other kinds: its places in the sequence are its own, and a sequence has one set of them.
    """
    find_kind(attention)
    found: dict[int, str] = {}
    for text, kind in (layers or {}).items():
        find_kind(kind)
        for layer in layer_range(text):
            if layer >= num_layers:
                raise ValueError(
                    f"attention_layers names layers {text}, but the text backbone has {num_layers}: 0-{num_layers - 1}"
                )
            if layer in found:
                raise ValueError(f"attention_layers gives layer {layer} twice: {found[layer]} and {kind}")
            found[layer] = kind
    kinds = tuple(found.get(layer, attention) for layer in range(num_layers))
    if "cca" in kinds and len(set(kinds)) > 1:
        raise ValueError("attention_layers mixes cca with other kinds, but cca has positions of its own for all layers")
    return kinds


def layer_range(text: str) -> range:
    """`0-9` or `3` as a range of layers.

    Raises:
        ValueError: it is neither.
    """
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
        raise ValueError(f"attention_layers: {text!r}, expected a layer such as '3' or a range such as '0-9'")
    return range(int(first), int(last or first) + 1)


def read_layers(text: str) -> dict[str, str]:
    """`0-9=causal,20=v2v` as `kinds_by_layer` takes it.

    Raises:
        ValueError: it is not written like that, or names a range twice.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        layers, equals, kind = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"{text!r}, expected ranges and kinds such as 0-9=causal")
        if layers in found:
            raise ValueError(f"{text!r} names layers {layers} twice")
        layer_range(layers)
        find_kind(kind)
        found[layers] = kind
    return found
