"""An OpenAI-compatible server on this machine that misbehaves as it is told.

    with JudgeServer(lambda body, nth: "0.5") as server:
        make_judge("some-model", base_url=server.url)

The script gets a request's body and how often this prompt has been asked before; it returns the reply's text or one of
the misbehaviours below.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROBE = "Reply with the digit 1"


@dataclass(frozen=True)
class Say:
    """A chat completion; `content` None as reasoning models do when the thought used up the tokens."""

    content: Any
    finish_reason: str = "stop"
    refusal: str | None = None
    model: str | None = None
    usage: bool = True
    logprobs: Any = None


@dataclass(frozen=True)
class Fail:
    """An HTTP error in OpenAI's format."""

    status: int
    message: str = "no"
    param: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """A body as it is."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200


@dataclass(frozen=True)
class Cut:
    """The connection ends in the middle of the reply."""


@dataclass(frozen=True)
class Drip:
    """A byte every tenth of a second, without end."""


@dataclass(frozen=True)
class Flood:
    """Bytes as fast as they go, without end."""


@dataclass(frozen=True)
class Slow:
    """`then` after so many seconds."""

    seconds: float
    then: Any = "0.5"


Script = Callable[[dict[str, Any], int], Any]


def is_probe(body: dict[str, Any]) -> bool:
    return str(body["messages"][-1]["content"]).startswith(PROBE)


class JudgeServer:
    """`asked` holds the bodies of all requests but the preflight's, `delivered` the prompts that got a reply."""

    def __init__(self, script: Script, *, models: Any = None, probe: Any = None, root: str = "/v1") -> None:
        self.root = root
        self.queries: set[str] = set()
        self.script = script
        self.models = models
        self.probe = probe
        self.asked: list[dict[str, Any]] = []
        self.probes: list[dict[str, Any]] = []
        self.delivered: list[str] = []
        self.authorizations: set[str] = set()
        self.most_at_once = 0
        self._now = 0
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __enter__(self) -> JudgeServer:
        outer = self

        class Handler(_Handler):
            server_state = outer

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{self.root}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def enter(self, body: dict[str, Any]) -> Any:
        """Counts a request in and says how to answer it."""
        prompt = body["messages"][-1]["content"]
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            if is_probe(body):
                self.probes.append(body)
                return self.probe(body) if self.probe else "1"
            nth = self._seen[prompt]
            self._seen[prompt] += 1
            self.asked.append(body)
        return self.script(body, nth)

    def leave(self, body: dict[str, Any], *, delivered: bool) -> None:
        with self._lock:
            self._now -= 1
            if delivered and not is_probe(body):
                self.delivered.append(body["messages"][-1]["content"])


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A client that is killed resets its connections; that is no news here. Other errors are shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    server_state: JudgeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Silence: the default prints every request."""

    def do_GET(self) -> None:
        models = self.server_state.models
        if models is None:
            return self._send(404, {"error": {"message": "no list here"}})
        if isinstance(models, Fail):
            return self._send(models.status, {"error": {"message": models.message}})
        self._send(200, {"object": "list", "data": models} if isinstance(models, list) else models)

    def do_POST(self) -> None:
        path, _, query = self.path.partition("?")
        self.server_state.queries.add(query)
        if path != f"{self.server_state.root}/chat/completions":
            self.rfile.read(int(self.headers["Content-Length"]))
            return self._send(404, {"detail": "Not Found"})
        length = int(self.headers["Content-Length"])
        if len(content := self.rfile.read(length)) < length:
            return None  # the client was killed while it asked
        body = json.loads(content)
        self.server_state.authorizations.add(self.headers.get("Authorization", ""))
        answer = self.server_state.enter(body)
        while isinstance(answer, Slow):
            time.sleep(answer.seconds)
            answer = answer.then
        delivered = isinstance(answer, str | Say)
        try:
            self._answer(body, answer)
        except (BrokenPipeError, ConnectionResetError):
            delivered = False  # the client went away, as in a time-out
        self.server_state.leave(body, delivered=delivered)

    def _answer(self, body: dict[str, Any], answer: Any) -> None:
        if isinstance(answer, Cut):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"id": "cut", ')
            self.close_connection = True
        elif isinstance(answer, Fail):
            error = {"message": answer.message, "param": answer.param, "code": answer.code, "type": "error"}
            self._send(answer.status, {"error": error}, answer.headers)
        elif isinstance(answer, Raw):
            self._send_bytes(answer.status, answer.body, {"Content-Type": answer.content_type})
        elif isinstance(answer, Drip | Flood):
            self._never_end(b"1" if isinstance(answer, Drip) else b" " * 2**20, 0.1 * isinstance(answer, Drip))
        else:
            self._send(200, completion(body, answer if isinstance(answer, Say) else Say(answer)))

    def _never_end(self, chunk: bytes, pause: float) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.close_connection = True
        while True:
            self.wfile.write(chunk)
            time.sleep(pause)

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self._send_bytes(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send_bytes(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def completion(body: dict[str, Any], say: Say) -> dict[str, Any]:
    """What the server returns; every word counts as one token."""
    words = sum(len(message["content"].split()) for message in body["messages"])
    usage = {"prompt_tokens": words, "completion_tokens": len(str(say.content or "").split())}
    message = {"role": "assistant", "content": say.content, "refusal": say.refusal}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": say.model or body["model"],
        "choices": [
            {"index": 0, "message": message, "logprobs": say.logprobs, "finish_reason": say.finish_reason},
        ],
        **({"usage": {**usage, "total_tokens": sum(usage.values())}} if say.usage else {}),
    }
