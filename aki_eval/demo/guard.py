"""What stands between a visitor and Gradio: only what the page itself asks for, nothing from or to other places.

Gradio serves more than this page needs: a proxy, files by any address on the web, a place to edit its code. Here
everything is refused that is not on a short list; a file is answered, or taken, only where it lies in the demo's own
folder; what is sent is bounded before it is read; and the page may load nothing from anywhere else.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reports.visitors import HEADERS, asked_by_itself, cookie, for_whom, has_token, is_let_in

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

API = "/gradio_api"
FILE = f"{API}/file="
UPLOAD = f"{API}/upload"
READ = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)|/(static|assets|svelte)/.+"
    rf"|{API}/(info|startup-events|theme\.css|app_id|heartbeat/[\w-]+|queue/data|upload_progress)|{API}/file=.+"
)
WRITTEN = re.compile(rf"{API}/(queue/join|run/predict|upload|cancel|reset)/?")
MOST_JSON = 2**20
"""Bytes of a question with all that goes with it; pictures come another way."""
BESIDE = 2**16
"""Bytes around a file in an upload."""
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)


class Refused(Exception):
    """Status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Guard:
    """An ASGI application around Gradio's.

    Args:
        folder: where uploads and made pictures lie.
        token: who has it is let in; None lets in this machine alone, asked by its own name.
        public: everybody is let in.
    """

    def __init__(self, app: App, folder: Path, *, most_bytes: int, token: str | None, public: bool = False) -> None:
        self.app, self.folder, self.most_bytes = app, folder.resolve(), most_bytes
        self.token, self.public = token, public

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if location := self._without_token(scope):
            await _reply(send, 303, "", {"location": location, "set-cookie": cookie(self.token)})
            return
        try:
            self._check_visitor(headers)
            received = await self._checked(scope, headers, receive)
        except Refused as refused:
            await _reply(send, refused.status, str(refused), {})
            return
        await self.app(scope, received, _with_headers(send, str(scope["path"]), self.public))

    def _without_token(self, scope: Message) -> str | None:
        """Where to go on once the token in the address has become a cookie."""
        query = scope.get("query_string", b"").decode("latin-1")
        return str(scope["path"]) if has_token(query, self.token) else None

    def _check_visitor(self, headers: dict[str, str]) -> None:
        if self.public:
            return
        if not asked_by_itself(headers.get):
            raise Refused(403, "this demo is not for other pages")
        if not is_let_in(headers.get, self.token):
            raise Refused(403, f"this demo is for {for_whom(self.token)}")

    async def _checked(self, scope: Message, headers: dict[str, str], receive: Receive) -> Receive:
        """The request, if it is one that the page makes; a body of JSON is read and looked through."""
        path, method = str(scope["path"]), scope["method"]
        if method in ("GET", "HEAD"):
            if not READ.fullmatch(path):
                raise Refused(404, "no such page")
            if path.startswith(FILE):
                self._check_file(path.removeprefix(FILE), 404)
            return receive
        if method != "POST" or not WRITTEN.fullmatch(path):
            raise Refused(404, "no such page")
        length = headers.get("content-length", "")
        if not length.isdecimal():
            raise Refused(411, "say how long it is")
        is_upload = path.rstrip("/") == UPLOAD
        if int(length) > (self.most_bytes + BESIDE if is_upload else MOST_JSON):
            raise Refused(413, "this is too large")
        if is_upload:
            return receive
        body = await _read(receive)
        try:
            content = json.loads(body)
        except ValueError as error:
            raise Refused(400, "this is no JSON") from error
        for found in _paths(content):
            self._check_file(found, 403)
        return _again(body, receive)

    def _check_file(self, named: object, status: int) -> None:
        if not isinstance(named, str) or "\0" in named or urlsplit(named).scheme:
            raise Refused(status, "no such file")
        path = Path(os.path.realpath(named))
        if not (Path(named).is_absolute() and path.is_relative_to(self.folder) and path.is_file()):
            raise Refused(status, "no such file")


def _paths(content: object) -> Iterator[object]:
    """Whatever names a file or an address anywhere in a request."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "path" and value is not None:
                yield value
            else:
                yield from _paths(value)
    elif isinstance(content, list):
        for value in content:
            yield from _paths(value)


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, given out once more; then whatever else the visitor does."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return waiting.pop() if waiting else await receive()

    return received


def _with_headers(send: Send, path: str, public: bool) -> Send:
    """The report server's headers and the policy; a public page may be shown inside of another."""
    fixed = {name.lower(): value for name, value in HEADERS.items()} | {"content-security-policy": POLICY}
    if public:
        fixed["content-security-policy"] = POLICY.replace("frame-ancestors 'none'", "frame-ancestors *")
        del fixed["x-frame-options"]
    if path.startswith("/assets/"):  # named by their content
        del fixed["cache-control"]
    dropped = {*fixed, "access-control-allow-origin"}

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (name, value) for name, value in message["headers"] if name.decode("latin-1").lower() not in dropped
            ]
            message["headers"] = [*kept, *((name.encode(), value.encode()) for name, value in fixed.items())]
        await send(message)

    return sent


async def _reply(send: Send, status: int, text: str, headers: dict[str, str]) -> None:
    body = text.encode()
    fixed = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body))} | headers
    fixed |= {name.lower(): value for name, value in HEADERS.items()}
    pairs = [(name.encode(), value.encode("latin-1", "replace")) for name, value in fixed.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
