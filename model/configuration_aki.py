"""What an AKI model is made of: vision tower, perceiver resampler, text backbone, and the attention between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from transformers import AutoConfig, PreTrainedConfig, SiglipVisionConfig

from .kinds import KINDS, OURS, kinds_by_layer
from .published.config import is_published_config, settings_of
from .published.facts import IMAGE_ID, PHI_3_5, PHI_ASSISTANT, SO400M

ImageOrder = Literal["image_first", "text_first"]

IMAGE_TOKEN = "<image>"
"""The placeholder's text. `AkiConfig.image_token_id` is its id; the resampler's latents take its place."""


class AkiConfig(PreTrainedConfig):  # type: ignore[misc]  # to mypy the library's classes are Any
    """Configuration of `AkiForConditionalGeneration`. The defaults are AKI-4B's (paper section 4.1).

    vision_config, text_config: of the vision tower (SigLIP) and of the text backbone (Phi-3.5, Llama, Qwen2, ...).
    num_latents, resampler_depth, resampler_heads, resampler_dim_head, resampler_ff_mult: the perceiver resampler. Every
        picture becomes `num_latents` vectors.
    resampler_position_encoding: "none" as in the paper; "sincos" adds two-dimensional sine-cosine positions to queries
    and
        keys. resampler_init: "normal", or "identity" for projections that start close to the identity. Both help models
        that train for minutes; neither is the paper's.
    attention: "mma" (Eq. 5 and 6), "causal" (Eq. 2), "cca" (concentric causal attention, the paper's baseline), or
        another of `model.kinds.KINDS`: "v2v", "future", "prefix", "mma_v2v".
    attention_layers: layers of the text backbone with another kind, `{"0-9": "causal"}`; None: all have `attention`.
    image_order: the order the model was last trained with (Eq. 4: I&T or T&I); the processor's template follows its own
        setting.
    image_token_id, question_end_token_id: placeholder, and the token that ends a question (`<|assistant|>` for Phi): an
        image sees the prompt's text up to and including it. Both depend on the tokenizer and have no default, except
        for the published text backbone; a processor knows them by the same names.
    lm_head_bias: the published weights have one.

    Raises:
        ValueError: settings exclude each other.
    """

    model_type = "aki"
    sub_configs = {"vision_config": SiglipVisionConfig, "text_config": AutoConfig}  # noqa: RUF012 (the library's name)

    if TYPE_CHECKING:  # what they are once made; below, what may be given, which the library checks when it runs
        vision_config: PreTrainedConfig
        text_config: PreTrainedConfig
    else:
        vision_config: dict[str, Any] | PreTrainedConfig | None = None
        text_config: dict[str, Any] | PreTrainedConfig | None = None
    num_latents: int = 144
    resampler_depth: int = 6
    resampler_heads: int = 8
    resampler_dim_head: int = 64
    resampler_ff_mult: int = 4
    resampler_position_encoding: Literal["none", "sincos"] = "none"
    resampler_init: Literal["normal", "identity"] = "normal"
    attention: str = "mma"
    attention_layers: dict[str, str] | None = None
    image_order: ImageOrder = "image_first"
    image_token_id: int | None = None
    question_end_token_id: int | None = None
    lm_head_bias: bool = False
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        if self.text_config is None:  # the published model
            self.image_token_id = IMAGE_ID if self.image_token_id is None else self.image_token_id
            self.question_end_token_id = self.question_end_token_id or PHI_ASSISTANT
        self.vision_config = _vision_config(self.vision_config)
        self.text_config = _text_config(self.text_config)
        if getattr(self.text_config, "tie_word_embeddings", False):  # some backbones share embedding and head
            self.tie_word_embeddings = True
        super().__post_init__(**kwargs)
        check_config(self)

    @property
    def layer_kinds(self) -> tuple[str, ...]:
        """The kind of attention of every layer of the text backbone."""
        return kinds_by_layer(self.attention, self.attention_layers, self.text_config.num_hidden_layers)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As the library's, which sets overriding keywords without a check."""
        made = super().from_dict(config_dict, **kwargs)
        check_config(made[0] if isinstance(made, tuple) else made)
        return made

    @classmethod
    def from_published(cls, raw: Mapping[str, Any], folder: Path | None = None) -> Self:
        """From a config.json as AKI's authors publish it; `folder` is where it lies.

        Raises:
            ValueError: something is absent or of the wrong kind; the file is named.
        """
        try:
            return cls(**settings_of(raw, folder))
        except (KeyError, TypeError, AttributeError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else f"holds something unexpected ({error})"
            place = (folder or Path()) / "config.json"
            raise ValueError(f"{place} {what}; expected a published AKI config.json") from error

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> tuple[dict[str, Any], Any]:
        """As the library's, for folders and Hub ids of ours and as AKI's authors publish them.

        Raises:
            ValueError: a checkpoint of another model; the library would warn and fill in AKI-4B's sizes.
        """
        found, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if is_published_config(found):
            place = Path(pretrained_model_name_or_path)
            return cls.from_published(found, place if place.is_dir() else place.parent).to_dict(), kwargs
        if found.get("model_type") != cls.model_type:
            kind = found.get("model_type", "none")
            raise ValueError(
                f"{pretrained_model_name_or_path} is no AKI checkpoint: the model_type of its config.json is {kind!r}, "
                f"expected {cls.model_type!r} or the form AKI's authors publish"
            )
        return found, kwargs


def _vision_config(given: dict[str, Any] | PreTrainedConfig | None) -> PreTrainedConfig:
    """SigLIP-so400m at 384 pixels unless told otherwise. The pooling head is left out: AKI reads the patches."""
    if isinstance(given, PreTrainedConfig):
        return given
    settings = {key: value for key, value in (given or SO400M).items() if key != "model_type"}
    return SiglipVisionConfig(**{"vision_use_head": False} | settings)


def _text_config(given: dict[str, Any] | PreTrainedConfig | None) -> PreTrainedConfig:
    if isinstance(given, PreTrainedConfig):
        return given
    settings = dict(given or PHI_3_5)
    return AutoConfig.for_model(settings.pop("model_type", "phi3"), **settings)


def check_config(config: AkiConfig) -> None:
    """Raises ValueError for settings that no model can have."""
    choices: dict[str, Collection[str]] = {
        "attention": KINDS,
        "image_order": ("image_first", "text_first"),
        "resampler_position_encoding": ("none", "sincos"),
        "resampler_init": ("normal", "identity"),
    }
    for name, allowed in choices.items():
        if getattr(config, name) not in allowed:
            raise ValueError(f"{name}={getattr(config, name)!r}, expected one of {', '.join(map(repr, allowed))}")
    kinds = config.layer_kinds
    for name in sorted({*kinds} - OURS):
        from .drawn import check_kind

        check_kind(name, KINDS[name])
    side = round(config.num_latents**0.5)
    if "cca" in kinds and (side * side != config.num_latents or side % 2):
        raise ValueError(
            f"attention='cca' lays the latents out as a square with an even side, but "
            f"num_latents={config.num_latents}; use 4, 16, 36, 64, 100, 144, ..."
        )
    if config.image_token_id is not None and not 0 <= config.image_token_id < config.text_config.vocab_size:
        raise ValueError(
            f"image_token_id={config.image_token_id} lies outside the vocabulary of {config.text_config.vocab_size}; "
            "enlarge text_config.vocab_size to cover the placeholder"
        )
