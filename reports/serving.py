"""Serves a finished report on this machine only."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError

HOST = "127.0.0.1"


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder, nothing cached, nothing said, and only to this machine.

    A foreign page that points its own name at this address would ask with that name as Host: it gets nothing.
    """

    def do_GET(self) -> None:
        if self.headers.get("Host", "").rpartition(":")[0] not in {HOST, "localhost"}:
            self.send_error(403, "this report is for 127.0.0.1 only")
            return
        super().do_GET()

    def list_directory(self, path: Any) -> None:
        self.send_error(404, "no such page")

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
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
