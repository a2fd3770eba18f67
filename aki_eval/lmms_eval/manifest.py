"""What lmms-eval's entry point names: which class answers to the model `aki`."""

from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """For lmms-eval 0.7.3 and later, which loads it when it starts; the class itself when it is asked for."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id="aki", chat_class_path="aki_eval.lmms_eval.model.AkiForLmmsEval")
