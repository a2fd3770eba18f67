"""What the Hugging Face hub answers to huggingface_hub's file system, of a folder of this machine; not always at once.

`Hub(folder)` serves each ORG/NAME below the folder as a data set: what it is (`/api/datasets/ORG/NAME`), its tree in
pages (`.../tree/REVISION/PATH`), and files with ranges (`/datasets/ORG/NAME/resolve/REVISION/PATH`). A name with
"gated" in it may be listed and not read, one with "private" not even that.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

PAGE = 3
"""Entries; the hub's has 1,000."""
API = re.compile(r"/api/datasets/(?P<repo>[^/]+/[^/]+)(?:/(?P<what>revision|tree)/(?P<revision>[^/]+)(?P<path>/.*)?)?")
FILE = re.compile(r"/datasets/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


class Hub(ThreadingHTTPServer):
    """`flaky`: every other request is turned away. `asked` are the paths of all."""

    def __init__(self, folder: Path, *, flaky: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.flaky = flaky
        self.asked: list[str] = []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def is_turned_away(self, path: str) -> bool:
        with self.lock:
            self.asked.append(path)
            return self.flaky and len(self.asked) % 2 == 1


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if self.server.is_turned_away(address.path):
            self._fault(503)
        elif file := FILE.fullmatch(address.path):
            self._file(file["repo"], unquote(file["path"]))
        elif asked := API.fullmatch(address.path):
            self._api(asked, {name: values[-1] for name, values in parse_qs(address.query).items()})
        else:
            self._fault(404)

    def _api(self, asked: re.Match[str], query: dict[str, str]) -> None:
        repo, folder = asked["repo"], self.server.folder / asked["repo"]
        if not folder.is_dir():
            self._fault(404, code="RepoNotFound")
        elif "private" in repo:
            self._fault(403, message="Forbidden: pass a token")
        elif asked["revision"] not in (None, "main"):
            self._fault(404, code="RevisionNotFound")
        elif asked["what"] != "tree":
            self._json({"id": repo, "sha": "0" * 40, "private": False, "gated": "manual" if "gated" in repo else False})
        else:
            self._tree(folder, unquote(asked["path"] or "").strip("/"), query)

    def _tree(self, folder: Path, path: str, query: dict[str, str]) -> None:
        if not (folder / path).is_dir():
            self._fault(404, code="EntryNotFound")
            return
        below = (folder / path).rglob("*") if query["recursive"].lower() == "true" else (folder / path).iterdir()
        entries = [
            {
                "type": "directory" if one.is_dir() else "file",
                "oid": "0" * 40,
                "size": 0 if one.is_dir() else one.stat().st_size,
                "path": str(one.relative_to(folder)),
            }
            for one in sorted(below)
        ]
        start = int(query.get("cursor", 0))
        link = {}
        if start + PAGE < len(entries):
            again = f"recursive={query['recursive']}&expand={query['expand']}&cursor={start + PAGE}"
            link = {"Link": f'<{self.server.url}{quote(urlsplit(self.path).path, safe="/%")}?{again}>; rel="next"'}
        self._json(entries[start : start + PAGE], link)

    def _file(self, repo: str, path: str) -> None:
        file = self.server.folder / repo / path
        if not file.is_file():
            self._fault(404, code="EntryNotFound")
            return
        if "gated" in repo:
            self._fault(403, code="GatedRepo", message=f"Access to dataset {repo} is restricted")
            return
        content, headers = file.read_bytes(), {"Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or len(content) - 1), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            content = content[first : last + 1]
        self._answer(206 if wanted else 200, content, headers)

    def _fault(self, status: int, *, code: str = "", message: str = "") -> None:
        named = {"X-Error-Code": code, "X-Error-Message": message}
        self._answer(status, b"", {name: value for name, value in named.items() if value})

    def _json(self, content: Any, headers: dict[str, str] | None = None) -> None:
        self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass
