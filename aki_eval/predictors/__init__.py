"""Predictors: AKI itself, any model of VLMEvalKit, any OpenAI-compatible endpoint."""

from __future__ import annotations

from .base import (
    EnginePredictor,
    Generation,
    OverlappingPredictor,
    Predictor,
    RemotePredictor,
    TaskAwarePredictor,
    Unusable,
    is_out_of_memory,
    release_memory,
)
from .make import as_predictor, make_predictor

__all__ = [
    "EnginePredictor",
    "Generation",
    "OverlappingPredictor",
    "Predictor",
    "RemotePredictor",
    "TaskAwarePredictor",
    "Unusable",
    "as_predictor",
    "is_out_of_memory",
    "make_predictor",
    "release_memory",
]
