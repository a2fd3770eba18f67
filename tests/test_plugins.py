"""Benchmarks, predictors, judges and masks of other people, from packages and from files, treated as ours."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from plugin_helpers import ANSWERS_FILE, install, task_file
from run_helpers import write_table

from aki_eval import evaluate
from aki_eval.cli import main
from aki_eval.judges import make_judge
from aki_eval.predictors import make_predictor
from aki_eval.run.inputs import find_tasks
from benchmarks import catalogue, plugins
from benchmarks.errors import UserError
from benchmarks.tasks import TASKS
from model import AkiConfig
from model.kinds import KINDS, find_kind

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages; nothing that was loaded from it or from files stays."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(catalogue, "_from_files", {})
    plugins.installed.cache_clear()
    yield tmp_path / "site"
    plugins.installed.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith(("aki_plugin_", "others_")):
            del sys.modules[name]


@pytest.fixture
def call(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """`aki-eval` in a folder with `quiz.py`, `answers.py` and a table in `data`."""
    monkeypatch.chdir(tmp_path)
    task_file(tmp_path)
    (tmp_path / "answers.py").write_text(ANSWERS_FILE)
    write_table(tmp_path / "data")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["aki-eval", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(str(ended.value.code)), said.out, said.err

    return run


def ask(call: Call, out: str, model: str = "answers.py", bench: str = "quiz.py") -> str:
    code, said, error = call("run", "--bench", bench, "--data", "data", "--model", model, "--out", out)
    assert code == 0, error
    return said


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a later process, which was told of no file."""
    monkeypatch.setattr(catalogue, "_from_files", {})


