"""Zero-shot: one picture, one question, one answer.

    python -m model.examples.zero_shot CHECKPOINT PICTURE [QUESTION]

CHECKPOINT is a folder or Hub id, ours or as AKI's authors publish it (Sony/AKI-4B-phi-3.5-mini, 17 GB).
"""

from __future__ import annotations

import sys

import torch
from PIL import Image

from model import AkiForConditionalGeneration, AkiProcessor

DESCRIBE = "Describe the scene of this image."


def answer(checkpoint: str, picture: str, question: str = DESCRIBE, max_new_tokens: int = 256) -> str:
    """What the model says, greedily."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AkiForConditionalGeneration.from_pretrained(checkpoint, dtype="auto").to(device).eval()
    processor = AkiProcessor.from_pretrained(checkpoint)
    parts = [{"type": "image", "image": Image.open(picture)}, {"type": "text", "text": question}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": parts}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    ).to(device, model.dtype)
    output = model.generate(
        **inputs, max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=processor.stop_token_ids
    )
    text: str = processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return text


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    print(answer(*sys.argv[1:]))  # type: ignore[arg-type]  # at most three words, all of them text


if __name__ == "__main__":
    main()
