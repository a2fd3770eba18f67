"""The toy's tokenizer: whole words, Phi-3's special tokens, and each fixed phrase of the prompts as one token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from model.chat_template import SYSTEM_MESSAGE

from ..data import templates

SPECIAL = ("<pad>", "<unk>", "<s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>", "<image>")
PHRASES = (
    SYSTEM_MESSAGE,
    templates.SHORT_ANSWER.partition(" {")[0],
    templates.CHOICE.partition(" {")[0],
    templates.YES_NO.rpartition("} ")[2],
    templates.REGION.partition(" <")[0],
)
"""Said in the same words every time: one token each keeps toy prompts short."""

PIECE = r"[A-Za-z]+|[0-9]|[^\sA-Za-z0-9]"


def build_tokenizer(words: Iterable[str]) -> Any:
    """A PreTrainedTokenizerFast over words, digits and marks (case matters, line breaks and spaces only separate)."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = sorted({word for word in words if word.strip()})
    special = [*SPECIAL, templates.END_OF_CHUNK]
    vocabulary = {token: number for number, token in enumerate([*special, *PHRASES, *pieces])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECE), behavior="removed", invert=True)
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in PHRASES])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="<|endoftext|>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=[
            token for token in special if token not in ("<s>", "<pad>", "<unk>", "<|endoftext|>")
        ],
        padding_side="left",
    )
