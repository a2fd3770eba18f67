"""The model card that is written beside saved weights."""

from __future__ import annotations

from huggingface_hub import ModelCard, ModelCardData
from transformers import PreTrainedConfig

from .configuration_aki import AkiConfig
from .kinds import KINDS


def model_card(config: AkiConfig) -> ModelCard:
    """Metadata the Hub understands, what the model is made of, and how to ask it something.

    No numbers: those come from an evaluation (`aki-eval report --format model-card`).
    """
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="image-text-to-text",
        tags=["aki", "modality-mutual-attention", "arxiv:2503.02597"],
    )
    tower, text = _network(config.vision_config), _network(config.text_config)
    return ModelCard(
        f"""---
{data.to_yaml()}
---

# AKI

A multimodal language model: pictures and text in, text out.

| part | |
| --- | --- |
| attention between pictures and text | {_attention(config.attention)} |
| vision tower | {tower}, {config.vision_config.image_size} pixels a side |
| resampler | {config.resampler_depth} layers, {config.num_latents} latents for each picture |
| text backbone | {text}, vocabulary {config.text_config.vocab_size} |
| order of its last training | {config.image_order.replace("_", " ")} |

```python
from PIL import Image
from model import AkiForConditionalGeneration, AkiProcessor  # of the AKI toolkit

model = AkiForConditionalGeneration.from_pretrained(FOLDER)
processor = AkiProcessor.from_pretrained(FOLDER)
question = [{{"type": "image", "image": Image.open("picture.jpg")}}, {{"type": "text", "text": "What is this?"}}]
inputs = processor.apply_chat_template(
    [{{"role": "user", "content": question}}],
    add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
)
answer = model.generate(**inputs, max_new_tokens=256)[:, inputs["input_ids"].shape[1] :]
print(processor.batch_decode(answer, skip_special_tokens=True)[0])
```
"""
    )


def _network(config: PreTrainedConfig) -> str:
    return f"{config.model_type}, {config.num_hidden_layers} layers, width {config.hidden_size}"


def _attention(kind: str) -> str:
    paper = {"mma": ": a picture's tokens also see the question behind them (arXiv 2503.02597, Eq. 5 and 6)"}
    return KINDS[kind].title + paper.get(kind, "")
