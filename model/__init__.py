"""AKI for transformers: modality-mutual attention over a SigLIP tower, a perceiver resampler and a text decoder.

The classes are loaded when first asked for, so that `import model` costs nothing. `register()` makes them known to
AutoConfig, AutoProcessor and AutoModelForImageTextToText; asking for any class does it too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .configuration_aki import AkiConfig
    from .image_processing_aki import AkiImageProcessor
    from .modeling_aki import AkiForConditionalGeneration, AkiModel
    from .processing_aki import AkiProcessor

_HOME = {
    "AkiConfig": "configuration_aki",
    "AkiForConditionalGeneration": "modeling_aki",
    "AkiImageProcessor": "image_processing_aki",
    "AkiModel": "modeling_aki",
    "AkiProcessor": "processing_aki",
}

__all__ = [
    "AkiConfig",
    "AkiForConditionalGeneration",
    "AkiImageProcessor",
    "AkiModel",
    "AkiProcessor",
    "register",
]


def register() -> None:
    """Tell transformers' Auto classes about AKI. Calling it again changes nothing."""
    import_module(".registration", __name__)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    register()
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
