"""VLMEvalKit's own rules, called and not copied.

`import vlmeval` turns TLS verification off, overrides the environment from a stray .env, configures the root logger,
makes ~/LMUData and imports torch and six thousand modules. None of that is needed to read an answer. Here only the
modules with the rules are loaded, under package stubs whose `__init__` never runs; what they change on the way is put
back; afterwards they leave `sys.modules`, so that a later real `import vlmeval` in the same process finds nothing
half-made.

The rules are those of the installed version, which a run records: tried with ms-vlmeval 0.0.20 and with upstream
e8e78f05 (2026-08-18), which reads "The answer is A because ..." differently. Where protocol `kit` leaves the kit's
`evaluate()` is listed in `DEVIATIONS`.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import ssl
import sys
import types
import warnings
from ast import literal_eval
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from .errors import UserError
from .records import Row, Sample

DEVIATIONS = {
    "no answer": "A sample without an answer is unscored; the kit scores the text of the failure, or leaves "
    "the row out.",
    "unfinished answer": "An empty answer at the token limit, or one that is only reasoning, is unread; no judge "
    "is asked to extract something from it. The kit asks.",
    "unreadable judge": "A judge's reply that cannot be read leaves the sample unscored (judge_error). The kit draws "
    "an option at random (multiple choice), or records Unknown (yes/no), 0.0 (MM-Vet), a wrong "
    "answer (MathVista), -1 in the mean (LLaVA-Bench).",
    "judge's Unknown": "Yes/no: a judge that replies Unknown, as its prompt allows, is believed at once; the kit "
    "asks up to four times more at rising temperature.",
    "judge's range": "LLaVA-Bench: both scores must lie in 1 to 10, and '8, 7' or '8/10 7/10' are read as 8 and 7. The "
    "kit takes any two numbers and reads these as -1. MM-Vet: 'nan' is unreadable; the kit lets it into "
    "the mean. '0.5.', '0.5/1.0' and '**0.5**' are 0.5; the kit asks again.",
    "judge's thoughts": "What a judge writes between <think> and </think> is left out before its reply is read.",
    "no judge": "MathVista without a judge: an answer that the kit's own check cannot read is unread: it counts as "
    "wrong, and the number as not comparable. The kit refuses.",
    "incomplete groups": "A circular group without all its rolls, an MME picture without its two questions, or either "
    "with an unscored member is unscored. The kit scores the rolls that are there, stops at a "
    "single question and ignores a third.",
    "cells": "Cells that read None, N/A, NA, null or nan are text. pandas, and so the kit, takes them for missing.",
    "answers": "Answers are scored as they were given. The kit's .xlsx turns '=1' into 0 and 'None' into "
    "nan, and drops a text of more than 32,767 characters.",
    "cell code": "`choices` and `skills` are read as literals; the kit eval()s them.",
    "VERBOSE": "The environment variable VERBOSE, which changes how the kit reads 'A', has no effect.",
    "open answers": "VQA tables: answers that are no list stand for themselves; the kit eval()s every answer's cell.",
    "rounding": "LLaVA-Bench: nothing is rounded; the kit rounds to one decimal.",
}
"""Where protocol `kit` is not the kit's `evaluate()`, and what the kit does there."""

_STUBS = ("vlmeval", "vlmeval.dataset", "vlmeval.dataset.utils")
_MODULES = ("multiple_choice", "yorn", "mathvista", "mmvet", "llavabench", "vqa_eval")
KIT_CELL = "vlmevalkit:{}"
"""Column under which the table reader keeps a cell as pandas would print it, where that differs ('4' -> '4.0')."""


@cache
def rules() -> types.SimpleNamespace:
    """The kit's modules by short name: multiple_choice, yorn, mathvista, mmvet, llavabench, vqa_eval, matching_util.

    Raises:
        UserError: VLMEvalKit is not installed.
    """
    found = importlib.util.find_spec("vlmeval") if "vlmeval" not in sys.modules else sys.modules["vlmeval"].__spec__
    if found is None or found.origin is None:
        raise UserError(
            "VLMEvalKit's rules are needed for protocol kit, and ms-vlmeval is not installed; "
            "pip install ms-vlmeval (where its dependency decord has no wheel: with --no-deps, then sty validators)"
        )
    with _process_state_kept(), _stub_packages(Path(found.origin).parent):
        modules = {name: importlib.import_module(f"vlmeval.dataset.utils.{name}") for name in _MODULES}
        modules["matching_util"] = importlib.import_module("vlmeval.utils.matching_util")
    modules["matching_util"].os = types.SimpleNamespace(environ={})  # type: ignore[attr-defined]  # deaf to VERBOSE
    return types.SimpleNamespace(**modules)


@contextmanager
def _process_state_kept() -> Iterator[None]:
    """Puts back what the kit's modules and their dependencies change in the process."""
    environment, https, pixels = dict(os.environ), ssl._create_default_https_context, Image.MAX_IMAGE_PIXELS
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(environment)
            ssl._create_default_https_context = https
            Image.MAX_IMAGE_PIXELS = pixels
            root.handlers[:], root.level = handlers, level


