"""The documents do what they say: worked examples are carried out, tables of fields are held against the code."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs_helpers import DOCS, PACKAGES, ROOT, carry_out, copy_checkout
from run_helpers import ScriptedPredictor
from typer.main import get_command

from aki_eval.cli import EXIT_CODES, make_app
from aki_eval.commands.gate import EXIT_CODES as GATE_CODES
from aki_eval.demo.cli import app as demo_app
from aki_eval.judges import JudgeOptions
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions
from aki_eval.run.run import run as run_all
from aki_eval.run.subset import Subset
from benchmarks.checked import Checked
from benchmarks.results import record
from benchmarks.tasks import TASKS
from reports.sides import SidesCommand
from train.cli import app as train_app

ROOMS = runpy.run_path(str(DOCS / "rooms.py"))

WORKED = sorted(page.name for page in DOCS.glob("add_*.md"))


@pytest.mark.parametrize("page", WORKED)
def test_worked_example(page: str, warm: Path, tmp_path: Path) -> None:
    carry_out(DOCS / page, copy_checkout(tmp_path / "checkout"), warm)


def sections(page: Path) -> dict[str, list[list[str]]]:
    """Heading -> the rows of the table below it, cells without backticks."""
    found: dict[str, list[list[str]]] = {}
    for part in re.split(r"^#+ ", page.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        rows = [
            re.split(r"(?<!\\) ?\| ?", line.strip().strip("|").strip()) for line in body.splitlines() if line[:1] == "|"
        ]
        found[heading] = [[cell.strip("`").replace("\\|", "|") for cell in row] for row in rows[2:]]
    return found


PAGE = (DOCS / "run_folder.md").read_text("utf-8")
FOLDER = sections(DOCS / "run_folder.md")


def own_fields(kind: type) -> dict[str, str]:
    return {name: text for name, text in kind.__annotations__.items() if name != "model_config"}


def test_run_json_is_described_field_by_field() -> None:
    """Names, types and order, of every record in it."""
    records = {
        name: kind
        for name, kind in vars(record).items()
        if isinstance(kind, type) and issubclass(kind, Checked) and kind.__module__ == record.__name__
    }
    assert set(records) - {"Described"} == set(FOLDER) & set(records)
    for name, kind in records.items():
        if name != "Described":
            assert [row[:2] for row in FOLDER[name]] == [[*each] for each in own_fields(kind).items()], name
            assert ("Open:" in PAGE.split(f"### {name}\n")[1].split("|")[0]) == issubclass(kind, record.Described)
    assert f"Version {record.FORMAT};" in PAGE


def test_lines_are_described_field_by_field(tmp_path: Path) -> None:
    """Against the files of a run."""
    run = tmp_path / "run"
    judge = JudgeOptions(name="offline")
    options = RunOptions(tasks=[TASKS["mm_vet"]], data="toy", out=run, subset=Subset(size=5), judge=judge)
    run_all(options, ScriptedPredictor(), Progress(quiet=True))
    for name in ("predictions.jsonl", "scores.jsonl", "verdicts.jsonl"):
        line = json.loads((run / "mm_vet" / name).read_text("utf-8").splitlines()[0])
        assert [row[0] for row in FOLDER[name]] == list(line), name
    metrics = json.loads((run / "mm_vet" / "metrics.json").read_text("utf-8"))
    assert [row[0] for row in FOLDER["metrics.json"]] == list(metrics)
    assert [row[0] for row in FOLDER["Metric"]] == list(metrics["protocols"][metrics["headline"]]["overall"])


def test_picture_is_what_its_script_draws(tmp_path: Path) -> None:
    script = runpy.run_path(str(DOCS / "figures" / "architecture.py"))
    file = tmp_path / "architecture.svg"
    script["draw"]().savefig(file, metadata={"Date": None})
    shapes = [
        re.findall(r'<text[^>]*>(.*?)</text>|<path d="([^"]*)"', each.read_text("utf-8"))
        for each in (file, DOCS / "figures" / "architecture.svg")
    ]
    assert shapes[0] == shapes[1], "python docs/figures/architecture.py draws it again"
    arrows = {(upper, lower) for upper, lower in script["imports"]()}
    assert ("aki_eval", "benchmarks") in arrows
    assert not any(upper == "model" for upper, _ in arrows)


def test_reliability_names_tests_that_exist() -> None:
    named = re.findall(r"`(tests/test_\w+\.py)::(test_\w+)`", (DOCS / "reliability.md").read_text("utf-8"))
    assert len(named) > 30
    missing = [f"{file}::{name}" for file, name in named if f"\ndef {name}(" not in (ROOT / file).read_text("utf-8")]
    assert missing == []


PROTOCOLS = ("kit", "strict", "official", "cambrian", "likelihood", "likelihood_text", "swapped")


def test_protocols_are_those_of_the_tasks() -> None:
    (table,) = (rows for rows in sections(DOCS / "protocols.md").values() if rows and rows[0][0] in TASKS)
    for name, *cells in table:
        task = TASKS[name]
        said = dict(zip(PROTOCOLS, cells, strict=False))
        has = {protocol: "on request" if rule.on_request else "yes" for protocol, rule in task.protocols.items()}
        assert {protocol: text for protocol, text in said.items() if text} == has, name
        assert cells[len(PROTOCOLS)] == task.headline, name
    assert [row[0] for row in table] == list(TASKS)


@pytest.mark.parametrize("room", ROOMS["ROOMS"])
def test_room_lists_its_files(room: str) -> None:
    """`python docs/rooms.py` writes the lists from the modules' first lines."""
    page = (ROOT / room / "README.md").read_text("utf-8")
    assert ROOMS["written"](page, room) == page, "python docs/rooms.py writes it anew"


