"""Text and pictures in, model inputs out."""

from __future__ import annotations

from typing import Any

from transformers import BatchFeature, ProcessorMixin

from .chat_template import chat_template as template_for
from .chat_template import format_of, question_end_token_id
from .configuration_aki import IMAGE_TOKEN, ImageOrder
from .image_processing_aki import flatten


class AkiProcessor(ProcessorMixin):
    """Tokenizer, image processor and chat template in one.

    A text holds one `<image>` for each picture; here it becomes `num_latents` placeholder tokens, whose places the
    resampler's vectors take in the model. `image_order="text_first"` puts the pictures of every user turn behind its
    text (the T&I order of dual-order training, paper section 3.2); "image_first" leaves the parts in the order given.

    Raises ValueError when the tokenizer does not know `<image>` as one token.
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
        if image_order not in ("image_first", "text_first"):
            raise ValueError(f"image_order={image_order!r}, expected 'image_first' or 'text_first'")
        self.num_latents = num_latents
        self.image_order = image_order
        self.image_token = IMAGE_TOKEN
        self.image_token_id = tokenizer.get_vocab().get(IMAGE_TOKEN)
        if self.image_token_id is None:
            raise ValueError("the tokenizer has no token '<image>'; add it with tokenizer.add_special_tokens")
        super().__init__(image_processor, tokenizer, chat_template=chat_template or template_for(format_of(tokenizer)))

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

        A text that begins with the tokenizer's start token gets no second one. Raises ValueError for an empty text, and
        for more or fewer pictures than marks.
        """
        texts = [text] if isinstance(text, str) else text
        if texts is not None:
            self._check_texts(texts, images)
            bos = self.tokenizer.bos_token
            if bos is not None and all(one.startswith(bos) for one in texts):
                kwargs.setdefault("add_special_tokens", False)
        return super().__call__(images=images, text=text, **kwargs)

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
        """
        if not conversation:
            raise ValueError("the conversation is empty; it needs at least one message")
        kwargs.setdefault("image_order", self.image_order)
        return super().apply_chat_template(conversation, chat_template, **kwargs)

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """What one `<image>` mark becomes."""
        return self.image_token * self.num_latents


def _check_count(where: str, marks: int, pictures: int) -> None:
    if marks != pictures:
        raise ValueError(
            f"{where} has {marks} <image> marks but {pictures} pictures were given; pass one picture for each mark"
        )
