"""The model card, its result files, and the local server."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import HfApi, ModelCard, parse_eval_result_entries
from reports_helpers import all_metrics, edit_json, metric, plan, write_run

from aki_eval.commands.view import command as view
from benchmarks.errors import UserError
from benchmarks.results.folder import open_run, open_runs
from reports.cli import report
from reports.model_card import entries, notes_on
from reports.pages import write_site
from reports.series import run_cell
from reports.serving import make_server


def write_card(run: Path, out: Path) -> Path:
    report([run], formats="model-card", out=out)
    return out / "model-card"


def test_card_and_result_files_are_read_back_by_the_hub_library(tmp_path: Path) -> None:
    folder = write_card(write_run(tmp_path / "mine"), tmp_path / "out")
    files = sorted((folder / ".eval_results").glob("*.yaml"))
    assert len(files) == 10
    parsed = parse_eval_result_entries(yaml.safe_load((folder / ".eval_results" / "cv_bench.yaml").read_text("utf-8")))
    assert [(entry.dataset_id, entry.task_id, entry.value) for entry in parsed] == [
        ("nyu-visionx/CV-Bench", "cv_bench_2d", 50.0),
        ("nyu-visionx/CV-Bench", "cv_bench_3d", 50.0),
    ]
    card = ModelCard.load(folder / "README.md")
    assert card.data.eval_results is not None
    assert len(card.data.eval_results) == 12
    assert "Table 15." in card.text


def test_notes_say_interval_judge_protocol_and_counts(tmp_path: Path) -> None:
    path = write_run(tmp_path / "mine", {"mm_vet": {"overall": metric(40.0, num=218)}})
    edit_json(path / "mm_vet" / "metrics.json", judge={"name": "gpt-x", "comparable": True})
    [entry] = entries(open_run(path))["mm_vet"]
    notes = str(entry.notes)
    for part in ("protocol kit", "95 % interval 38.0 to 42.0", "218 of 218 samples", "judge gpt-x", "aki prompts"):
        assert part in notes


def test_what_nobody_could_score_is_not_published(tmp_path: Path) -> None:
    path = write_run(
        tmp_path / "mine", {"mm_vet": {"overall": metric(None, unscored=100)}, "pope": {"f1": metric(80.0)}}
    )
    assert list(entries(open_run(path))) == ["pope"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"data": {"source": "toy", "tables": {}}}, "toy world"),
        ({"subset": {"size": 8}}, "subset"),
        ({"complete": False}, "incomplete"),
    ],
)
def test_only_whole_real_runs_are_pushed(
    change: dict[str, object], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HfApi, "upload_folder", lambda *_, **__: pytest.fail("nothing may be uploaded"))
    run = write_run(tmp_path / "mine")
    edit_json(run / "pope" / "metrics.json", **change)
    with pytest.raises(UserError, match=why):
        report([run], formats="model-card", out=tmp_path / "out", push="someone/model")


def test_push_opens_a_pull_request_and_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Commit:
        pr_url = "https://hub/pr/1"
        commit_url = ""

    monkeypatch.setattr(HfApi, "file_exists", lambda *_, **__: True)
    monkeypatch.setattr(HfApi, "upload_folder", lambda self, **arguments: calls.append(arguments) or Commit())
    run = write_run(tmp_path / "mine")
    write_card(run, tmp_path / "out")
    assert calls == []
    report([run], formats="model-card", out=tmp_path / "out", push="someone/model")
    [call] = calls
    assert call["create_pr"] is True
    assert call["allow_patterns"] == [".eval_results/*.yaml"]


def test_push_needs_the_card(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="add model-card to --format"):
        report([write_run(tmp_path / "mine")], formats="md", out=tmp_path, push="someone/model")


def test_notes_name_data_that_is_not_the_benchmark(tmp_path: Path) -> None:
    run = open_run(write_run(tmp_path / "mine", source="toy"))
    assert "toy world, not the benchmark" in notes_on(run.results["pope"], run_cell(run.results["pope"], "f1"), {})


# The server.


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    nothing = {task: {name: metric(50.0, num=0) for name in names} for task, names in all_metrics().items()}
    run = write_run(tmp_path / "mine", nothing)
    for task in open_run(run).results:
        (run / task / "scores.jsonl").write_text("", encoding="utf-8")
    folder = write_site(plan(open_runs([run])), tmp_path / "html").parent
    with make_server(folder, 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask(port: int, path: str, host: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_server_shows_the_report_and_nothing_else(port: int) -> None:
    status, body = ask(port, "/index.html")
    assert status == 200
    assert b"AKI evaluation" in body
    assert ask(port, "/data/")[0] == 404
    assert ask(port, "/../mine/run.json")[0] == 404
    assert ask(port, "/index.html", host="evil.example:80")[0] == 403


def test_taken_port_is_one_clear_line(port: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose another, or 0"):
        make_server(tmp_path, port)
    with pytest.raises(UserError, match="choose another, or 0"):
        make_server(tmp_path, 99_999_999)


class OneLook:
    """A server that is stopped with Ctrl-C as soon as it runs."""

    server_port = 1234

    def __init__(self, folder: Path, port: int, **options: Any) -> None:
        self.folder = folder

    def __enter__(self) -> OneLook:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def serve_forever(self) -> None:
        SEEN.append(sorted(path.name for path in self.folder.glob("*.html")))
        raise KeyboardInterrupt


SEEN: list[list[str]] = []


def test_view_serves_runs_and_finished_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("reports.serving.make_server", OneLook)
    run = write_run(tmp_path / "mine", {"pope": {"f1": metric(80.0, num=0)}})
    (run / "pope" / "scores.jsonl").write_text("", encoding="utf-8")
    finished = write_site(plan(open_runs([run])), tmp_path / "html").parent
    SEEN.clear()
    view([run])
    view([finished])
    assert SEEN == [["benchmark-pope.html", "index.html", "paper.html", "samples.html"]] * 2
    assert "http://127.0.0.1:1234/index.html" in capsys.readouterr().out


def test_a_wrong_address_is_said_before_a_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.pages.write_site", lambda *_, **__: pytest.fail("the report takes its time first"))
    run = write_run(tmp_path / "mine", {"pope": {"f1": metric(80.0, num=0)}})
    with pytest.raises(UserError, match="--port 99999999"):
        view([run], port=99_999_999)


def test_toy_numbers_are_no_results_of_the_real_benchmark(tmp_path: Path) -> None:
    run = write_run(tmp_path / "toy", source="toy")
    folder = write_card(run, tmp_path / "out")
    assert [file.name for file in folder.iterdir()] == ["README.md"]
    results = ModelCard.load(folder / "README.md").data.eval_results
    assert results is not None
    assert {result.dataset_type.split("/")[0] for result in results} == {"toy-world"}
    assert entries(open_run(run)) == {}
