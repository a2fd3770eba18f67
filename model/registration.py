"""Importing this module registers AKI with transformers' Auto classes."""

from __future__ import annotations

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageTextToText, AutoProcessor

from .configuration_aki import AkiConfig
from .image_processing_aki import AkiImageProcessor
from .modeling_aki import AkiForConditionalGeneration, AkiModel
from .processing_aki import AkiProcessor

AutoConfig.register(AkiConfig.model_type, AkiConfig, exist_ok=True)
AutoModel.register(AkiConfig, AkiModel, exist_ok=True)
AutoModelForImageTextToText.register(AkiConfig, AkiForConditionalGeneration, exist_ok=True)
AutoImageProcessor.register(
    AkiConfig, image_processor_classes={"pil": AkiImageProcessor, "torchvision": AkiImageProcessor}, exist_ok=True
)
AutoProcessor.register(AkiConfig, AkiProcessor, exist_ok=True)
