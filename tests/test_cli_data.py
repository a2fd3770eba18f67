"""`aki-eval data`: downloads that resume, are verified, and never overwrite; the lock file; offline."""

from __future__ import annotations

import hashlib
import json
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from run_helpers import TASK, picture, write_table

from aki_eval.cli import main
from benchmarks.data import fetch as fetch_module
from benchmarks.data.fetch import LOCK_NAME, TableSource, check_lock, fetch, official_sources, read_lock, write_lock
from benchmarks.errors import UserError
from benchmarks.tasks import TASKS

CONTENT = bytes(range(256)) * 4096  # one megabyte
MD5 = hashlib.md5(CONTENT).hexdigest()


class FileServer:
    """Serves one file. `break_after` closes the connection after so many bytes, once for each number in it."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.content, self.version = CONTENT, '"one"'
        self.break_after: list[int] = []
        self.ranges: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                outer.ranges.append(asked)
                start = 0
                if asked and self.headers.get("If-Range") == outer.version:
                    start = int(asked.removeprefix("bytes=").rstrip("-"))
                self.send_response(206 if start else 200)
                self.send_header("ETag", outer.version)
                self.send_header("Content-Length", str(len(outer.content) - start))
                self.end_headers()
                body = outer.content[start:]
                self.wfile.write(body[: outer.break_after.pop(0)] if outer.break_after else body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}/TABLE.tsv"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    yield server
    server.close()


def test_a_download_that_breaks_off_is_taken_up_where_it_was(server: FileServer, tmp_path: Path) -> None:
    server.break_after = [300_000, 200_000]
    seen: list[tuple[int, int | None]] = []
    path = fetch("TABLE", TableSource(server.url, MD5), tmp_path, lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-", "bytes=500000-"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [one.name for one in tmp_path.iterdir()] == ["TABLE.tsv"]


def test_another_process_goes_on_with_what_is_there(server: FileServer, tmp_path: Path) -> None:
    server.break_after = [1000] * fetch_module.TRIES
    with pytest.raises(UserError, match="what has arrived is kept"):
        fetch("TABLE", TableSource(server.url, MD5), tmp_path)
    assert not (tmp_path / "TABLE.tsv").exists()
    fetch("TABLE", TableSource(server.url, MD5), tmp_path)
    assert server.ranges[-1] == f"bytes={1000 * fetch_module.TRIES}-"


def test_when_the_file_changed_meanwhile_it_starts_over(server: FileServer, tmp_path: Path) -> None:
    server.break_after = [1000] * fetch_module.TRIES
    with pytest.raises(UserError):
        fetch("TABLE", TableSource(server.url, MD5), tmp_path)
    server.content, server.version = CONTENT[::-1], '"two"'
    path = fetch("TABLE", TableSource(server.url, hashlib.md5(CONTENT[::-1]).hexdigest()), tmp_path)
    assert path.read_bytes() == CONTENT[::-1]


def test_what_does_not_match_is_explained_and_never_put_in_place(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"changed on the server; it is kept as .*TABLE.tsv.mismatch"):
        fetch("TABLE", TableSource(server.url, "0" * 32), tmp_path)
    assert not (tmp_path / "TABLE.tsv").exists()
    assert (tmp_path / "TABLE.tsv.mismatch").read_bytes() == CONTENT


def test_what_is_there_is_never_overwritten(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "TABLE.tsv").write_bytes(b"mine")
    with pytest.raises(UserError, match="it is left alone"):
        fetch("TABLE", TableSource(server.url, MD5), tmp_path)
    assert (tmp_path / "TABLE.tsv").read_bytes() == b"mine"
    assert server.ranges == []


def test_an_address_that_is_not_there_is_one_line(server: FileServer, tmp_path: Path) -> None:
    server.close()
    with pytest.raises(UserError, match=r"cannot download .*refused"):
        fetch("TABLE", TableSource(server.url, MD5), tmp_path)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate with the openssl command")
def test_a_certificate_nobody_vouches_for_is_refused_even_where_checks_were_turned_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*make.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = FileServer(context)
    monkeypatch.setattr(ssl, "_create_default_https_context", ssl._create_unverified_context)  # as the kit does
    try:
        with pytest.raises(UserError, match="CERTIFICATE_VERIFY_FAILED"):
            fetch("TABLE", TableSource(server.url, MD5), tmp_path / "tables")
        assert server.ranges == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch("TABLE", TableSource(server.url, MD5), tmp_path / "tables").read_bytes() == CONTENT
    finally:
        server.close()


def test_every_official_table_has_an_address_and_the_sum_we_expect() -> None:
    sources = official_sources()
    for task in TASKS.values():
        for table in task.tables:
            assert sources[table.name].url.startswith("https://"), table.name
            assert sources[table.name].md5 == table.md5
    assert "vlmeval" not in sys.modules


def test_the_lock_file_notices_a_change(tmp_path: Path) -> None:
    write_table(tmp_path)
    write_lock(tmp_path, "SMALL", {"sha256": "a" * 64, "num_rows": 12}, None)
    check_lock(tmp_path, {"SMALL": {"sha256": "a" * 64}})
    with pytest.raises(UserError, match=r"SMALL\.tsv has sha256 bbbb.*the table was changed"):
        check_lock(tmp_path, {"SMALL": {"sha256": "b" * 64}})
    assert read_lock(tmp_path)["SMALL"]["num_rows"] == 12


@pytest.fixture
def data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """`aki-eval data ...` with the small benchmark for the official ones, served on this machine."""
    content = write_table(tmp_path / "server").joinpath("SMALL.tsv").read_bytes()
    server = FileServer()
    server.content = content
    source = TableSource(server.url, hashlib.md5(content).hexdigest())
    table = TASK.tables[0].__class__(name="SMALL", md5=source.md5 or "", num_rows=12)
    task = TASK.__class__(**{**TASK.__dict__, "tables": (table,)})
    monkeypatch.setattr("aki_eval.run.inputs.TASKS", {"small": task})
    monkeypatch.setattr("aki_eval.commands.data.official_sources", lambda: {"SMALL": source})

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["aki-eval", "data", *arguments, "--root", str(tmp_path / "tables")])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, " ".join(said.out.split()), " ".join(said.err.split())

    yield call
    server.close()


def test_fetch_verify_list(data: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, error = data("fetch", "--offline")
    assert (code, "--offline forbids" in error) == (2, True)
    code, said, _ = data("verify")
    assert (code, "SMALL: absent" in said) == (1, True)
    assert data("fetch", "small")[0] == 0
    lock = json.loads((tmp_path / "tables" / LOCK_NAME).read_text())
    assert lock["SMALL"]["num_rows"] == 12
    assert lock["SMALL"]["sha256"] == hashlib.sha256((tmp_path / "tables/SMALL.tsv").read_bytes()).hexdigest()
    assert data("verify") == (0, "SMALL: ok", "")
    assert data("fetch", "--offline")[0] == 0
    assert "12" in data("list")[1]

    with (tmp_path / "tables/SMALL.tsv").open("a") as table:
        table.write("12\t0\tanother?\tyes\ta\n")
    code, said, _ = data("verify")
    assert (code, "changed since it was locked" in said) == (1, True)
    code, _, error = data("fetch")
    assert (code, "it is left alone" in error) == (2, True)
    (tmp_path / "tables/SMALL.tsv").write_text("torn")
    code, said, _ = data("verify")
    assert (code, "SMALL: " in said) == (1, True)
    code, _, error = data("fetch", "nobodys")
    assert (code, "unknown benchmark 'nobodys'" in error) == (2, True)


def test_cv_bench_from_the_hub_is_found_locked_and_verified(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["aki-eval", "data", *arguments, "cv_bench", "--root", str(tmp_path)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, " ".join((said.out + said.err).split())

    code, said = call("fetch", "--from-hub")  # HF_HUB_OFFLINE is set in all tests
    assert (code, "cannot download test_2d.parquet of nyu-visionx/CV-Bench" in said) == (2, True)
    for split in ("2d", "3d"):
        write_parquet(tmp_path / f"test_{split}.parquet", split.upper())
    assert call("fetch", "--from-hub")[0] == 0
    assert read_lock(tmp_path)["CV-Bench-2D"] | {"locked": ""} == {
        "sha256": hashlib.sha256((tmp_path / "test_2d.parquet").read_bytes()).hexdigest(),
        "num_rows": 1,
        "url": "hf://datasets/nyu-visionx/CV-Bench",
        "locked": "",
    }
    write_parquet(tmp_path / "test_3d.parquet", "3D", question="Changed?")
    code, said = call("verify")
    assert code == 1
    assert "CV-Bench-3D: changed since it was locked" in said


def write_parquet(path: Path, kind: str, question: str = "How many?") -> None:
    """One row in the Hub's layout."""
    from datasets import Dataset

    row = {
        "idx": 0,
        "type": kind,
        "task": "Count" if kind == "2D" else "Depth",
        "image": {"bytes": picture(), "path": "x.png"},
        "question": question,
        "choices": ["3", "2"],
        "answer": "(A)",
        "prompt": f"{question} Select from the following choices.\n(A) 3\n(B) 2",
        "source": "COCO" if kind == "2D" else "Omni3D",
        "filename": "img/x.png",
    }
    Dataset.from_list([row]).to_parquet(path)