def test_a_benchmark_of_one_file_is_shown_everywhere(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", "others-answers", {"aki_eval.predictors": {"other": "others_answers:PREDICTOR"}})
    (tmp_path / "site" / "others_answers.py").write_text(ANSWERS_FILE)
    assert "Quiz" in ask(call, "a")
    assert "66.7" in ask(call, "b", "other:1+4+7+9")
    forget(monkeypatch)
    formats = "md,tex,csv,json,html,figures,model-card"
    code, _, error = call("report", "a", "b", "--format", formats, "--out", "report")
    assert code == 0, error
    markdown = (tmp_path / "report/tables.md").read_text()
    assert "### Other benchmarks" in markdown
    assert "Table 1." not in markdown  # a table of dashes says nothing
    lines = list(csv.DictReader((tmp_path / "report/tables.csv").read_text().splitlines()))
    (found,) = (line for line in lines if line["table"] == "others" and line["row"] == "b")
    assert (found["task"], found["metric"], round(float(found["value"]), 1)) == ("quiz", "overall", 66.7)
    assert 0 < float(found["ci95_low"]) < 66 < 67 < float(found["ci95_high"]) < 100
    assert r"\begin{table" in (tmp_path / "report/others.tex").read_text()
    assert (tmp_path / "report/figures/others.png").is_file()
    overview = (tmp_path / "report/html/index.html").read_text()
    assert 'href="benchmark-quiz.html"' in overview
    assert "Quiz: a 100.0" in overview  # the chart in words
    page = (tmp_path / "report/html/benchmark-quiz.html").read_text()
    assert "kind: a" in page
    assert ">66.7<" in page
    assert "name: Quiz" in (tmp_path / "report/model-card/b/README.md").read_text()
    code, said, _ = call("compare", "a", "b", "--format", "json")
    (metric,) = json.loads(said)["metrics"]
    assert (metric["label"], round(metric["difference"], 1), metric["test"]) == ("Quiz", -33.3, "exact McNemar")
    code, said, _ = call("gate", "b", "--baseline", "a")
    assert "Quiz " in said
    (tmp_path / "policy.toml").write_text("[allowed_drop.quiz]\noverall = 50.0\n[allowed_drop.pope]\nf1 = 1.0\n")
    (tmp_path / "own.toml").write_text('decide_by = "difference"\n[allowed_drop.quiz]\noverall = 50.0\n')
    assert call("gate", "b", "--baseline", "a", "--policy", "policy.toml")[0] == 3  # pope is not scored
    assert call("gate", "b", "--baseline", "a", "--policy", "own.toml")[0] == 0
    assert call("gate", "a", "--write-baseline", "a.json")[0] == 0
    assert call("gate", "b", "--baseline", "a.json", "--policy", "own.toml")[0] == 0


def test_beside_the_paper_it_comes_last(call: Call, tmp_path: Path) -> None:
    """The same answers by two names: a paper's task from Python, and one of a file."""

    class Yes:
        name = "yes"

        def predict(self, prompts: list[object]) -> list[str]:
            return ["Yes"] * len(prompts)

    results = evaluate(Yes(), "pope", data="toy", subset=20, out=tmp_path / "run", progress=False)
    assert list(results.table().index) == ["POPE"]
    said = call("report", "run", "--format", "md")[1]
    assert "Other benchmarks" not in said
    assert "Table 13" in said


def test_all_is_the_papers_whatever_is_installed(site: Path) -> None:
    install(site, "others-quiz", {"aki_eval.tasks": {"quiz": "others_quiz:TASK"}})
    task_file(site, "others_quiz")
    assert [task.name for task in find_tasks("all")] == list(TASKS)
    assert [task.name for task in find_tasks("others_quiz,pope")] == ["pope", "others_quiz"]
    assert [task.name for task in find_tasks("all,installed")] == [*TASKS, "others_quiz"]


def test_the_named_subset_of_another_benchmark_is_the_first_of_its_usual_order(call: Call, tmp_path: Path) -> None:
    write_table(tmp_path / "data", rows=200)
    out = ("--model", "answers.py", "--out")
    assert call("run", "--bench", "quiz.py", "--data", "data", "--subset", "ci", *out, "ci")[0] == 0
    assert call("run", "--bench", "quiz.py", "--data", "data", "--subset", "48", *out, "48")[0] == 0
    asked = [
        [json.loads(line)["index"] for line in (tmp_path / name / "quiz/predictions.jsonl").read_text().splitlines()]
        for name in ("ci", "48")
    ]
    assert asked[0] == asked[1]
    assert len(asked[0]) == 48


def test_list_shows_what_is_installed_and_what_is_wrong_with_it(
    call: Call, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "others-quiz", {"aki_eval.tasks": {"fine": "others_fine:TASK", "broken": "others_broken:TASK"}})
    install(site, "others-twice", {"aki_eval.tasks": {"twice": "others_fine:TASK", "pope": "others_pope:TASK"}})
    install(site, "others-again", {"aki_eval.tasks": {"twice": "others_twice:TASK"}})
    task_file(site, "others_fine")
    task_file(site, "others_twice")
    (site / "others_pope.py").write_text(task_file(site, "others_x").read_text().replace("others_x", "pope"))
    (site / "others_broken.py").write_text("import no_such_module\n")
    monkeypatch.setenv("COLUMNS", "200")
    code, said, error = call("list")
    assert code == 0
    assert "others_fine" in said
    assert "others-quiz 1.0" in " ".join(said.split())
    lines = error.splitlines()
    assert len(lines) == 3, error
    assert "plug-in broken (others-quiz 1.0 (others_broken:TASK)) does not load: ModuleNotFoundError" in error
    assert "plug-in twice: others-again 1.0 (others_twice:TASK) and others-twice 1.0 (others_fine:TASK)" in error
    assert "a benchmark named 'pope' is there already" in error
    for name, part in (("broken", "does not load"), ("twice", "have the same name")):
        code, _, error = call("run", "--bench", name, "--data", "data", "--model", "answers.py", "--out", "x")
        assert (code, error.count("\n")) == (2, 1)
        assert part in error
    assert ask(call, "works", bench="others_fine")


@pytest.mark.parametrize(
    ("text", "bench", "part"),
    [
        (None, "gone.py", "--bench: no file gone.py"),
        ("x = (", "bad.py", "does not import: SyntaxError"),
        ("\n\nraise RuntimeError('not\\ntoday')", "bad.py", "does not import: RuntimeError: not today (line 3)"),
        ("import sys; sys.exit(3)", "bad.py", "does not import: SystemExit: 3"),
        ("TASK = 3", "bad.py", "bad.py:TASK is a int, expected a benchmarks.task.Task"),
        ("OTHER = 3", "bad.py", "holds no benchmark; expected TASK"),
        ("OTHER = 3", "bad.py:TASK", "has no TASK; it has OTHER"),
    ],
)
def test_a_bad_file_is_one_line(call: Call, tmp_path: Path, text: str | None, bench: str, part: str) -> None:
    if text is not None:
        (tmp_path / "bad.py").write_text(text)
    code, _, error = call("run", "--bench", bench, "--data", "data", "--model", "answers.py", "--out", "x")
    assert (code, error.count("\n")) == (2, 1)
    assert part in error


def test_names_that_are_taken_or_no_folder(call: Call, tmp_path: Path) -> None:
    for name, part in (("pope", "is there already"), ("../up", "expected letters, digits")):
        (tmp_path / "named.py").write_text(task_file(tmp_path, "quiz").read_text().replace('"quiz"', f'"{name}"'))
        (tmp_path / f"named{len(name)}.py").write_text((tmp_path / "named.py").read_text())
        with pytest.raises(UserError, match=part):
            find_tasks(str(tmp_path / f"named{len(name)}.py"))
    (tmp_path / "other.py").write_text((tmp_path / "quiz.py").read_text())
    with pytest.raises(UserError, match="are both called 'quiz'"):
        find_tasks("quiz.py,other.py")


@pytest.mark.parametrize(
    ("part", "instead", "said"),
    [
        ('paper="nobody\'s"', "paper=None", "paper is None, expected a text"),
        ("paper_table=None", "paper_table=1", "paper_table is 1, expected None"),
        ('tables=(DataTable(name="SMALL", md5=None, num_rows=None),)', 'tables=("SMALL",)', "a tuple of DataTable"),
        ('headline_metrics=("overall",)', 'headline_metrics="overall"', "is 'overall', expected a tuple of str"),
        ("to_sample=to_sample", "to_sample=None", "to_sample is None, expected a function (table, row, images)"),
        ("max_new_tokens=8", "max_new_tokens=0", "max_new_tokens is 0, expected a positive number"),
        ('prompts={"aki": lambda', 'prompts={"mine": lambda', "prompts is for 'mine', expected one for each of aki"),
        (
            'ProtocolRule(score=each_by_itself("kit", exact), estimate=mean_by_group)',
            "exact",
            "is a function, expected",
        ),
        (
            "estimate=mean_by_group",
            "estimate='mean'",
            "protocols['kit'].estimate is 'mean', expected a function scores",
        ),
        (
            "estimate=mean_by_group",
            "estimate=mean_by_group, extractor='yes'",
            "extractor is 'yes', expected one of none",
        ),
        ('headline="kit"', 'headline="strict"', "headline is 'strict', expected one of its protocols, kit"),
        ('protocols={"kit": ', 'protocols={"vlmevalkit": ', "and kit for VLMEvalKit's"),
    ],
)
def test_parts_that_do_not_fit_are_found_before_anything_is_asked(
    site: Path, tmp_path: Path, part: str, instead: str, said: str
) -> None:
    text = task_file(tmp_path).read_text()
    assert part in text
    path = tmp_path / "unfit.py"
    path.write_text(text.replace(part, instead))
    with pytest.raises(UserError, match=re.escape(said)) as refused:
        find_tasks(str(path))
    assert f"{path}:TASK" in str(refused.value)


SAMPLE = "return Sample("
PROMPT = "lambda sample: Prompt(sample.index, (*sample.images, sample.question))"


@pytest.mark.parametrize(
    ("part", "instead", "said"),
    [
        (SAMPLE, "return dict(", "quiz: to_sample gives a dict, expected a benchmarks.records.Sample"),
        (SAMPLE, "1 / 0; return Sample(", "to_sample of row 0 raises ZeroDivisionError: division by zero (FILE, line "),
        ('index=row["index"], images', 'index="7", images', "has the index '7', which another one has; to_sample of"),
        (PROMPT, "lambda sample: sample.question", "prompts['aki'] gives a str, expected a records.Prompt"),
        (PROMPT, "lambda sample: sample.colour", "the prompt 'aki' of sample 0 raises AttributeError: 'Sample' object"),
        (
            '_metrics=("overall",)',
            '_metrics=("acc",)',
            "names 'acc', which its protocol 'kit' does not give; it gives o",
        ),
    ],
)
def test_what_a_benchmark_s_functions_do_wrong_is_one_line(
    call: Call, tmp_path: Path, part: str, instead: str, said: str
) -> None:
    text = task_file(tmp_path).read_text()
    assert part in text
    path = tmp_path / "quiz.py"
    path.write_text(text.replace(part, instead))
    code, _, error = call("run", "--bench", "quiz.py", "--data", "data", "--model", "answers.py", "--out", "x")
    assert code == 2
    assert said.replace("FILE", str(path)) in error.splitlines()[-1]
    assert "Traceback" not in error


def test_what_needs_the_code_says_so_and_takes_it(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task_file(tmp_path, "odd", "Odd", estimate="halved")
    for out, model in (("a", "answers.py"), ("b", "answers.py:Answers")):
        ask(call, out, model, bench="odd.py")
    forget(monkeypatch)
    assert "100.0" in call("report", "a")[1]  # numbers are there without it
    code, _, error = call("compare", "a", "b", "--allow-different")
    assert (code, error.count("\n")) == (2, 1)
    assert f"odd needs the code of its benchmark, which was {tmp_path / 'odd.py'}:TASK" in error
    code, _, error = call("compare", "a", "b", "--allow-different", "--task", "odd.py")
    assert code == 0, error
    forget(monkeypatch)
    code, _, error = call("score", "a", "--data", "data")
    assert code == 2
    assert "odd is left alone" in error
    assert call("score", "a", "--data", "data", "--bench", "odd.py")[0] == 0


def test_a_run_folder_names_no_code_to_run(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that a stranger made: its definition is shown, never loaded."""
    ask(call, "a")
    forget(monkeypatch)
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    metrics = tmp_path / "a/quiz/metrics.json"
    content = json.loads(metrics.read_text())
    content["definition"]["source"] = f"{evil}:TASK (sha256 0)"
    metrics.write_text(json.dumps(content))
    assert call("report", "a")[0] == 0
    assert not (tmp_path / "ran").exists()
    content["definition"]["headline_metrics"] = 3
    metrics.write_text(json.dumps(content))
    code, _, error = call("report", "a")
    assert code == 2
    assert "headline_metrics" in error


def test_benchmarks_from_another_code_are_not_compared_unsaid(call: Call, tmp_path: Path) -> None:
    ask(call, "a")
    ask(call, "b", "answers.py:Answers")
    metrics = tmp_path / "b/quiz/metrics.json"
    metrics.write_text(metrics.read_text().replace("sha256 ", "sha256 0"))
    code, _, error = call("compare", "a", "b")
    assert code == 2
    assert "benchmark by quiz.py:TASK" in error


def test_a_task_given_in_python(site: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "data")
    (task,) = catalogue.from_file(str(task_file(tmp_path, "halves", "Halves", estimate="halved")))
    catalogue._from_files.clear()

    class Model:
        def predict(self, prompts: list[object]) -> list[str]:
            return ["answer to 1"] * len(prompts)

    results = evaluate(Model(), task, data=str(tmp_path / "data"), out=tmp_path / "run", progress=False)
    assert results.table().loc["Halves", "unit"] == "points"
    assert round(results.table().loc["Halves", "value"], 1) == 8.3


def test_predictors_by_name_and_by_file(site: Path, tmp_path: Path) -> None:
    install(site, "others-model", {"aki_eval.predictors": {"other": "others_model:PREDICTOR"}})
    (site / "others_model.py").write_text(ANSWERS_FILE + "\nNOTHING = 3\n")
    assert make_predictor("other:3+4").describe()["mistakes"] == ["3", "4"]
    assert make_predictor(f"{site / 'others_model.py'}").name == "answers"
    with pytest.raises(UserError, match="is a int; expected something with predict"):
        make_predictor(f"{site / 'others_model.py'}:NOTHING")
    (tmp_path / "bad.py").write_text("def PREDICTOR(): return None.x\n")
    with pytest.raises(UserError, match="makes no predictor: AttributeError"):
        make_predictor(str(tmp_path / "bad.py"))
    with pytest.raises(UserError, match="no folder nobody:x"):
        make_predictor("nobody:x")


def test_judges_by_name_and_by_file(site: Path, tmp_path: Path) -> None:
    text = (
        "class Fixed:\n    name = 'fixed'\n    comparable = False\n    def __init__(self, store): self.store = store\n"
        "    def grade(self, requests): return []\n    def describe(self): return {'name': self.name}\n"
        "JUDGE = Fixed\nNONE = dict\n"
    )
    install(site, "others-judge", {"aki_eval.judges": {"fixed": "others_judge:JUDGE"}})
    (site / "others_judge.py").write_text(text)
    for name in ("fixed", f"{site / 'others_judge.py'}"):
        judge = make_judge(name, cache=tmp_path / "verdicts.jsonl")
        assert judge is not None
        assert judge.name == "fixed"
    (tmp_path / "none.py").write_text("JUDGE = lambda store: 3\n")
    with pytest.raises(UserError, match="makes a int, which is no judge"):
        make_judge(str(tmp_path / "none.py"), cache=tmp_path / "v.jsonl")


def test_masks_by_name_and_by_file(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "from model.kinds import Kind, causal\n"
        "OWN = Kind(sees=causal, title='own', first_row=None, question_reaches_image=False)\n"
    )
    install(site, "others-mask", {"aki_eval.mask_kinds": {"isolated": "others_mask:OWN", "broken": "others_mask:NONE"}})
    (site / "others_mask.py").write_text(text)
    (tmp_path / "mask.py").write_text(text)
    before = dict(KINDS)
    try:
        assert find_kind("isolated").title == "own"
        with pytest.raises(ValueError, match="others_mask:NONE does not load: AttributeError"):
            find_kind("broken")
        with pytest.raises(ValueError, match="attention='nobodys', expected one of 'mma'"):
            find_kind("nobodys")
        toy = Path(__file__).parent / "data" / "toy_model"
        predictor = make_predictor(str(toy), attention=f"{tmp_path / 'mask.py'}:OWN")
        assert predictor.describe()["attention"] == "own"
        with pytest.raises(UserError, match=r"--attention: .*broken.* does not load"):
            make_predictor(str(toy), attention="broken")
        made = make_predictor(str(toy), attention="causal", attention_layers=f"0={tmp_path / 'mask.py'}:OWN")
        assert made.describe()["attention_layers"] == {"0": "own"}
        blind = "lambda query, key: key.place < query.place"
        (tmp_path / "blind.py").write_text(text.replace("OWN", "BLIND").replace("sees=causal", f"sees={blind}"))
        with pytest.raises(UserError, match=r"blind.py:BLIND: attention='blind': in t11tqa token 0 .* not see itself"):
            make_predictor(str(toy), attention=f"{tmp_path / 'blind.py'}:BLIND")
        KINDS["blind"] = replace(KINDS["own"], sees=eval(blind))
        with pytest.raises(ValueError, match="attention='blind': in t11tqa token 0"):  # as a checkpoint's own
            AkiConfig(attention="blind")
    finally:
        KINDS.clear()
        KINDS.update(before)


def test_its_table_is_fetched_from_its_own_address(call: Call, tmp_path: Path) -> None:
    """And checked by its own sum, as the official ones are."""
    from test_cli_data import FileServer

    server = FileServer()
    server.content = (tmp_path / "data" / "SMALL.tsv").read_bytes()
    digest = hashlib.md5(server.content).hexdigest()
    text = (tmp_path / "quiz.py").read_text()
    assert "md5=None" in text
    (tmp_path / "quiz.py").write_text(text.replace("md5=None", f"md5={digest!r}, url={server.url!r}"))
    code, _, error = call("data", "fetch", "quiz.py", "--root", "tables")
    assert code == 0, error
    assert (tmp_path / "tables" / "SMALL.tsv").read_bytes() == server.content
    assert call("data", "verify", "quiz.py", "--root", "tables")[1].strip() == "SMALL: ok"