@contextmanager
def _stub_packages(root: Path) -> Iterator[None]:
    """`vlmeval` and two packages of it as empty shells with a path; an earlier real import is set aside meanwhile."""
    before = _take_modules()
    try:
        for name in _STUBS:
            stub = types.ModuleType(name)
            stub.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
            sys.modules[name] = stub
        # utils/llavabench.py imports a package that does not exist (vlmeval.dataset.smp); it means vlmeval.smp.
        sys.modules["vlmeval.dataset.smp"] = importlib.import_module("vlmeval.smp")
        sys.modules["vlmeval.dataset.smp.log"] = importlib.import_module("vlmeval.smp.log")
        yield
    finally:
        _take_modules()
        sys.modules.update(before)


def _take_modules() -> dict[str, types.ModuleType]:
    """Removes every vlmeval module from sys.modules and returns them."""
    names = [name for name in sys.modules if name == "vlmeval" or name.startswith("vlmeval.")]
    return {name: sys.modules.pop(name) for name in names}


class RuleFailed(Exception):
    """A rule of the kit raised on a text; the message names what. The kit's own `evaluate()` would end there."""


def _call(rule: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What the kit's rule returns.

    Raises:
        RuleFailed: whatever it raises: that concerns one answer, not the run.
    """
    try:
        return rule(*arguments, **named)
    except Exception as error:  # code that is not ours, on text that a model wrote: anything may come
        raise RuleFailed(f"{type(error).__name__}: {error}"[:200]) from error


def choices(sample: Sample) -> dict[str, str]:
    """The options as the kit sees them: where pandas turns a column of numbers with gaps into 4.0, so do we."""
    return {letter: sample.row.get(KIT_CELL.format(letter), text) for letter, text in sample.choices.items()}


def read_choice(answer: str, options: Mapping[str, str]) -> str | None:
    """The letter that the kit reads (`can_infer`; Z: a refusal), None where it would ask a judge."""
    return _call(rules().matching_util.can_infer, answer, dict(options)) or None


def choice_prompt(question: str, options: Mapping[str, str], answer: str, table: str | None = None) -> str:
    """What the kit asks a judge about an answer it cannot match.

    In Chinese for a Chinese question, and for the table BLINK in words of its own.
    """
    module = rules().multiple_choice
    build = module.build_prompt_cn if module.cn_string(question) else module.build_prompt
    if table == "BLINK":
        build = module.build_prompt_blink
    return str(build(question, module.build_option_str(dict(options)), answer))


def read_yes_no(answer: str) -> str | None:
    """`Yes`, `No`, or None where the kit says Unknown."""
    found = _call(rules().yorn.YOrN_Extraction, answer)
    return None if found == "Unknown" else str(found)


def yes_no_prompt(question: str, answer: str) -> str:
    return str(rules().yorn.YOrN_match_prompt({"question": question, "prediction": answer}))


VQA_METHODS = {
    "TextVQA": "vqa_score",
    "ChartQA": "relaxed_accuracy",
    "OCRVQA": "accuracy",
    "GQA": "accuracy",
    "DocVQA": "anls",
    "InfoVQA": "anls",
}
"""How `ImageVQADataset.evaluate` compares, by what a table's name holds: first of these wins."""


def vqa(table: str, answers: Sequence[str | int | float], prediction: str) -> tuple[float, str]:
    """(worth from 0 to 1, the answer as compared) of an open answer, as the kit counts on that table."""
    method = next((method for part, method in VQA_METHODS.items() if part.lower() in table.lower()), "vqa_score")
    # It eval()s the answer's cell: what it gets is a list of texts and numbers, written out.
    line = {"answer": repr(list(answers)), "prediction": prediction}
    found = _call(rules().vqa_eval.process_line, line, method=method)
    return float(_call(rules().vqa_eval.hit_calculate, [found], table)[0]), str(found["pred"])


def mathvista_prefetch(row: Row, answer: str) -> Any:
    """What the kit reads without a judge: a letter, a number, or something false."""
    return _call(rules().mathvista.post_check, _mathvista_line(row) | {"prediction": answer}, prefetch=True)


def mathvista_is_right(row: Row, found: Any) -> bool:
    """Whether `found`, prefetched or extracted by a judge, is the right answer."""
    return bool(_call(rules().mathvista.post_check, _mathvista_line(row) | {"res": found}, prefetch=False))


def _mathvista_line(row: Row) -> dict[str, Any]:
    """The cells that the kit's check looks at; `choices`, which it eval()s, is made harmless first."""
    line: dict[str, Any] = {
        name: row.get(name, "") for name in ("answer", "answer_option", "answer_type", "question_type")
    }
    choices = literal_list(row["choices"]) if line["question_type"] == "multi_choice" else []
    return line | {"choices": repr([str(choice) for choice in choices])}


def mathvista_prompt(question: str, answer: str) -> str:
    return str(rules().mathvista.build_mathvista_gpt4_prompt({"question": question, "prediction": answer}))


def mm_vet_prompt(question: str, reference: str, answer: str) -> str:
    return str(rules().mmvet.build_mmvet_gpt4_prompt({"question": question, "answer": reference, "prediction": answer}))


def llava_bench_prompt(row: Row, answer: str) -> str:
    return str(rules().llavabench.build_prompt(dict(row) | {"prediction": answer}))


def literal_list(cell: str) -> list[Any]:
    """A cell that holds a list, as Python or JSON literal.

    Raises:
        ValueError: it holds something else.
    """
    try:
        found = literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a list literal: {cell[:60]!r}") from error
    if not isinstance(found, list):
        raise ValueError(f"not a list: {cell[:60]!r}")
    return found
