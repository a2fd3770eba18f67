"""How often, and in which words, a judge is asked again after a reply that nobody could read.

A named protocol is part of a score's name. What all of them leave out on purpose: where the original then writes 0, -1
or a random option, the verdict has no value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.records import JudgeRequest


@dataclass(frozen=True)
class Asking:
    """`temperatures`: one a try, None keeps the request's own. `suffix` is added to the prompt from try 2 on."""

    temperatures: tuple[float | None, ...]
    suffix: str = ""


ONCE = Asking((None,))

ASKINGS = {
    # VLMEvalKit's MMVet_auxeval: temperature i * 0.5, five tries, then 0.0.
    "mm_vet": Asking((0.0, 0.5, 1.0, 1.5, 2.0)),
    # mm-vet_evaluator of the benchmark's authors: the second try still at 0, five replies are read, then 0.0.
    "mm_vet_official": Asking((0.0, 0.0, 0.5, 1.0, 1.5), suffix="\nPredict the correctness of the answer (digit): "),
    # LLaVA's eval_gpt_review and VLMEvalKit's LLaVABench_atomeval: asked once, then [-1, -1].
    "llava_bench": ONCE,
    # VLMEvalKit's MathVista_auxeval: asked again only when no reply came, which the client does by itself.
    "extract_mathvista": ONCE,
    # VLMEvalKit's extract_answer_from_item: three tries, then a random option.
    "extract_choice": Asking((None, None, None)),
    # VLMEvalKit's YOrN_auxeval: temperature i * 0.5, five tries, then "Unknown".
    "extract_yes_no": Asking((0.0, 0.5, 1.0, 1.5, 2.0)),
}


def attempts(request: JudgeRequest) -> Iterator[JudgeRequest]:
    """The request as it is asked at the first, second, ... try of its protocol; an unlisted protocol is asked once."""
    asking = ASKINGS.get(request.kind, ONCE)
    for number, temperature in enumerate(asking.temperatures):
        parameters = dict(request.parameters)
        if temperature is not None:
            parameters["temperature"] = temperature
        yield replace(request, prompt=request.prompt + asking.suffix * (number > 0), parameters=parameters)
