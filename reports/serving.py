"""Serves a finished report on this machine only."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

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


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder, nothing cached, nothing said, and only to this machine's owner.

    A foreign page that points its own name at this address asks with that name as Host; one that includes the report's
    data, which are scripts, says so in Sec-Fetch-Site. Neither gets anything, whatever the method.
    """

    def send_head(self) -> Any:
        """What GET and HEAD answer with."""
        if self.headers.get("Host", "").rpartition(":")[0] not in {HOST, "localhost"}:
            self.send_error(403, "this report is for 127.0.0.1 only")
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


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of the folder on 127.0.0.1; port 0 takes a free one.

    Raises:
        UserError: the port is taken or not allowed.
    """
    try:
        return ThreadingHTTPServer((HOST, port), partial(Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise UserError(f"--port {port}: {error}; choose another, or 0 for any free one") from error
