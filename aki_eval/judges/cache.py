"""The judge's replies, one JSON line each, appended and flushed to disk before they count: nothing is paid for twice.

A line answers one *attempt*: attempt 0 is the first asking, attempt n the n-th asking again after replies nobody could
read; `repeat` numbers the independent gradings of one answer. The key is (model, server, prompt, system, parameters as
wished, repeat, attempt). A line with `raw: null` records that no reply came; it is evidence, never a hit. Values are
parsed anew on reading, so a better reader of replies never needs a second payment.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks.errors import UserError
from benchmarks.judged import read_reply
from benchmarks.records import JudgeRequest, Verdict

from ..chat.completion import text_of


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back for one attempt. `raw` None: nothing came, `error` says why.

    `model` is the one that answered, as the server says.
    """

    model: str
    raw: str | None
    error: str | None = None
    finish_reason: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    parameters_sent: dict[str, Any] = field(default_factory=dict)


class Source(NamedTuple):
    """Who is asked: a model, and the address of its server (None: OpenAI's own), without anything secret in it."""

    model: str
    server: str | None = None

    @property
    def name(self) -> str:
        return self.model if self.server is None else f"{self.model} at {urlsplit(self.server).netloc}"


class VerdictStore:
    """Replies on disk (`path`) or, without a path, in memory for the life of this object."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._replies: dict[str, Reply] = {}
        self._mended = False
        self.sources: set[Source] = set()
        """Of every reply in the store."""
        if path is not None and path.exists():
            self._load(path)

    def __len__(self) -> int:
        return len(self._replies)

    def find(self, source: Source, request: JudgeRequest, *, repeat: int, attempt: int) -> Reply | None:
        return self._replies.get(key_of(source, request, repeat, attempt))

    def append(self, source: Source, request: JudgeRequest, reply: Reply, *, repeat: int, attempt: int) -> None:
        """Write the reply's line and wait until the disk has it."""
        key = key_of(source, request, repeat, attempt)
        line = {
            "key": key,
            "index": request.index,
            "kind": request.kind,
            "judge": source.name,
            "asked": source.model,
            "server": source.server,
            "prompt_hash": prompt_hash(request),
            "parameters": dict(request.parameters),
            "repeat": repeat,
            "tries": attempt + 1,
            "value": read(request, reply)[0],
            **asdict(reply),
        }
        if self.path is not None:
            if not self._mended:
                _mend(self.path)
                self._mended = True
            _append_line(self.path, json.dumps(line, ensure_ascii=False))
        self._remember(key, source, reply)

    def _remember(self, key: str, source: Source, reply: Reply) -> None:
        if reply.raw is not None:
            self._replies[key] = reply
            self.sources.add(source)

    def _load(self, path: Path) -> None:
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, start=1):
            if not line:
                continue
            try:
                record = json.loads(line)
                self._remember(str(record["key"]), Source(record["asked"], record["server"]), _to_reply(record))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                if number == len(lines):  # cut off by a kill while it was written; asked again
                    continue
                raise UserError(f"{path}:{number} is not a verdict ({error}); restore or remove the line") from error


def _to_reply(record: dict[str, Any]) -> Reply:
    """A stored line's reply. What is no text was never a reply: it is asked again."""
    fields = {name: record[name] for name in Reply.__dataclass_fields__}
    for name, kinds in (("model", str), ("parameters_sent", dict), ("input_tokens", int), ("output_tokens", int)):
        if not isinstance(fields[name], kinds):
            raise TypeError(f"{name} is {fields[name]!r}")
    return Reply(**{**fields, "raw": text_of(fields["raw"])})


def prompt_hash(request: JudgeRequest) -> str:
    """Of all text the judge sees."""
    return _sha256([request.system, request.prompt])


def read(request: JudgeRequest, reply: Reply) -> tuple[Any | None, str | None]:
    """(value, None) or (None, why not)."""
    if reply.raw is None:
        return None, reply.error or "no reply"
    value, why = read_reply(request, reply.raw)
    if why is None:
        return value, None
    ended = f" (finish_reason {reply.finish_reason})" if reply.finish_reason not in (None, "stop") else ""
    return None, f"unreadable reply {reply.raw[:80]!r}: {why}{ended}"


def verdict_of(
    request: JudgeRequest, reply: Reply, *, judge: str, repeat: int = 0, tries: int = 1, cached: bool = False
) -> Verdict:
    value, error = read(request, reply)
    return Verdict(
        index=request.index,
        kind=request.kind,
        judge=judge,
        prompt_hash=prompt_hash(request),
        raw=reply.raw,
        value=value,
        error=error,
        repeat=repeat,
        tries=tries,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        cost_usd=reply.cost_usd,
        cached=cached,
    )


def key_of(source: Source, request: JudgeRequest, repeat: int, attempt: int) -> str:
    """Equal for questions that may share a reply."""
    return _sha256([*source, request.system, request.prompt, dict(request.parameters), repeat, attempt])


def _sha256(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _append_line(path: Path, line: str) -> None:
    with path.open("ab") as file:
        file.write(line.encode(errors="backslashreplace") + b"\n")  # a lone surrogate becomes its JSON escape
        file.flush()
        os.fsync(file.fileno())


def _mend(path: Path) -> None:
    """End a last line that a kill left open: complete it when it is whole, drop it when it is not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.seek(0)
        content = file.read()
        open_line = content.rpartition(b"\n")[2]
        if not open_line:
            return
        try:
            json.loads(open_line)
            file.write(b"\n")
        except ValueError:
            file.truncate(len(content) - len(open_line))
