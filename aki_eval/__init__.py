"""The harness: runs models over benchmarks, stores what they said, scores it and compares runs.

    import aki_eval

    results = aki_eval.evaluate("checkpoint/", bench=["pope", "mme"], data="toy")
    results.table()

`import aki_eval` alone loads nothing: what is used is imported when it is used first.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api.evaluation import evaluate as evaluate
    from .api.results import Results as Results
    from .api.results import open_results as open_results
    from .judges import JudgeOptions as JudgeOptions

_HOMES = {
    "evaluate": ".api.evaluation",
    "Results": ".api.results",
    "open_results": ".api.results",
    "JudgeOptions": ".judges",
}

__all__ = ["JudgeOptions", "Results", "evaluate", "open_results"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'aki_eval' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
