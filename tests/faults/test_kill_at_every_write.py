"""run, score and fetch killed before each of their changes to the disk, and torn at each flush: started again, they end
with what an undisturbed one has."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fault_helpers import kills
from run_helpers import TASK, ScriptedPredictor, results, write_table

from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from benchmarks.data.fetch import TableSource, fetch

CONTENT = b"index\tquestion\n" + b"".join(b"%d\tWhat is it?\n" % number for number in range(500))


def go(tables: Path, out: Path) -> None:
    run(RunOptions(tasks=[TASK], data=str(tables), out=out, batch_size=4), ScriptedPredictor(), Progress(quiet=True))


def test_a_run(tmp_path: Path) -> None:
    tables = write_table(tmp_path / "tables")
    go(tables, tmp_path / "undisturbed")
    expected = results(tmp_path / "undisturbed")
    out = tmp_path / "run"
    num_kills = 0
    for _ in kills(lambda: go(tables, out), out):
        num_kills += 1
        go(tables, out)
        assert results(out) == expected
        shutil.rmtree(out)
    assert num_kills > 15


def test_scoring_leaves_the_old_numbers_or_the_new(tmp_path: Path) -> None:
    """Scored again over a finished run: what is read in between is whole, and the answers are not touched."""
    tables, out = write_table(tmp_path / "tables"), tmp_path / "run"
    go(tables, out)
    expected, answers = results(out), (out / "small/predictions.jsonl").read_bytes()
    shutil.copytree(out, tmp_path / "before")
    num_kills = 0
    for _ in kills(lambda: go(tables, out), out):
        num_kills += 1
        assert results(out) == expected
        assert (out / "small/predictions.jsonl").read_bytes() == answers
        go(tables, out)
        assert results(out) == expected
        shutil.rmtree(out)
        shutil.copytree(tmp_path / "before", out)
    assert num_kills > 3


class Handler(BaseHTTPRequestHandler):
    """Sends CONTENT, from the byte that is asked for."""

    def do_GET(self) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(CONTENT[start:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/TABLE.tsv"
        server.shutdown()


def test_a_fetched_table_is_whole_or_not_there(tmp_path: Path, address: str) -> None:
    root = tmp_path / "tables"
    source = TableSource(address, hashlib.md5(CONTENT).hexdigest())
    num_kills = 0
    for _ in kills(lambda: fetch("TABLE", source, root), root):
        num_kills += 1
        target = root / "TABLE.tsv"
        assert not target.exists() or target.read_bytes() == CONTENT
        fetch("TABLE", source, root)
        assert target.read_bytes() == CONTENT
        assert [path.name for path in root.iterdir()] == ["TABLE.tsv"]
        shutil.rmtree(root)
    assert num_kills > 3
