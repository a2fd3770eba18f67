"""Serves a report: to this machine only, or with a token to those who have it. It reads, and never writes."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.cookies import CookieError, SimpleCookie
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from benchmarks.errors import UserError

HOST = "127.0.0.1"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


COOKIE = "aki-token"


@dataclass(frozen=True)
class Answer:
    """What is made for a request instead of being a file."""

    content: bytes
    media_type: str


Answers = Callable[[str], Answer | None]
"""By the address without slash and question: an answer, or None where a file may have one."""


def new_token() -> str:
    return secrets.token_urlsafe(18)


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder, nothing cached, nothing said, and only to this machine's owner, or who has the token.

    A foreign page that points its own name at this address asks with that name as Host; one that includes the report's
    data, which are scripts, says so in Sec-Fetch-Site. Neither gets anything, whatever the method.
    """

    def __init__(self, *args: Any, token: str | None = None, answers: Answers | None = None, **options: Any) -> None:
        self.token, self.answers = token, answers
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        """A made answer, else a file. A token in the address moves into a cookie, out of sight of the next pages."""
        if self._has_token_in_address():
            self.send_response(303)
            self.send_header("Location", urlsplit(self.path).path or "/")
            self.send_header("Set-Cookie", f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/")
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
        if self.answers is None or not (self._is_let_in() and self._asked_by_ourselves()):
            return None
        return self.answers(urlsplit(self.path).path.lstrip("/"))

    def _has_token_in_address(self) -> bool:
        given = parse_qs(urlsplit(self.path).query).get("token", [""])[0]
        return self.token is not None and _same(given, self.token)

    def _is_let_in(self) -> bool:
        """By name of the host on this machine; from elsewhere by the token, which no foreign page can know."""
        if self.token is None:
            return self.headers.get("Host", "").rpartition(":")[0] in {HOST, "localhost"}
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return found is not None and _same(found.value, self.token)

    def send_head(self) -> Any:
        """What GET and HEAD answer with."""
        if not self._is_let_in():
            asked = "127.0.0.1 only" if self.token is None else "those with its token: open the address as printed"
            self.send_error(403, f"this report is for {asked}")
        elif not self._asked_by_ourselves():
            self.send_error(403, "this report is not for other pages")
        elif not self._lies_inside():
            self.send_error(404, "no such page")
        else:
            return super().send_head()
        return None

    def _asked_by_ourselves(self) -> bool:
        """Or by a person: typed, or a link followed in a window of its own. No header: no browser."""
        site = self.headers.get("Sec-Fetch-Site", "none")
        follows_link = (
            self.headers.get("Sec-Fetch-Mode") == "navigate" and self.headers.get("Sec-Fetch-Dest") == "document"
        )
        return site in ("same-origin", "none") or follows_link

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


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


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