def test_links_lead_somewhere() -> None:
    """Those inside the checkout, of every page."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


PAGES = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / room / "README.md" for room in PACKAGES)]


APPS = {"aki-train": train_app, "aki-demo": demo_app}


def commands_of(page: Path) -> list[str]:
    """Command lines in sh blocks, and in a line of text between backticks."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    typed = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    typed += re.findall(r"`((?:aki-eval|aki-train|aki-demo|make) [^`]+)`", text)
    found = (re.search(r"(?:aki-eval|aki-train|aki-demo|make) .*", line.partition(" #")[0]) for line in typed)
    return [each[0] for each in found if each]


def why_it_would_not_run(line: str) -> str | None:
    """Whether there is such a command with such options; `...`, `|` and names in capitals stand for anything."""
    program, *words = shlex.split(line.split(" && ")[0])
    if program == "make":
        targets = re.findall(r"^([\w-]+)(?: [\w-]+)*:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        return (
            None if {word for word in words if word[0] != "-"} <= {*targets, "toy-baseline"} else f"no target {words}"
        )
    command: Any = get_command(make_app(words[0]) if program == "aki-eval" else APPS[program])
    while hasattr(command, "commands"):
        name = words.pop(0) if words else ""
        if not set(name.split("|")) <= set(command.commands):
            return None if not name or name[0] in "-." else f"{program} has no {name}"
        command = command.commands[name.split("|")[0]]
    if command.context_settings.get("ignore_unknown_options", False):
        return None  # it hands its options on
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    known |= {"--"} if isinstance(command, SidesCommand) else set()
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    return f"{line}: no option {unknown}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    assert [why for line in commands_of(page) if (why := why_it_would_not_run(line))] == []


def test_readme_names_folders_that_exist() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    tree = text.split("## Dive into the code")[1].split("```")[1]
    room = ROOT
    for line in tree.strip().splitlines():
        room = ROOT / line.split("/")[0] if line[0] != " " else room
        assert room.is_dir(), room
        for name in re.findall(r"(?:^| )([\w/]+/)(?= |,|;|$)", line.partition("  ")[2] if line[0] != " " else line):
            assert (room / name).is_dir() or (ROOT / name).is_dir() or list(room.rglob(name.strip("/"))), (
                f"{room.name}: {name}"
            )
    for name in re.findall(r"`([\w/]+\.py)`", text.split("In reading order")[1]):
        assert (ROOT / name).is_file(), name


def test_every_file_that_gives_a_version_gives_the_same() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert json.loads((ROOT / "codemeta.json").read_text("utf-8"))["version"] == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_commit_hooks_need_no_network() -> None:
    """Local ones, whose programs `make install` brings."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]
    assert all(hook["entry"].startswith(".venv/bin/") for hook in hooks["repos"][0]["hooks"])


def test_every_page_is_in_the_site() -> None:
    listed = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE))
    assert {page.relative_to(ROOT).as_posix() for page in PAGES} == listed


def test_exit_codes_are_those_of_every_help() -> None:
    rows = sections(DOCS / "exit_codes_and_seeds.md")["Exit codes"]
    assert {row[0] for row in rows} == set(re.findall(r"\b\d+\b", EXIT_CODES))
    gated = {row[0] for row in rows if "gate" in row[2] or row[2] == "all"}
    assert {str(code) for code in GATE_CODES.values()} <= gated
