"""`aki-eval`: the commands.

A command's module is imported when that command is called: `aki-eval --help` and `list` answer at once.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer

from benchmarks.command_line import CONTEXT, exit_code, version_option

COMMANDS = {
    "list": (
        "aki_eval.commands.list",
        "list_tasks",
        "The benchmarks, their tables on this machine, and the paper's tables.",
    ),
    "run": ("aki_eval.commands.run", "run", "Ask a model every question of the benchmarks, then score its answers."),
    "plan": ("aki_eval.commands.plan", "command", "What a run would take and could find out, before it is paid for."),
    "score": ("aki_eval.commands.score", "score", "Score stored predictions again; no model is loaded."),
    "import": ("aki_eval.commands.import_", "command", "Take over predictions made elsewhere."),
    "report": ("reports.cli", "report", "The paper's tables, with the numbers of runs beside the printed ones."),
    "view": ("aki_eval.commands.view", "command", "The HTML report on localhost, or a run while it goes on."),
    "watch": ("aki_eval.commands.watch", "command", "Evaluate a training's checkpoints as they come."),
    "export": ("aki_eval.commands.export", "command", "A run for other tools: inspect, lm-eval's readers, trackers."),
    "compare": (
        "aki_eval.commands.compare",
        "command",
        "Two runs, or two arms of training seeds, paired: is the difference real, which questions flipped?",
    ),
    "power": (
        "aki_eval.commands.power",
        "command",
        "How many seeds and questions a difference needs, before anything is run.",
    ),
    "probes": (
        "aki_eval.commands.probes",
        "command",
        "What the picture contributed to a run's scores, and how much the format mattered.",
    ),
    "gate": ("aki_eval.commands.gate", "command", "GO, NO-GO or INCONCLUSIVE against a baseline, for CI."),
    "inspect": (
        "aki_eval.commands.inspect_",
        "command",
        "Draw who sees whom in a prompt, and what its image tokens attend to.",
    ),
    "judge-agreement": (
        "aki_eval.commands.judge_agreement",
        "command",
        "How far two judges agree on the same answers.",
    ),
    "judge-calibrate": (
        "aki_eval.commands.judge_calibrate",
        "command",
        "A judge against people's grades, and the score corrected by a few of them.",
    ),
    "judge-position": (
        "aki_eval.commands.judge_position",
        "command",
        "Whether the place in which a judge is shown an answer decides its grade.",
    ),
    "vlmevalkit": ("aki_eval.commands.vlmevalkit", "vlmevalkit", "VLMEvalKit's own loop, with AKI registered in it."),
}

GROUPS = {
    "data": ("aki_eval.commands.data", "app", "Fetch, verify and list the official tables."),
}

EXIT_CODES = (
    "Exit codes: 0 done; 1 samples without a score, a table that is not the published one, or NO-GO; 2 something to be "
    "fixed, in one line; 3 INCONCLUSIVE (gate); 130 stopped by Ctrl-C. A run folder: run.json (what was "
    "done) and, for each benchmark, predictions.jsonl (answers), scores.jsonl and metrics.json; every field stands in "
    "docs/run_folder.md of the source."
)


def make_app(wanted: str | None) -> typer.Typer:
    """All commands; the one that is `wanted` in full, the others by name and summary only."""
    app = typer.Typer(
        name="aki-eval",
        help="Measure AKI, or any vision-language model, on twelve benchmarks: resumable, verifiable, with error bars.",
        add_completion=False,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings=CONTEXT,
        epilog=EXIT_CODES,
    )
    app.callback(invoke_without_command=False)(_common)
    for name, (module, attribute, summary) in COMMANDS.items():
        function: Callable[..., Any] = _summary_only
        settings: dict[str, Any] = {}
        text = summary
        if name == wanted:
            function = getattr(import_module(module), attribute)
            settings = getattr(function, "context_settings", {})
            text = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(function) or summary)
        kind = getattr(function, "command_class", None)
        app.command(
            name, cls=kind, help=text, short_help=summary, context_settings=CONTEXT | settings, epilog=EXIT_CODES
        )(function)
    for name, (module, attribute, summary) in GROUPS.items():
        group = getattr(import_module(module), attribute) if name == wanted else typer.Typer()
        if name != wanted:
            group.command()(_summary_only)
        app.add_typer(group, name=name, help=summary)
    return app


def _common(
    version: Annotated[bool, version_option("aki-eval")] = False,
) -> None:
    """Measure AKI, or any vision-language model, on twelve benchmarks: resumable, verifiable, with error bars."""


def _summary_only() -> None:
    """Stands where only a command's name and summary are shown."""


def main() -> None:
    """Runs the command line. Exit code 2 with one line for what the user can fix, 130 after Ctrl-C."""
    wanted = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), None)
    known = f"{wanted} " if wanted in (*COMMANDS, *GROUPS) else ""
    hint = f"aki-eval {known}--help"
    sys.exit(exit_code("aki-eval", lambda: make_app(wanted)(standalone_mode=False), hint))
