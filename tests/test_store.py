"""The run folder: appended lines, torn lines, locks, merging."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from record_helpers import record

from benchmarks.errors import UserError
from benchmarks.files import beside, out_folder, write_atomically
from benchmarks.records import Prediction
from benchmarks.results.jsonl import read_lines
from benchmarks.results.record import RunRecord
from benchmarks.results.store import RunStore


@pytest.fixture
def folder(tmp_path: Path) -> RunStore:
    folder = RunStore(tmp_path / "run")
    folder.create()
    return folder


def answered(index: str, text: str | None = "yes", error: str | None = None) -> Prediction:
    return Prediction(index=index, prompt="p", text=text, num_tokens=1, finish_reason="stop", error=error)


def test_what_was_appended_is_read_back(folder: RunStore) -> None:
    texts = ["=1", "None", "", "N/A", "two\nlines\u2028and a separator", "\ud83d alone", 'quote " and \\ slash', "ü"]
    folder.append("mme", [answered(str(number), text) for number, text in enumerate(texts)])
    assert [prediction.text for prediction in folder.predictions("mme").values()] == texts


def test_a_line_has_the_fields_of_the_contract(folder: RunStore) -> None:
    folder.append("mme", [answered("1")])
    (line,) = (folder.root / "mme/predictions.jsonl").read_text().splitlines()
    assert list(json.loads(line)) == ["index", "prompt", "prediction", "num_tokens", "finish_reason", "error"]


def test_cut_at_any_byte_every_whole_line_counts_and_the_torn_one_does_not(folder: RunStore) -> None:
    path = folder.root / "mme/predictions.jsonl"
    folder.append("mme", [answered("0", "ü"), answered("1", "öä")])
    whole = path.read_bytes()
    for length in range(whole.index(b"\n") - 2, len(whole)):
        path.write_bytes(whole[:length])
        complete = ["0"] if length > whole.index(b"\n") else []
        assert list(folder.predictions("mme")) == complete
        folder.append("mme", [answered("next")])
        assert list(folder.predictions("mme")) == [*complete, "next"]


def test_a_torn_line_longer_than_a_block_is_cut_off(folder: RunStore) -> None:
    folder.append("mme", [answered("0"), answered("1", "x" * 200_000)])
    path = folder.root / "mme/predictions.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    folder.append("mme", [answered("2")])
    assert list(folder.predictions("mme")) == ["0", "2"]


def test_damage_inside_a_file_is_an_error_and_not_a_torn_line(folder: RunStore) -> None:
    path = folder.root / "lines.jsonl"
    path.write_text('{"index": "1"}\n{"index": \n{"index": "3"}\n')
    with pytest.raises(UserError, match="line 2"):
        list(read_lines(path))


def test_an_answer_counts_more_than_an_error_and_later_more_than_earlier(folder: RunStore) -> None:
    folder.append("mme", [answered("1", None, "boom"), answered("2"), answered("3", None, "first")])
    folder.append("mme", [answered("1", "late"), answered("2", None, "boom"), answered("3", None, "second")])
    found = folder.predictions("mme")
    assert (found["1"].text, found["2"].text, found["3"].error) == ("late", "yes", "second")


def test_workers_are_merged_in_the_order_of_the_table(folder: RunStore) -> None:
    folder.append("mme", [answered("3"), answered("1")])
    folder.append("mme", [answered("2"), answered("0")], worker="node1-17-99")
    folder.merge("mme", ["0", "1", "2", "3", "4"])
    assert [path.name for path in (folder.root / "mme").iterdir()] == ["predictions.jsonl"]
    assert list(folder.predictions("mme")) == ["0", "1", "2", "3"]


def test_a_second_process_is_refused(folder: RunStore) -> None:
    code = (
        "import sys; from pathlib import Path; from benchmarks.results.store import RunStore\n"
        "with RunStore(Path(sys.argv[1])).alone('score'): print('in', flush=True); sys.stdin.read()"
    )
    arguments = [sys.executable, "-c", code, str(folder.root)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        with pytest.raises(UserError, match=r"another process is working .*aki-eval score"), folder.alone("import"):
            pass
        other.kill()
    with folder.alone("import"):
        pass


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_atomically(path, json.dumps({"text": "x" * 100_000}))
    code = (
        "import json, sys; from pathlib import Path; from benchmarks.files import write_atomically\n"
        "print('go', flush=True)\n"
        "while True: write_atomically(Path(sys.argv[1]), json.dumps({'text': 'x' * 100_000}))"
    )
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                writer.wait(random.uniform(0.0, 0.2))
            writer.kill()
        assert len(json.loads(path.read_text())["text"]) == 100_000


def test_a_file_made_beside_its_place_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with beside(path) as scratch:
        scratch.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    with suppress(ValueError), beside(path) as scratch:
        scratch.write_bytes(b"half")
        raise ValueError("broken")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_the_users_to_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to the run folder"):
        RunStore(tmp_path / "file" / "run").create()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_the_users_to_fix(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot write to the run folder"):
        RunStore(tmp_path / "run").create()


def started(folder: RunStore, *tasks: str) -> None:
    """run.json that names the tasks."""
    folder.write_run(RunRecord.of(record(tasks=tasks), "here"))


def test_fresh_deletes_what_run_json_lists_and_nothing_else(folder: RunStore) -> None:
    started(folder, "mme")
    folder.append("mme", [answered("1")], worker="node1-17-99")
    kept = [folder.root / name for name in ("notes.txt", "mme/notes.txt", "other/predictions.jsonl")]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("precious")
    folder.clear()
    assert sorted(path for path in folder.root.glob("**/*") if path.is_file()) == sorted(kept)
    with pytest.raises(UserError, match=r"is no run folder \(no run\.json, but mme\), so nothing in it is deleted"):
        folder.clear()


@pytest.mark.parametrize("name", ["..", "../other", "/etc", "", "linked"])
def test_fresh_goes_nowhere_else(folder: RunStore, name: str) -> None:
    other = folder.root.parent / "other"
    other.mkdir()
    (other / "predictions.jsonl").write_text("precious")
    (folder.root / "linked").symlink_to(other)
    started(folder, "mme", name)
    folder.append("mme", [answered("1")])
    with pytest.raises(UserError, match="which is no folder of a run"):
        folder.clear()
    assert (other / "predictions.jsonl").exists()
    assert (folder.root / "mme/predictions.jsonl").exists()


def test_fresh_leaves_a_damaged_run_alone(folder: RunStore) -> None:
    folder.append("mme", [answered("1")])
    (folder.root / "run.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        folder.clear()
    assert (folder.root / "mme/predictions.jsonl").exists()


def test_an_empty_out_the_home_and_the_root_are_no_place_for_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for place in ("/", tmp_path / "home", tmp_path):
        with pytest.raises(UserError, match="is no place for a run"):
            RunStore(Path(place)).create()
    for empty in ("", "  "):
        with pytest.raises(UserError, match="it is empty"):
            out_folder(empty)
