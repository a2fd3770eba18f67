"""A tokenizer with Phi-3.5's layout and without its words: 32,000 ordinary ids, of which those of characters are used.

Special ids, their order and `rstrip` (role marks swallow the line break behind them) are those of Phi-3.5 mini with
AKI's three additions, so that golden ids of special tokens and label masks mean what they mean there.
"""

from __future__ import annotations

import string
from typing import Any

SPECIAL = {  # id -> token, does it swallow white space on its right
    32000: ("<|endoftext|>", False),
    32001: ("<|assistant|>", True),
    32002: ("<|placeholder1|>", True),
    32003: ("<|placeholder2|>", True),
    32004: ("<|placeholder3|>", True),
    32005: ("<|placeholder4|>", True),
    32006: ("<|system|>", True),
    32007: ("<|end|>", True),
    32008: ("<|placeholder5|>", True),
    32009: ("<|placeholder6|>", True),
    32010: ("<|user|>", True),
    32011: ("<pad>", False),
    32012: ("<image>", False),
    32013: ("<|endofchunk|>", False),
}
FIRST_SPECIAL = 32000


def phi3_style_tokenizer() -> Any:
    """One id a character: `<unk>` 0, `<s>` 1, `</s>` 2, then the characters in the order of `string.printable`."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<unk>", "<s>", "</s>", *string.printable]
    pieces += [f"<unused{number}>" for number in range(len(pieces), FIRST_SPECIAL)]
    tokenizer = Tokenizer(models.WordLevel({piece: number for number, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken("<s>", special=True)])
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False, rstrip=rstrip) for token, rstrip in SPECIAL.values()]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="<|endoftext|>", pad_token="<pad>", padding_side="left"
    )
    assert made.convert_tokens_to_ids([token for token, _ in SPECIAL.values()]) == list(SPECIAL)
    return made
