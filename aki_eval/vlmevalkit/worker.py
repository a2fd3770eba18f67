"""VLMEvalKit's side of `KitPredictor`: `python -m aki_eval.vlmevalkit.worker MODEL`.

Reads {"requests": [...]} and writes {"replies": [...]}, one JSON object a line. The first line it writes is {"problem":
null}, or why the model cannot be had. Whatever the kit prints goes to stderr.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TextIO

from .adapter import hide_keys, importing_the_kit

API_FAILURE = "Failed to obtain answer"
"""What the kit's models return instead of an answer; it must never be scored as one."""

API_THREADS = 16


def build_model(name: str) -> Any:
    """The kit's model of this name. What the model's own class raises comes through.

    Raises:
        LookupError: the kit does not know the name.
    """
    with importing_the_kit():
        from vlmeval.config import supported_VLM
    if name not in supported_VLM:
        close = difflib.get_close_matches(name, supported_VLM, n=3) or list(supported_VLM)[:3]
        raise LookupError(f"unknown; close to it are {', '.join(close)} (of {len(supported_VLM)})")
    return supported_VLM[name]()


def answer(model: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """The reply to one request: text and the prompt as sent, or an error."""
    try:
        message = _message(model, request)
        sent = "".join("<image>" if part["type"] == "image" else part["value"] for part in message)
        text = model.generate(message=message, dataset=request["table"])
    except Exception as error:  # noqa: BLE001  545 models, each with errors of its own; the sample is told which
        return {"error": f"{type(error).__name__}: {error}"}
    if not isinstance(text, str) or text.startswith(API_FAILURE):
        return {"error": str(text)}
    return {"text": text, "sent": sent}


def _message(model: Any, request: Mapping[str, Any]) -> list[dict[str, str]]:
    """As the kit builds it: by the model itself where it wants to word the prompt, else as we say."""
    row, table = request["row"], request["table"]
    if row is not None and getattr(model, "use_custom_prompt", lambda _: False)(table):
        import pandas

        pictures = [value for kind, value in request["parts"] if kind == "image"]
        model.set_dump_image(lambda line: pictures)
        built: list[dict[str, str]] = model.build_prompt(pandas.Series(row), dataset=table)
        return built
    return [{"type": kind, "value": value} for kind, value in request["parts"]]


def serve(model: Any, replies: TextIO) -> None:
    """Until stdin ends. Models behind an API are asked many things at once, others one after the other."""
    threads = API_THREADS if getattr(model, "is_api", False) else 1
    with ThreadPoolExecutor(threads) as pool:
        for line in sys.stdin:
            found = list(pool.map(lambda request: answer(model, request), json.loads(line)["requests"]))
            print(json.dumps({"replies": found}), file=replies, flush=True)


def main() -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # the kit and its models print; that must not get between the replies
    hide_keys()
    try:
        model = build_model(sys.argv[1])
    except Exception as error:  # noqa: BLE001  said to the user in one line
        print(json.dumps({"problem": f"{error}"}), file=replies, flush=True)
        return
    print(json.dumps({"problem": None}), file=replies, flush=True)
    serve(model, replies)


if __name__ == "__main__":
    main()
