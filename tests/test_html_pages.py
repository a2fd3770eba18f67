"""The HTML report's files, without a browser: what they say, what they escape, what they leave out."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from html_helpers import HOSTILE, NUM_POPE, NUM_REAL, write_answered_run
from PIL import Image
from reports_helpers import edit_json, metric, plan, write_lines, write_run
from scored_run_helpers import score, scores, write_scored_run

from benchmarks.data.load import checksum
from benchmarks.errors import UserError
from benchmarks.records import ImageRef, Score
from benchmarks.results.comparison import compare
from benchmarks.results.folder import RunFolder, open_runs
from benchmarks.tasks import TASKS
from reports.chart_data import breakdown, further_parts, overview, part_label
from reports.cli import report
from reports.comparison_tables import count_table
from reports.links import group_of, unions
from reports.pages import write_site
from reports.pages.browser import PAGE
from reports.pages.compare import MOST_MOVED, compare_page
from reports.pages.history import history
from reports.pages.pictures import PictureFiles, ServedPictures, media_type
from reports.paper_tables import Plan

SCRIPT = re.compile(r'AKI\.receive\("([^"]+)",(.*)\);\n', re.DOTALL)


def data_of(site: Path, name: str) -> Any:
    found = SCRIPT.fullmatch((site / "data" / f"{name}.js").read_text("ascii"))
    assert found is not None
    assert found[1] == name
    return json.loads(found[2])


def make_site(root: Path, *names: str, out: str = "html") -> Path:
    runs = [write_answered_run(root / name, seed) for seed, name in enumerate(names)]
    return write_site(plan(open_runs(runs)), root / out).parent


def test_samples_come_in_pages_and_hold_all_evidence(tmp_path: Path) -> None:
    site = make_site(tmp_path, "first", "second")
    manifest = data_of(site, "manifest")
    assert manifest["runs"] == ["first", "second"]
    assert [(task["name"], task["count"]) for task in manifest["tasks"]] == [
        ("pope", NUM_POPE),
        ("real_world_qa", NUM_REAL),
    ]
    pages = [data_of(site, f"pope/page-{number}") for number in range(-(-NUM_POPE // PAGE))]
    assert sum(map(len, pages)) == NUM_POPE
    assert not (site / "data" / "pope" / f"page-{len(pages)}.js").exists()
    sample = pages[0][0]
    assert sample["runs"][0]["text"] == HOSTILE
    assert sample["prompt"] == "<image> Is it 0?"
    broken = pages[0][5]["runs"][0]
    assert broken["text"] is None
    assert broken["error"] == "out of memory"
    assert broken["scores"]["kit"]["reason"] == "error"
    index = data_of(site, "pope/index")
    assert index["worth"]["kit"][0][5] is None
    assert set(index["groups"]) == {"adversarial", "popular", "random"}


def test_pictures_are_written_once(tmp_path: Path) -> None:
    site = make_site(tmp_path, "first", "second")
    samples = data_of(site, "real_world_qa/page-0")
    assert samples[0]["pictures"] == samples[1]["pictures"] != samples[2]["pictures"]
    assert len(list((site / "pictures").iterdir())) == NUM_REAL // 2
    assert (site / samples[0]["pictures"][0]).read_bytes().startswith(b"\x89PNG")
    assert samples[1]["question"] == "<b>What</b> colour is it?"
    assert samples[0]["choices"] == [["A", "Yes"], ["B", "No"]]


def test_pictures_can_be_left_out(tmp_path: Path) -> None:
    run = write_answered_run(tmp_path / "first", 0)
    report([run], formats="html", out=tmp_path / "out", pictures="none")
    assert data_of(tmp_path / "out" / "html", "real_world_qa/page-0")[0]["pictures"] == []


def test_nothing_from_outside_is_asked_for(tmp_path: Path) -> None:
    site = make_site(tmp_path, "first")
    for path in site.rglob("*"):
        if path.suffix in {".html", ".css"}:
            text = path.read_text("utf-8")
            assert not re.search(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", text), path
            assert "http-equiv" not in text
        if path.parent.name == "assets":
            assert "fetch(" not in path.read_text("utf-8")


def test_names_are_escaped_in_pages(tmp_path: Path) -> None:
    site = make_site(tmp_path, "first<script>alert(1)</script>")
    for path in site.glob("*.html"):
        assert "<script>alert" not in path.read_text("utf-8")
        assert "<script>window.hacked" not in path.read_text("utf-8")
    assert "&lt;script&gt;alert" in (site / "index.html").read_text("utf-8")


def test_same_run_gives_the_same_files(tmp_path: Path) -> None:
    first = make_site(tmp_path / "a", "run")
    contents = {path.relative_to(first): path.read_bytes() for path in first.rglob("*") if path.is_file()}
    again = write_site(plan(open_runs([tmp_path / "a" / "run"])), tmp_path / "b").parent
    assert {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()} == contents


def test_an_older_report_is_replaced(tmp_path: Path) -> None:
    make_site(tmp_path, "first", "second")
    picture = next((tmp_path / "html" / "pictures").iterdir())
    picture.write_bytes(b"cut short")
    (picture.parent / "old.png").write_bytes(b"old")
    site = write_site(plan(open_runs([tmp_path / "second"])), tmp_path / "html").parent
    assert data_of(site, "manifest")["runs"] == ["second"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not (picture.parent / "old.png").exists()


def test_a_folder_that_is_no_report_is_left_alone(tmp_path: Path) -> None:
    run = write_answered_run(tmp_path / "first", 0)
    own = tmp_path / "html" / "data" / "thesis.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="no report of ours"):
        report([run], formats="html", out=tmp_path)
    assert own.read_text("utf-8") == "mine"


def test_tables_that_changed_are_not_shown(tmp_path: Path) -> None:
    run = write_answered_run(tmp_path / "first", 0)
    table = run / "tables" / "RealWorldQA.tsv"
    table.write_text(table.read_text("utf-8").replace("number 3", "number three"), encoding="utf-8")
    site = write_site(plan(open_runs([run])), tmp_path / "html").parent
    note = data_of(site, "manifest")["tasks"][1]["note"]
    assert "RealWorldQA is not the one the run was made with" in note
    assert data_of(site, "real_world_qa/page-0")[0]["question"] is None


def test_missing_tables_are_said(tmp_path: Path) -> None:
    run = write_answered_run(tmp_path / "first", 0)
    shutil.rmtree(run / "tables")
    site = write_site(plan(open_runs([run])), tmp_path / "html").parent
    assert "Questions and pictures are not shown" in data_of(site, "manifest")["tasks"][1]["note"]


def test_runs_on_different_data_are_not_set_side_by_side(tmp_path: Path) -> None:
    runs = [write_answered_run(tmp_path / name, seed) for seed, name in enumerate(("first", "second"))]
    other = {"source": "elsewhere", "tables": {"RealWorldQA": {"sha256": "0" * 64}}}
    edit_json(runs[1] / "real_world_qa" / "metrics.json", data=other)
    site = write_site(plan(open_runs(runs)), tmp_path / "html").parent
    assert "measured on other data: second" in data_of(site, "manifest")["tasks"][1]["note"]
    assert set(data_of(site, "real_world_qa/index")["worth"]["kit"][1]) == {-1}
    assert "are not compared on real_world_qa" in (site / "index.html").read_text("utf-8")


def test_failed_self_test_stands_on_every_page(tmp_path: Path) -> None:
    run = write_answered_run(tmp_path / "first", 0)
    edit_json(run / "run.json", mask_self_test={"passed": False})
    site = write_site(plan(open_runs([run])), tmp_path / "html").parent
    assert all("attention self-test failed" in path.read_text("utf-8") for path in site.glob("*.html"))


def test_chart_places_are_per_cent_of_the_most_possible() -> None:
    rows = {row.label: row for row in overview(Plan(())).rows}
    assert rows["MME_P"].scale == "(of 2000)"
    assert rows["MME_P"].reference is not None
    assert rows["MME_P"].reference.at == pytest.approx(1491.9 / 20, abs=0.01)
    assert len(rows["MME_P"].others) == 8 + 10
    assert len(rows["MMB_dev"].others) == 18 - 3  # three peers print a dash


def test_bad_calls_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one run"):
        write_site(Plan(()), tmp_path)
    run = write_answered_run(tmp_path / "first", 0)
    with pytest.raises(UserError, match="say where with --out"):
        report([run], formats="html")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="cannot write the report"):
        report([run], formats="html", out=tmp_path / "file")


# Thumbnails.


def noise(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 90).save(file, "PNG")
    return file.getvalue()


def reference(content: bytes) -> ImageRef:
    return ImageRef(key=str(hash(content)), read=lambda: content)


def test_large_pictures_are_thumbnails_and_the_originals_come_on_request(tmp_path: Path) -> None:
    content = noise(900, 600)
    small = PictureFiles(tmp_path / "small")
    file = tmp_path / "small" / small.path_of(reference(content))
    with Image.open(file) as shown:
        assert (shown.format, shown.size) == ("WEBP", (384, 256))
    assert file.stat().st_size < len(content) / 4
    whole = PictureFiles(tmp_path / "whole", "originals")
    assert (tmp_path / "whole" / whole.path_of(reference(content))).read_bytes() == content


def test_what_is_small_or_no_picture_is_kept_as_it_is(tmp_path: Path) -> None:
    files = PictureFiles(tmp_path)
    for content in (noise(40, 30), b"no picture" * 5000):
        assert (tmp_path / files.path_of(reference(content))).read_bytes() == content


def test_served_pictures_are_not_copied(tmp_path: Path) -> None:
    run = write_answered_run(tmp_path / "first", 0)
    served = ServedPictures()
    site = write_site(plan(open_runs([run])), tmp_path / "html", pictures=served).parent
    address = data_of(site, "real_world_qa/page-0")[0]["pictures"][0]
    assert not (site / "pictures").exists()
    assert served.pictures[address].read().startswith(b"\x89PNG")
    assert media_type(b"<html>") == "application/octet-stream"


# What the index of a benchmark knows, and the links made of it.


def test_unread_and_cut_off_answers_and_readings_are_in_the_index(tmp_path: Path) -> None:
    run = write_answered_run(tmp_path / "first", 0)
    scores = [json.loads(line) for line in (run / "real_world_qa" / "scores.jsonl").read_text().splitlines()]
    scores[3] |= {"value": 0.0, "reason": "unread", "answer": None}
    write_lines(run / "real_world_qa" / "scores.jsonl", scores)
    answers = [json.loads(line) for line in (run / "real_world_qa" / "predictions.jsonl").read_text().splitlines()]
    answers[7] |= {"finish_reason": "length", "num_tokens": 16}
    write_lines(run / "real_world_qa" / "predictions.jsonl", answers)
    site = write_site(plan(open_runs([run])), tmp_path / "html").parent
    index = data_of(site, "real_world_qa/index")
    assert (index["unread"]["kit"], index["cut"]) == ([[3]], [[7]])
    assert {"No", "Yes"} <= set(index["words"])
    assert HOSTILE not in index["words"]
    assert {index["words"][place] for place in index["targets"]} == {"Yes"}
    assert index["read"]["kit"][0][3] is None


def test_the_list_shows_questions_without_the_instructions_before_them(tmp_path: Path) -> None:
    run = write_answered_run(tmp_path / "first", 0)
    table = run / "tables" / "RealWorldQA.tsv"
    text = table.read_text("utf-8").replace("What colour", "Hint: Please answer with a word. Question: What colour")
    table.write_text(text, encoding="utf-8")
    tables = checksum(TASKS["real_world_qa"], run / "tables")
    edit_json(run / "real_world_qa" / "metrics.json", data={"source": str(run / "tables"), "tables": tables})
    site = write_site(plan(open_runs([run])), tmp_path / "html").parent
    sample = data_of(site, "real_world_qa/page-0")[2]
    assert sample["question"].startswith("Hint: ")
    assert sample["short"] == "What colour is number 2?"
    assert data_of(site, "pope/page-0")[7]["short"] == "Is it 7?"


def test_metrics_lead_to_their_groups_and_unions() -> None:
    groups = ["perception/OCR", "perception/count", "cognition/code", "ade20k", "coco", "omni3d", "popular"]
    assert group_of("perception/OCR", groups) == "perception/OCR"
    assert group_of("perception", groups) == "perception"
    assert unions(groups)["perception"] == ("perception/OCR", "perception/count")
    assert unions(groups)["2d"] == ("ade20k", "coco")
    assert group_of("popular/f1", groups) == "popular"
    assert group_of("overall", groups) is None


def links_in(text: str) -> list[dict[str, list[str]]]:
    return [parse_qs(unescape(found)) for found in re.findall(r'href="samples\.html#([^"]+)"', text)]


def test_cells_and_dots_lead_to_their_samples_by_names(tmp_path: Path) -> None:
    site = make_site(tmp_path, "first & more", "second")
    benchmark = links_in((site / "benchmark-pope.html").read_text("utf-8"))
    assert {"task": ["pope"], "a": ["first & more"], "b": ["-"], "group": ["popular"], "protocol": ["kit"]} in benchmark
    assert {"task": ["pope"], "a": ["first & more"], "b": ["-"], "result": ["unscored"]} in benchmark
    assert all(link["a"][0] in ("first & more", "second") for link in benchmark if "a" in link)


def test_the_page_of_comparisons_counts_what_the_links_show(tmp_path: Path) -> None:
    runs = [write_answered_run(tmp_path / name, seed) for seed, name in enumerate(("first", "second", "third"))]
    opened = open_runs(runs)
    page = compare_page(opened, None)
    assert [(pair["a"], pair["b"]) for pair in page["pairs"]] == [(0, 1), (0, 2), (1, 2)]
    table = page["pairs"][2]["table"]
    assert [column.label for column in table.columns][:5] == ["B", "C", "C \u2212 B", "gained", "lost"]
    row = next(row for row in table.rows if row.label == "RealWorldQA")
    (worse, down, down_more, down_untested), (better, up, up_more, up_untested) = page["pairs"][2]["moved"]
    assert (worse, better) == ("Worse", "Better")
    num_worse = sum((each.cells[2].value or 0) < 0 for each in table.rows)
    assert down_untested == up_untested == []
    assert len(down + down_more) == num_worse > 0
    assert len(up + up_more) == sum((each.cells[2].value or 0) > 0 for each in table.rows)
    assert len(down) == min(num_worse, MOST_MOVED)
    assert all(line.difference.value < 0 for line in down)
    assert all(line.difference.value > 0 for line in up)
    assert [line.p for line in down] == sorted(line.p for line in down)
    before, after = ({s.index: s.value for s in run.scores("real_world_qa", "kit")} for run in opened[1:])
    gained = sum(before[index] == 0 and after[index] == 1 for index in before)
    assert row.cells[3].text == str(gained)
    assert parse_qs(str(row.cells[3].link).partition("#")[2]) == {
        "task": ["real_world_qa"],
        "a": ["second"],
        "b": ["third"],
        "result": ["gained"],
        "protocol": ["kit"],
    }
    matrix = page["matrix"]
    ahead, behind = matrix.rows[2].cells[1].text, matrix.rows[1].cells[2].text
    plus, minus = ahead.split()
    assert behind == f"+{minus[1:]} \u2212{plus[1:]}"


def write_pair(root: Path, task: str, first: list[Score], second: list[Score]) -> list[RunFolder]:
    return open_runs([write_scored_run(root / name, {task: own}) for name, own in (("a", first), ("b", second))])


def test_a_comparison_begins_with_its_verdict_and_how_the_two_were_made(tmp_path: Path) -> None:
    values = [float(number % 2) for number in range(40)]
    runs = write_pair(tmp_path, "real_world_qa", scores(values), scores([1.0] * 20 + values[20:]))
    edit_json(tmp_path / "b" / "run.json", dtype="float32")
    page = compare_page(open_runs([run.path for run in runs]), None)["pairs"][0]
    assert page["verdict"] == "1 of 1 difference lies beyond noise after Holm's correction."
    assert any(line.startswith("dtype: ") and line.endswith(" in A, float32 in B") for line in page["made"])
    text = (
        write_site(plan(open_runs([run.path for run in runs])), tmp_path / "html").parent / "compare.html"
    ).read_text()
    assert page["verdict"] in unescape(text)
    assert "float32 in B" in text


def test_answers_that_are_all_the_same_are_said_to_be(tmp_path: Path) -> None:
    own = scores([1.0, 0.0] * 10)
    (row,) = compare_page(write_pair(tmp_path, "real_world_qa", own, own), None)["pairs"][0]["table"].rows
    assert (row.cells[2].number, row.cells[2].interval) == ("identical on all 20", "")


def test_what_was_not_tested_comes_last_and_says_why(tmp_path: Path) -> None:
    """One question in a group of its own moved: nothing can be tested there."""
    first = [score(number, 0.0, groups=("x" if number else "alone",)) for number in range(9)]
    second = [replace(each, value=1.0) if each.index in "012" else each for each in first]
    page = compare_page(write_pair(tmp_path, "seed_image", first, second), None)["pairs"][0]
    _, tested, _, untested = page["moved"][1]
    assert [line.untested for line in tested] == [None, None]
    assert [line.label for line in untested] == ["SEED-Bench (image): alone"]
    assert "fewer than two" in untested[0].untested
    assert page["verdict"].endswith(" 1 more could not be tested.")


def test_rolls_of_a_question_stand_beside_the_groups_that_p_counts(tmp_path: Path) -> None:
    """Of question 0 one more roll is wrong, which was wrong before; of question 1 one, which was right."""

    def rolls(wrong: set[tuple[int, int]]) -> list[Score]:
        places = [(question, roll) for question in range(6) for roll in range(3)]
        return [
            score(question + roll * 1_000_000, float((question, roll) not in wrong), cluster=str(question))
            for question, roll in places
        ]

    runs = write_pair(tmp_path, "mmbench", rolls({(0, 0)}), rolls({(0, 0), (0, 1), (1, 2)}))
    pair = compare_page(runs, None)["pairs"][0]
    row = pair["table"].rows[0]
    assert [cell.text for cell in row.cells[3:5]] == ["0", "2 rolls, 1 group"]
    (cells,) = (row.cells for row in count_table(compare(*runs)).rows)
    assert [cell.text for cell in cells] == ["0", "2 rolls, 1 group"]


def test_a_column_that_a_run_lacks_is_shown_as_missing(tmp_path: Path) -> None:
    runs = [write_answered_run(tmp_path / name, seed) for seed, name in enumerate(("first", "second"))]
    shutil.rmtree(runs[1] / "real_world_qa")
    site = write_site(plan(open_runs(runs)), tmp_path / "html").parent
    assert "not measured: second" in (site / "index.html").read_text("utf-8")
    assert "Not measured by both: real_world_qa." in (site / "compare.html").read_text("utf-8")


def test_many_runs_have_a_history_in_the_order_of_their_beginnings(tmp_path: Path) -> None:
    runs = [write_answered_run(tmp_path / name, seed) for seed, name in enumerate(("c", "a", "b"))]
    for number, run in enumerate((runs[1], runs[2], runs[0])):
        edit_json(run / "run.json", created=f"2026-01-0{number + 1}T00:00:00+00:00")
    (panel, *_) = (panel for panel in history(open_runs(runs)) if panel.label == "POPE")
    assert [point.label for point in panel.points] == ["a", "b", "c"]
    assert [point.x for point in panel.points] == sorted(point.x for point in panel.points)
    assert history(open_runs(runs[:2])) == []


def test_parts_are_called_the_same_on_every_page() -> None:
    assert part_label("mmbench", "category/CP") == "CP"
    assert part_label("mmbench", "ability/object_localization") == "ability: object localization"
    assert part_label("pope", "popular/f1") == "Popular: F1"
    labels = {row.label for row in breakdown("8", Plan(())).rows}
    assert "CP" in labels


def test_answers_that_were_cut_off_are_said_on_top_and_on_the_card(tmp_path: Path) -> None:
    run = write_answered_run(tmp_path / "first", 0)
    path = run / "real_world_qa" / "predictions.jsonl"
    answers = [json.loads(line) for line in path.read_text().splitlines()]
    write_lines(
        path, [each | {"finish_reason": "length" if number < 3 else "stop"} for number, each in enumerate(answers)]
    )
    site = write_site(plan(open_runs([run])), tmp_path / "html").parent
    wanted = {"task": ["real_world_qa"], "a": ["first"], "b": ["-"], "result": ["cut"]}
    for page in ("index", "benchmark-real_world_qa"):
        text = (site / f"{page}.html").read_text("utf-8")
        assert "3 of 40 (7.5 %)" in text
        assert ("answers cut off at the token limit" in text) == (page != "index")  # said once, with its links
        assert wanted in links_in(text)
    assert "were cut at the limit on tokens" not in (site / "benchmark-pope.html").read_text("utf-8")


def test_the_page_says_that_nothing_extracts_and_what_to_pass(tmp_path: Path) -> None:
    """And so does an answer that the rule leaves unread, until a judge has been there."""
    own = [replace(score(n, 0.0, target="2", answer=""), reason="unread") for n in range(3)] + [
        score(9, 1.0, target="A")
    ]
    run = write_scored_run(tmp_path / "a", {"mathvista": own})
    page = (write_site(plan(open_runs([run])), tmp_path / "html").parent / "benchmark-mathvista.html").read_text(
        "utf-8"
    )
    assert f"aki-eval score {run} --judge gpt-4o" in page
    assert "1 of 4 answers: those to a letter" not in page  # a single letter makes no view
    found = data_of(tmp_path / "html", "mathvista/page-0")[0]["runs"][0]["scores"]["kit"]
    assert "no judge was there to extract" in found["why"]
    assert "why" not in data_of(tmp_path / "html", "mathvista/page-0")[3]["runs"][0]["scores"]["kit"]
    judged = write_scored_run(tmp_path / "b", {"mathvista": own}, judge={"name": "gpt", "comparable": True})
    text = (write_site(plan(open_runs([judged])), tmp_path / "other").parent / "benchmark-mathvista.html").read_text()
    assert "--judge gpt-4o" not in text


def test_shared_questions_of_pope_and_the_papers_own_values_are_labelled(tmp_path: Path) -> None:
    run = write_answered_run(tmp_path / "first", 0)
    site = write_site(plan(open_runs([run])), tmp_path / "html").parent
    assert "numbers over all splits stand on 1200 questions" in (site / "benchmark-pope.html").read_text("utf-8")
    assert re.search(r'<span class="muted">paper [\d.]+</span>', (site / "index.html").read_text("utf-8"))


def test_parts_without_a_line_in_the_paper_have_charts_of_their_own(tmp_path: Path) -> None:
    kinds = {"ability": "abcd", "category": ("AR", "CP", "RR"), "few": "xy"}
    parts = {f"{kind}/{name}": metric(50.0) for kind, names in kinds.items() for name in names}
    run = open_runs([write_run(tmp_path / "run", {"mmbench": {"overall": metric(50.0), **parts}})])[0]
    (chart,) = further_parts("mmbench", plan([run]), "8")
    assert chart.title == "By ability"
    assert [row.label for row in chart.rows] == ["a", "b", "c", "d"]
    assert [(dot.at, dot.low, dot.high) for row in chart.rows for dot in row.dots] == [(50.0, 48.0, 52.0)] * 4
    assert [other.title for other in further_parts("mmbench", plan([run]), None)] == ["By ability", "By category"]
