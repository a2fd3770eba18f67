"""Text and pictures in, model inputs out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from transformers import AutoTokenizer, BatchFeature, ProcessorMixin

from .attention import IMAGE, QUESTION_END, TEXT
from .chat_template import chat_template as template_for
from .chat_template import format_of, question_end_token_id
from .configuration_aki import IMAGE_TOKEN, ImageOrder
from .image_processing_aki import AkiImageProcessor, flatten
from .published.facts import ADDED_TOKENS
from .published.hub import published_folder, read_json


class AkiProcessor(ProcessorMixin):  # type: ignore[misc]  # to mypy the library's classes are Any
    """Tokenizer, image processor and chat template in one.

    A text holds one `<image>` for each picture; here it becomes `num_latents` placeholder tokens, whose places the
    resampler's vectors take in the model. `image_order="text_first"` puts the pictures of every user turn behind its
    text (the T&I order of dual-order training, paper section 3.2); "image_first" leaves the parts in the order given.

    Raises:
        ValueError: the tokenizer does not know `<image>` as one token.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        num_latents: int = 144,
        image_order: ImageOrder = "image_first",
        **kwargs: Any,
    ) -> None:
        _check_order(image_order)
        self.num_latents = num_latents
        self.image_order = image_order
        self.image_token = IMAGE_TOKEN
        self.image_token_id = tokenizer.get_vocab().get(IMAGE_TOKEN)
        if self.image_token_id is None:
            raise ValueError("the tokenizer has no token '<image>'; add it with tokenizer.add_special_tokens")
        super().__init__(image_processor, tokenizer, chat_template=chat_template or template_for(format_of(tokenizer)))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """A folder or Hub id of ours, or one as AKI's authors publish it (which has a tokenizer, and no processor)."""
        folder = published_folder(pretrained_model_name_or_path, **kwargs)
        if folder is not None:
            return cls.from_published(folder, read_json(folder / "config.json"))
        if (settings := Path(pretrained_model_name_or_path) / "processor_config.json").exists():
            read_json(settings)  # a damaged one is an error with its name
        # Never code of a checkpoint's own, and no question whether it may run.
        made: Self = super().from_pretrained(pretrained_model_name_or_path, **{**kwargs, "trust_remote_code": False})
        return made

    @classmethod
    def from_published(cls, folder: Path, raw: Mapping[str, Any]) -> Self:
        """From a published folder's tokenizer and its config.json.

        A model of ours in that form has its template and order under `processor`. Otherwise prompts begin with `<s>`, a
        blank and `<|system|>`: the tokenizer of its training put a lone word mark there.

        Raises:
            ValueError: `<image>` does not get the id that the configuration says.
        """
        tokenizer = AutoTokenizer.from_pretrained(
            folder, padding_side="left", add_eos_token=False, trust_remote_code=False
        )
        known = tokenizer.get_vocab()
        tokenizer.add_special_tokens({"additional_special_tokens": [t for t in ADDED_TOKENS if t not in known]})
        tokenizer.pad_token = ADDED_TOKENS[0]
        expected = raw.get("image_token_id", raw["initial_tokenizer_len"])
        found = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        if found != expected:
            raise ValueError(f"{folder}: the tokenizer gives <image> the id {found}, config.json says {expected}")
        pictures = AkiImageProcessor(raw.get("n_px", 384), raw.get("norm_mean", 0.5), raw.get("norm_std", 0.5))
        settings = {"chat_template": template_for(format_of(tokenizer), after_start=" ")} | raw.get("processor", {})
        return cls(pictures, tokenizer, num_latents=raw["num_vision_tokens"], **settings)

    @property
    def question_end_token_id(self) -> int:
        """The id `AkiConfig.question_end_token_id` wants, taken from the chat template."""
        return question_end_token_id(self.tokenizer, self.chat_template)

    @property
    def stop_token_ids(self) -> list[int]:
        """Both ways an answer may end: end of text (as AKI was trained) and the backbone's own end of turn."""
        end_of_turn = self.tokenizer.convert_tokens_to_ids(format_of(self.tokenizer).end_token)
        return list(dict.fromkeys([self.tokenizer.eos_token_id, end_of_turn]))

    def __call__(self, images: Any = None, text: str | list[str] | None = None, **kwargs: Any) -> BatchFeature:
        """Text with `<image>` marks, and the pictures in the order of the marks (nested per text, or flat).

        A text that begins with the tokenizer's start token gets no second one.

        Raises:
            ValueError: a text is empty, or there are more or fewer pictures than marks.
        """
        texts = [text] if isinstance(text, str) else text
        if texts is not None:
            self._check_texts(texts, images)
            bos = self.tokenizer.bos_token
            if bos is not None and all(one.startswith(bos) for one in texts):
                kwargs.setdefault("add_special_tokens", False)
        return super().__call__(images=images if flatten(images) != [] else None, text=text, **kwargs)

    def _check_texts(self, texts: list[str], images: Any) -> None:
        marks = [one.count(self.image_token) for one in texts]
        for place, one in enumerate(texts, start=1):
            if not one.strip():
                raise ValueError(
                    f"text {place} of {len(texts)} is empty; write a question, or at least an <image> mark"
                )
        groups = images if isinstance(images, (list, tuple)) and len(images) == len(texts) else None
        if groups is not None and any(isinstance(group, (list, tuple)) for group in groups):
            for place, (group, wanted) in enumerate(zip(groups, marks, strict=True), start=1):
                _check_count(f"text {place} of {len(texts)}", wanted, len(flatten(group)))
        given = 0 if images is None else len(flatten(images))
        _check_count("the text" if len(texts) == 1 else f"the {len(texts)} texts", sum(marks), given)

    def apply_chat_template(self, conversation: Any, chat_template: str | None = None, **kwargs: Any) -> Any:
        """Conversations with parts {"type": "image"} and {"type": "text", "text": ...} -> prompt, or model inputs.

        AKI's system message is added where a conversation has none.

        Raises:
            ValueError: a conversation is empty, or a message has no role or no content.
        """
        if not conversation or not all(conversation):
            raise ValueError("the conversation is empty; it needs at least one message")
        _check_messages(conversation)
        _check_order(kwargs.setdefault("image_order", self.image_order))
        return super().apply_chat_template(conversation, chat_template, **kwargs)

    def create_mm_token_type_ids(self, input_ids: list[list[int]]) -> list[list[int]]:
        """Types of `model.attention` (the library's own know of no question end, and would make the mask causal)."""
        kind = {self.image_token_id: IMAGE, self.question_end_token_id: QUESTION_END}
        return [[kind.get(int(token), TEXT) for token in row] for row in input_ids]

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """What one `<image>` mark becomes."""
        return self.image_token * self.num_latents


def _check_messages(conversation: Any) -> None:
    """Looks through the messages of one conversation, or of a list of them.

    Raises:
        ValueError: a message has no role or no content; its place is named.
    """
    several = isinstance(conversation[0], (list, tuple))
    for messages in conversation if several else [conversation]:
        for place, message in enumerate(messages, start=1):
            if not isinstance(message, Mapping) or not message.get("role") or not message.get("content"):
                raise ValueError(
                    f"message {place} of {len(messages)} is {message!r:.80}, expected "
                    '{"role": ..., "content": ...} with a text or at least one part'
                )


def _check_order(image_order: str) -> None:
    if image_order not in ("image_first", "text_first"):
        raise ValueError(f"image_order={image_order!r}, expected 'image_first' or 'text_first'")


def _check_count(where: str, marks: int, pictures: int) -> None:
    if marks != pictures:
        raise ValueError(
            f"{where} has {marks} <image> marks but {pictures} pictures were given; pass one picture for each mark"
        )
