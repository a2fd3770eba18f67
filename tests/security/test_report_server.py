"""A report that is looked at on this machine can be read by nobody else's page."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.serving import make_server


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    site = tmp_path / "html"
    (site / "data").mkdir(parents=True)
    (site / "index.html").write_text("report")
    (site / "data/manifest.js").write_text("AKI.receive()")
    (tmp_path / "secret.txt").write_text("secret")
    (site / "link.txt").symlink_to(tmp_path / "secret.txt")
    (site / "up").symlink_to(tmp_path)
    with make_server(site, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers={"Host": f"127.0.0.1:{port}"} | fields)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_only_our_own_pages_are_answered(port: int, method: str) -> None:
    script = {"Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "script"}
    link = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    frame = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}
    data = "/data/manifest.js"
    assert ask(port, data, method).status == 200
    assert ask(port, data, method, Sec_Fetch_Site="same-origin", **script).status == 200
    assert ask(port, data, method, Sec_Fetch_Site="cross-site", **script).status == 403
    assert ask(port, data, method, Sec_Fetch_Site="same-site", **script).status == 403
    assert ask(port, "/index.html", method, Sec_Fetch_Site="cross-site", **link).status == 200
    assert ask(port, "/index.html", method, Sec_Fetch_Site="cross-site", **frame).status == 403
    assert ask(port, data, method, Host="evil.example:80").status == 403
    assert ask(port, data, method, Host="").status == 403


def test_answers_forbid_their_use_elsewhere(port: int) -> None:
    answer = ask(port, "/data/manifest.js")
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path", ["/link.txt", "/up/secret.txt", "/up/", "/%00", "/index.html%00.js", "/..%2fsecret.txt"]
)
def test_nothing_outside_the_folder(port: int, method: str, path: str) -> None:
    assert ask(port, path, method).status == 404
