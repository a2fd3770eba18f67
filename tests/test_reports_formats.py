"""LaTeX, CSV and JSON made of the same tables."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from reports_helpers import plan, write_run

from benchmarks.errors import UserError
from benchmarks.results.folder import open_runs
from reports.cli import report
from reports.paper_tables import all_tables, main_table, subtask_table
from reports.render import flat, latex
from reports.styles import STYLES

HOSTILE = r"100% \input{x} $a_b^c$ & #1 ~ <i> 模型 |x|"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / HOSTILE, judge={"name": "offline", "comparable": False})


def test_latex_has_balanced_rules_and_cells(run: Path) -> None:
    for table in all_tables(plan(open_runs([run]))):
        text = latex.render(table)
        assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
        assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
        plain = re.sub(r"\\&", "", text)
        lines = [line for line in plain.splitlines() if line.endswith(r" \\") and r"\multicolumn" not in line]
        assert {line.count("&") for line in lines} == {len(table.columns)}
        assert len(lines) == len(table.rows) + 1


def test_latex_escapes_what_it_must() -> None:
    escaped = latex.escape(HOSTILE)
    assert r"100\% \textbackslash{}input\{x\} \$a\_b\textasciicircum{}c\$ \& \#1" in escaped
    assert r"\texttt{U+6A21}" in escaped


def has_latex() -> bool:
    """pdfLaTeX with the packages that the fragments name."""
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    return all(
        subprocess.run(["kpsewhich", f"{name}.sty"], capture_output=True, check=False).returncode == 0
        for name in ("booktabs", "amssymb", "graphicx", "textcomp")
    )


needs_latex = pytest.mark.skipif(not has_latex(), reason="needs pdflatex with booktabs, amssymb, graphicx, textcomp")


@needs_latex
def test_latex_compiles(run: Path, tmp_path: Path) -> None:
    report([run], formats="tex", out=tmp_path / "tex", audit=True)
    assert compile_latex(tmp_path / "tex", "tables").stat().st_size > 10_000


@needs_latex
@pytest.mark.parametrize("style", ["screen", "neurips", "cvpr"])
def test_every_fragment_compiles_in_article_and_is_no_wider_than_the_text(
    style: str, run: Path, tmp_path: Path
) -> None:
    """In the standard class as it comes: 345 points. Only the packages that the fragment itself names."""
    report([run], formats="tex", out=tmp_path / "tex", style=style)
    fragments = [path for path in sorted((tmp_path / "tex").glob("*.tex")) if path.name != "tables.tex"]
    packages = {line for path in fragments for line in path.read_text().splitlines()[:1]}
    preamble = "\n".join(line.removeprefix("% needs ").replace(" and ", "\n") for line in packages)
    body = "\n".join(rf"\input{{{path.name}}}\clearpage" for path in fragments)
    text = f"\\documentclass{{article}}\n{preamble}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    (tmp_path / "tex" / "paper.tex").write_text(text)
    compile_latex(tmp_path / "tex", "paper")
    assert "Overfull" not in (tmp_path / "tex" / "paper.log").read_text(errors="replace")


def compile_latex(folder: Path, name: str) -> Path:
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", f"{name}.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return folder / f"{name}.pdf"


def test_captions_leave_the_number_to_latex(run: Path) -> None:
    table = subtask_table("15", plan(open_runs([run])))
    text = latex.render(table)
    assert r"\caption{CV-Bench by source (the paper's Table 15)}" in text
    assert text.startswith("% needs ")


def test_the_plain_fragment_has_the_same_numbers_and_nothing_beside_them(run: Path) -> None:
    for table in all_tables(plan(open_runs([run]))):
        text = latex.render(table, plain=True)
        assert "textsuperscript" not in text
        assert r"\pm" not in text
        assert "footnotesize" not in text
        kept = latex.bare(table)
        assert all(row.kind in ("paper", "run") for row in kept.rows)
        assert {row.label for row in kept.rows} == {row.label for row in table.rows if row.kind in ("paper", "run")}


def test_wide_tables_go_over_both_columns_where_there_are_two(run: Path) -> None:
    table = main_table("2", plan(open_runs([run])))
    assert latex.render(table, STYLES["cvpr"]).count("{table*}") == 2
    assert "table*" not in latex.render(table, STYLES["neurips"])


def test_an_unknown_style_is_refused(run: Path) -> None:
    with pytest.raises(UserError, match="--style 'acl': expected one of screen, neurips, cvpr"):
        report([run], style="acl")


def test_csv_has_one_line_for_each_cell(run: Path) -> None:
    tables = all_tables(plan(open_runs([run])))
    lines = list(csv.DictReader(io.StringIO(flat.to_csv(tables))))
    assert len(lines) == sum(len(table.rows) * len(table.columns) for table in tables)
    own = [line for line in lines if line["table"] == "table1" and line["row"] == HOSTILE and line["task"] == "pope"]
    assert own[0]["value"] == "50.0"
    assert (own[0]["ci95_low"], own[0]["ci95_high"]) == ("48.0", "52.0")
    assert (own[0]["num_samples"], own[0]["kind"], own[0]["protocol"]) == ("100", "run", "kit")
    assert "Judged by offline" in own[0]["notes"]


def test_runs_in_columns_are_marked_as_runs(run: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(flat.to_csv([subtask_table("7", plan(open_runs([run])))]))))
    assert {line["kind"] for line in lines if line["column"] == HOSTILE} == {"run"}


def test_json_holds_tables_and_every_metric(run: Path) -> None:
    runs = open_runs([run])
    content = json.loads(flat.to_json([main_table("1", plan(runs))], runs))
    assert content["format"] == 1
    assert content["tables"][0]["rows"][-2]["label"] == HOSTILE
    assert content["runs"][0]["tasks"]["cv_bench"]["protocols"]["official"]["ade20k"]["value"] == 50.0


def test_files_are_the_same_every_time(run: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        report([run], formats="md,tex,csv,json", out=tmp_path / name)
        contents.append({path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())})
    assert contents[0] == contents[1]
    assert {"tables.md", "tables.tex", "table1.tex", "tables.csv", "tables.json"} <= set(contents[0])


def test_unwritable_output_is_one_clear_line(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="cannot write"):
        report([run], formats="md", out=tmp_path / "file")


def test_tables_need_neither_torch_nor_the_kit(run: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from reports.cli import report;"
        f"run, out = Path({str(run)!r}), Path({str(tmp_path / 'out')!r});"
        "report([run], formats='term,md,tex,csv,json', out=out, audit=True);"
        "heavy = {'torch', 'vlmeval', 'pandas', 'scipy', 'matplotlib', 'transformers'} & set(sys.modules);"
        "print('heavy:', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"
