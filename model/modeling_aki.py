"""AKI: a vision tower, a resampler and a text decoder that sees pictures and question mutually (paper section 3.3).

Letters: B rows of a batch, L tokens, M pictures in the batch, P patches, D vision width, N latents of a picture, T text
width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import AutoModel, GenerationMixin
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling, ModelOutput
from transformers.utils.deprecation import deprecate_kwarg

from . import attention
from .backends import BY_LAYER, choose_mask, create_masks, is_layered
from .configuration_aki import AkiConfig
from .generation import AkiGeneration
from .loading import AkiLoading
from .modeling_base import AkiPreTrainedModel
from .resampler import Resampler

Method = TypeVar("Method", bound=Callable[..., Any])

# As on the library's own models: until 5.40 a caller's `past_key_values` is taken as `cache`, with a warning.
renamed_cache: Callable[[Method], Method] = deprecate_kwarg("past_key_values", "5.40.0", new_name="cache")


@dataclass
class AkiOutput(ModelOutput):  # type: ignore[misc]  # to mypy the library's classes are Any
    """loss: mean over all label tokens of the batch. logits: (B, L, V). image_hidden_states: (M, N, T)."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    cache: Cache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    image_hidden_states: Tensor | None = None


class AkiModel(AkiPreTrainedModel):
    """Everything but the head: pictures and tokens in, the text backbone's hidden states out."""

    def __init__(self, config: AkiConfig) -> None:
        super().__init__(config)
        self.vision_tower = AutoModel.from_config(config.vision_config, trust_remote_code=False)
        self.resampler = Resampler(config)
        self.language_model = AutoModel.from_config(config.text_config, trust_remote_code=False)
        self._layers_choose = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        embedding: nn.Module = self.language_model.get_input_embeddings()
        return embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_vision_features(self, pixel_values: Tensor) -> Tensor:
        """(M, 3, H, W) -> (M, P, D): patches after the tower's last LayerNorm. Keep them when the tower is frozen.

        Raises:
            ValueError: they have another rank or size.
        """
        size = self.config.vision_config.image_size
        wanted = (self.config.vision_config.num_channels, size, size)
        if pixel_values.ndim != 4 or tuple(pixel_values.shape[1:]) != wanted:
            raise ValueError(
                f"pixel_values have shape {tuple(pixel_values.shape)}, expected (pictures, "
                f"{', '.join(map(str, wanted))}) as the image processor makes them"
            )
        patches: Tensor = self.vision_tower(pixel_values=pixel_values.to(self.vision_tower.dtype)).last_hidden_state
        return patches

    def get_image_features(
        self, pixel_values: Tensor | None = None, vision_hidden_states: Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Pictures (M, 3, H, W), or the tower's output for them (M, P, D), -> `pooler_output` (M, N, T).

        Raises:
            ValueError: neither of the two is given.
        """
        if vision_hidden_states is None:
            if pixel_values is None:
                raise ValueError(
                    "get_image_features got neither pixel_values nor vision_hidden_states; pass one of them"
                )
            vision_hidden_states = self.get_vision_features(pixel_values)
        vectors = self.resampler(vision_hidden_states.to(self.resampler.latents.dtype))
        return BaseModelOutputWithPooling(last_hidden_state=vision_hidden_states, pooler_output=vectors)

    @renamed_cache
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | dict[str, Tensor] | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        mm_token_type_ids: Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        vision_hidden_states: Tensor | None = None,
        **kwargs: Any,
    ) -> AkiModelOutput:
        """See `AkiForConditionalGeneration.forward`."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("pass exactly one of input_ids and inputs_embeds")
        # 1. Token types: who is picture, who is text, where a question ends.
        if mm_token_type_ids is None:
            mm_token_type_ids = self.token_types(input_ids, inputs_embeds)
        # 2. Latents take the placeholders' places.
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        features = self._image_vectors(pixel_values, vision_hidden_states, mm_encoder_outputs)
        inputs_embeds = insert_images(inputs_embeds, mm_token_type_ids == attention.IMAGE, features)
        # 3. Positions and mask. A decoding step needs no mask of ours: one query that sees all of the past.
        if position_ids is None:
            position_ids = self._positions(mm_token_type_ids, attention_mask, cache)
        self._check_length(inputs_embeds)
        if inputs_embeds.shape[1] > 1 and not is_finished(attention_mask):
            attention_mask = create_masks(
                self.config,
                inputs_embeds,
                attention_mask,  # type: ignore[arg-type]  # a dict is finished
                cache,
                mm_token_type_ids=mm_token_type_ids,
            )
        # 4. The text backbone. Layers with kinds of attention of their own choose among the masks as they are called.
        if is_layered(attention_mask):
            attention_mask, kwargs = self.for_layers(attention_mask, kwargs)
        outputs: BaseModelOutputWithPast = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=cache,
            use_cache=use_cache,
            **kwargs,
        )
        return AkiModelOutput(
            last_hidden_state=outputs.last_hidden_state,
            cache=outputs.cache,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=features,
        )

    def for_layers(self, masks: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Masks by kind -> the backbone's mask, and its keywords with a mask for every layer.

        Raises:
            ValueError: the backbone's layers cannot be reached.
        """
        kinds = self.config.layer_kinds
        layers = getattr(self.language_model, "layers", ())
        if len(layers) != len(kinds):
            raise ValueError(
                f"attention_layers needs a text backbone with its {len(kinds)} layers in `layers`; "
                f"{type(self.language_model).__name__} has {len(layers)} there"
            )
        if not self._layers_choose:  # for good: checkpointed layers are called again in the backward pass
            for place, layer in enumerate(layers):
                layer.register_forward_pre_hook(partial(choose_mask, place), with_kwargs=True)
            self._layers_choose = True
        types = getattr(self.config.text_config, "layer_types", None)
        own = [masks[kind] if types is None else masks[kind][types[place]] for place, kind in enumerate(kinds)]
        return masks[kinds[0]], kwargs | {BY_LAYER: own}

    def token_types(self, input_ids: Tensor | None, inputs_embeds: Tensor | None = None) -> Tensor:
        """(B, L) types from ids. Embeddings do not tell: with them, only causal attention needs no `mm_token_type_ids`.

        Raises:
            ValueError: they are needed and not given.
        """
        if input_ids is None:
            if set(self.config.layer_kinds) != {"causal"}:
                raise ValueError(
                    f"attention={self.config.attention!r} with inputs_embeds needs mm_token_type_ids, types of "
                    "model.attention (zeros for text alone): embeddings do not tell pictures and questions apart"
                )
            embeds: Any = inputs_embeds  # one of the two is given
            return torch.zeros(embeds.shape[:2], dtype=torch.long, device=embeds.device)
        if self.config.image_token_id is None or (
            "mma" in self.config.layer_kinds and self.config.question_end_token_id is None
        ):
            raise ValueError(
                "the configuration lacks image_token_id or question_end_token_id, and the mask would be causal without "
                "a word; a processor of the backbone's family knows both"
            )
        return attention.token_types(input_ids, self.config.image_token_id, self.config.question_end_token_id)

    def _image_vectors(
        self,
        pixel_values: Tensor | None,
        vision_hidden_states: Tensor | None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None,
    ) -> Tensor | None:
        """(M, N, T) from whichever of the three the caller had; None without pictures."""
        ready = (mm_encoder_outputs or {}).get("image")
        if sum(given is not None for given in (pixel_values, vision_hidden_states, ready)) > 1:
            raise ValueError("pass only one of pixel_values, vision_hidden_states and mm_encoder_outputs['image']")
        if ready is not None:
            vectors: Tensor = ready.pooler_output
            return vectors
        if pixel_values is None and vision_hidden_states is None:
            return None
        made: Tensor = self.get_image_features(pixel_values, vision_hidden_states).pooler_output
        return made

    def _positions(
        self, types: Tensor, attention_mask: Tensor | dict[str, Tensor] | None, cache: Cache | None
    ) -> Tensor:
        past = 0 if cache is None else cache.get_seq_length()
        padding = attention_mask if isinstance(attention_mask, Tensor) and attention_mask.ndim == 2 else None
        if not isinstance(past, Tensor) and past == 0:
            return attention.positions(self.config.attention, types, padding, self.config.num_latents)
        if self.config.attention == "cca":
            raise ValueError(
                "attention='cca' with a filled cache needs position_ids: the cache does not tell how many of its "
                "tokens are latents. generate() passes them; in your own loop go on from the prompt's last position"
            )
        if padding is not None:
            return (padding.long().cumsum(-1) - 1).clamp(min=0)[:, -types.shape[1] :]
        return torch.arange(types.shape[1], device=types.device)[None] + past

    def _check_length(self, inputs_embeds: Tensor) -> None:
        limit = getattr(self.config.text_config, "max_position_embeddings", None)
        if limit is not None and inputs_embeds.shape[1] > limit:
            raise ValueError(
                f"the prompt is {inputs_embeds.shape[1]} tokens long (each picture counts {self.config.num_latents}), "
                f"the text backbone's context holds {limit}; shorten the prompt or use fewer pictures"
            )


@dataclass
class AkiModelOutput(BaseModelOutputWithPast):  # type: ignore[misc]  # to mypy the library's classes are Any
    """The backbone's output, and the pictures' vectors (M, N, T)."""

    image_hidden_states: Tensor | None = None


def is_finished(attention_mask: Tensor | dict[str, Tensor] | None) -> bool:
    """Whether `generate` (or the caller) already built the 4-D mask, or one for each kind of layer."""
    return attention_mask is not None and (not isinstance(attention_mask, Tensor) or attention_mask.ndim == 4)


def insert_images(inputs_embeds: Tensor, is_image: Tensor, vectors: Tensor | None) -> Tensor:
    """(B, L, T) with the rows where `is_image` (B, L) replaced, in order, by the pictures' (M, N, T).

    Raises:
        ValueError: there are more or fewer placeholders than vectors.
    """
    if vectors is None and is_image.shape[1] == 1:  # a decoding step; counting would make a GPU wait for it
        return inputs_embeds
    wanted = int(is_image.sum()) if not torch.compiler.is_compiling() else None
    given = 0 if vectors is None else vectors.shape[0] * vectors.shape[1]
    if wanted is not None and wanted != given:
        each = "" if vectors is None else f" ({vectors.shape[0]} pictures of {vectors.shape[1]})"
        raise ValueError(
            f"the prompts hold {wanted} image placeholder tokens, but there are {given} image vectors{each}; pass one "
            "picture for each <image> mark, and let the processor expand the marks"
        )
    if vectors is None:
        return inputs_embeds
    return inputs_embeds.masked_scatter(is_image[..., None], vectors.to(inputs_embeds))


class AkiForConditionalGeneration(AkiLoading, AkiGeneration, AkiPreTrainedModel, GenerationMixin):  # type: ignore[misc]  # Any
    """AKI with its language-model head."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: AkiConfig) -> None:
        super().__init__(config)
        self.model = AkiModel(config)
        self.lm_head = nn.Linear(
            config.text_config.hidden_size, config.text_config.vocab_size, bias=config.lm_head_bias
        )
        self.post_init()
        if config.image_token_id is not None:
            self.generation_config.suppress_tokens = [config.image_token_id]  # a placeholder is no word

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.lm_head = value

    def get_vision_features(self, pixel_values: Tensor) -> Tensor:
        """(M, 3, H, W) -> (M, P, D). See `AkiModel.get_vision_features`."""
        return self.model.get_vision_features(pixel_values)

    def get_image_features(
        self, pixel_values: Tensor | None = None, vision_hidden_states: Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Pictures in, `pooler_output` (M, N, T) out. `mm_encoder_outputs={"image": ...}` takes this back."""
        return self.model.get_image_features(pixel_values, vision_hidden_states, **kwargs)

    @renamed_cache
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | dict[str, Tensor] | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        mm_token_type_ids: Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        vision_hidden_states: Tensor | None = None,
        loss_only: bool = False,
        **kwargs: Any,
    ) -> AkiOutput:
        """One pass.

        input_ids: (B, L) with N placeholders for every picture. attention_mask: (B, L) 1 = real; or a finished 4-D
        mask. labels: (B, L), -100 = not learned; the loss is the mean over all label tokens (`num_items_in_batch`
        overrides the divisor). Pictures come as pixel_values (M, 3, H, W), as vision_hidden_states (M, P, D), the
        frozen tower's output, or as mm_encoder_outputs, the resampler's; in the order of their placeholders.
        mm_token_type_ids: (B, L) types of `model.attention`; worked out from input_ids when absent.
        loss_only: logits are made for what `labels` ask alone, and not returned. The loss is the same: a short answer
        behind a picture and a question asks for 3 of 300 positions, each V numbers wide.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=cache,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            mm_token_type_ids=mm_token_type_ids,
            mm_encoder_outputs=mm_encoder_outputs,
            vision_hidden_states=vision_hidden_states,
            **{key: value for key, value in kwargs.items() if key != "num_items_in_batch"},
        )
        if loss_only:
            return AkiOutput(loss=self._loss_of_learned(outputs.last_hidden_state, labels, **kwargs))
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size, **kwargs
            )
        return AkiOutput(
            loss=loss,
            logits=logits,
            cache=outputs.cache,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
        )

    def _loss_of_learned(self, hidden_BLT: Tensor, labels: Tensor | None, **kwargs: Any) -> Tensor:
        """The loss, through the head at those positions alone whose next token is learned.

        Raises:
            ValueError: there are no labels.
        """
        if labels is None:
            raise ValueError("loss_only needs labels; leave it out to get logits")
        learned = labels[:, 1:] != attention.IGNORED
        loss: Tensor = self.loss_function(
            logits=self.lm_head(hidden_BLT[:, :-1][learned]),
            labels=None,
            shift_labels=labels[:, 1:][learned],
            vocab_size=self.config.text_config.vocab_size,
            **kwargs,
        )
        return loss
