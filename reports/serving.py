"""Serves a report: to this machine only, or with a token to those who have it. It reads, and never writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.errors import UserError

from .visitors import HEADERS, HOST, asked_by_itself, cookie, for_whom, has_token, is_let_in


@dataclass(frozen=True)
class Answer:
    """What is made for a request instead of being a file."""

    content: bytes
    media_type: str


Answers = Callable[[str], Answer | None]
"""By the address without slash and question: an answer, or None where a file may have one."""


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder, nothing cached, nothing said, and only to this machine's owner, or who has the token.

    Others get nothing, whatever the method (`visitors.py`).
    """

    def __init__(self, *args: Any, token: str | None = None, answers: Answers | None = None, **options: Any) -> None:
        self.token, self.answers = token, answers
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        """A made answer, else a file. A token in the address moves into a cookie, out of sight of the next pages."""
        if has_token(urlsplit(self.path).query, self.token):
            self.send_response(303)
            self.send_header("Location", urlsplit(self.path).path or "/")
            self.send_header("Set-Cookie", cookie(self.token))
            self.end_headers()
            return
        made = self._made()
        if made is None:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", made.media_type)
        self.send_header("Content-Length", str(len(made.content)))
        self.end_headers()
        self.wfile.write(made.content)

    def _made(self) -> Answer | None:
        if self.answers is None or not (is_let_in(self.headers.get, self.token) and asked_by_itself(self.headers.get)):
            return None
        return self.answers(urlsplit(self.path).path.lstrip("/"))

    def send_head(self) -> Any:
        """What GET and HEAD answer with."""
        if not is_let_in(self.headers.get, self.token):
            self.send_error(403, f"this report is for {for_whom(self.token)}")
        elif not asked_by_itself(self.headers.get):
            self.send_error(403, "this report is not for other pages")
        elif not self._lies_inside():
            self.send_error(404, "no such page")
        else:
            return super().send_head()
        return None

    def _lies_inside(self) -> bool:
        path = self.translate_path(self.path)
        return "\0" not in path and Path(path).resolve().is_relative_to(Path(self.directory).resolve())

    def list_directory(self, path: Any) -> None:
        self.send_error(404, "no such page")

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not news."""


def make_server(
    folder: Path, port: int, *, host: str = HOST, token: str | None = None, answers: Answers | None = None
) -> ThreadingHTTPServer:
    """A server of the folder; port 0 takes a free one. With a `token`, only who has it is answered.

    Raises:
        UserError: the port is taken or not allowed, or no such host is this machine's.
    """
    assert host == HOST or token is not None, "a report for others has a token"
    try:
        return ThreadingHTTPServer((host, port), partial(Handler, directory=str(folder), token=token, answers=answers))
    except (OSError, OverflowError) as error:
        where = f"--port {port}" if host == HOST else f"--host {host} --port {port}"
        raise UserError(f"{where}: {error}; choose another, or 0 for any free one") from error
