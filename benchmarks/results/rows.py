"""One sample of a run as one flat row: what was sent, what came back, how it was read, what it was worth."""

from __future__ import annotations

from typing import Any

from ..records import Prediction, Score

NOT_ASKED = "not asked"
"""The error of a sample that has no prediction, as frames, exports and pages show it; `missing` in scores.jsonl."""


def sample_row(score: Score, prediction: Prediction | None) -> dict[str, Any]:
    """The evidence behind a score and the score, by column.

    Args:
        score: of the sample under one protocol.
        prediction: what was answered; None where the sample was not asked.
    """
    return {
        "index": score.index,
        "prompt": prediction.prompt if prediction else None,
        "prediction": prediction.text if prediction else None,
        "answer": score.answer,
        "target": score.target,
        "value": score.value,
        "reason": score.reason,
        "error": prediction.error if prediction else NOT_ASKED,
        "finish_reason": prediction.finish_reason if prediction else None,
        "num_tokens": prediction.num_tokens if prediction else None,
        "groups": list(score.groups),
        "cluster": score.cluster,
    }
