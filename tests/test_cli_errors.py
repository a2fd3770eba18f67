"""What goes wrong at the command line: one line, exit code 2, before anything expensive, and the right advice."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from judge_server import Fail, JudgeServer
from predictor_helpers import write_checkpoint
from record_helpers import record
from run_helpers import picture
from scored_run_helpers import scores, write_scored_run

from aki_eval.cli import main
from aki_eval.predictors import Unusable
from aki_eval.predictors.endpoint import EndpointPredictor
from benchmarks.results.gate_policy import DEFAULT
from benchmarks.toy_world import ensure_tables


class Done(NamedTuple):
    """What a command said and returned."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on stderr; exit code 2 and nothing on stdout."""
        (line,) = self.err.splitlines()
        assert (self.code, self.out) == (2, "")
        assert line.startswith("aki-eval: ")
        assert len(line) < 500
        return line


Command = Callable[..., Done]


@pytest.fixture
def aki_eval(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Calls the command line in this process."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["aki-eval", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, *capfd.readouterr())

    return call


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


RUN = record("m")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([], "holds a list"),
        (None, "holds a NoneType"),
        ({}, "created is missing"),
        (RUN | {"tasks": ["mme"]}, "tasks is ['mme'], expected a valid dictionary"),
        (RUN | {"data": {"source": "toy"}}, "data.tables is missing"),
        ({key: value for key, value in RUN.items() if key != "subset"}, "subset is missing"),
        (RUN | {"subset": {"size": "10", "name": None, "seed": 1}}, "subset.size is '10', expected a valid integer"),
        (RUN | {"notes": "mine"}, "notes is no setting that anything reads"),
        (RUN | {"format": 3}, "format 3, this version reads up to 2"),
    ],
)  # fmt: skip
def test_a_damaged_run_json_is_named(
    aki_eval: Command, checkpoint: Path, tmp_path: Path, content: object, expected: str
) -> None:
    (tmp_path / "run.json").write_text(json.dumps(content))
    for arguments in (
        ["score", tmp_path],
        ["run", "--bench", "mme", "--model", checkpoint, "--data", "toy", "--out", tmp_path],
    ):
        line = aki_eval(*arguments).complaint
        assert expected in line
        assert str(tmp_path / "run.json") in line


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("", "--model is empty"),
        (" ", "--model is empty"),
        ("openai:", "names no model"),
        ("vlmevalkit:", "names no model"),
    ],
)  # fmt: skip
def test_a_model_without_a_name_is_not_the_current_folder(
    aki_eval: Command, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, model: str, expected: str
) -> None:
    monkeypatch.chdir(checkpoint)
    assert expected in aki_eval("run", "--bench", "mme", "--model", model, "--data", "toy").complaint


def test_only_what_is_loaded_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from fnmatch import fnmatch

    from aki_eval.predictors.make import find_checkpoint

    asked = {}

    def download(name: str, **options: object) -> str:
        asked[name] = options
        return "/a/snapshot"

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert find_checkpoint("someone/model", offline=False) == Path("/a/snapshot")
    patterns = asked["someone/model"]["allow_patterns"]
    assert isinstance(patterns, list)
    needed = ("config.json", "model-00001-of-00002.safetensors", "tokenizer.model", "chat_template.jinja", "merges.txt")
    assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in needed)
    refused = ("pytorch_model.bin", "checkpoint.pt", "model.pkl", "training_args.pth", "modeling.py")
    assert not any(fnmatch(name, pattern) for name in refused for pattern in patterns)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("config.json", "[]", "config.json holds a list"),
        ("config.json", {"text_config": {"model_type": "nope"}}, "Unrecognized model identifier: nope"),
        ("config.json", {"text_config": 3}, "TypeError: "),
        ("config.json", {"vision_config": {"hidden_size": "x"}}, "Field 'hidden_size' expected int"),
        ("config.json", {"num_latents": "many"}, "TypeError: "),
        ("tokenizer.json", "{", "tokenizer.json is damaged: it is no JSON"),
        ("tokenizer.json", "{}", "KeyError: 'added_tokens'"),
        ("tokenizer.json", None, "there is no tokenizer.json"),
        ("tokenizer_config.json", "[]", "tokenizer_config.json is damaged: it holds a list"),
        ("processor_config.json", "[]", "processor_config.json is damaged: it holds a list"),
        ("processor_config.json", "{}", "image processor"),
        ("model.safetensors", "x" * 99, "model.safetensors"),
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_named_with_the_cause(
    aki_eval: Command,
    checkpoint: Path,
    tmp_path: Path,
    name: str,
    content: str | dict[str, object] | None,
    expected: str,
) -> None:
    model = tmp_path / "model"
    shutil.copytree(checkpoint, model)
    if content is None:
        (model / name).unlink()
    elif isinstance(content, dict):
        (model / name).write_text(json.dumps(json.loads((model / name).read_text()) | content))
    else:
        (model / name).write_text(content)
    done = aki_eval("run", "--bench", "mme", "--model", model, "--data", "toy", "--out", tmp_path / "out")
    line = done._replace(err="".join(done.err.splitlines(keepends=True)[-1:])).complaint
    assert "Traceback" not in done.err
    assert str(model) in line
    assert expected in line


BINARY = picture() * 200


@pytest.mark.parametrize("content", [BINARY, b'{"format": "' + b"x" * 5000 + b'"}', b"[" + b"1," * 9999, b'{"a": 1}'])
@pytest.mark.parametrize("name", ["some.png", "some.json.gz"])
def test_a_baseline_that_is_none_is_not_quoted(aki_eval: Command, tmp_path: Path, content: bytes, name: str) -> None:
    run = write_scored_run(tmp_path / "run", {"real_world_qa": scores([1.0, 0.0])})
    (tmp_path / name).write_bytes(content)
    line = aki_eval("gate", run, "--baseline", tmp_path / name).complaint
    assert f"{name} is " in line
    assert "xxx" not in line
    assert "\\x" not in line
    assert "1,1" not in line


def test_a_policy_that_is_no_text(aki_eval: Command, tmp_path: Path) -> None:
    run = write_scored_run(tmp_path / "run", {"real_world_qa": scores([1.0, 0.0])})
    (tmp_path / "policy.toml").write_bytes(BINARY)
    assert "is no text" in aki_eval("gate", run, "--baseline", run, "--policy", tmp_path / "policy.toml").complaint


def test_the_gates_help_shows_no_path_of_this_machine(aki_eval: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = aki_eval("gate", "--help").out
    assert "gate.toml (built in)" in said
    assert str(DEFAULT.parent) not in said


@pytest.fixture(scope="module")
def small_run(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The predictions of a few samples of MME and MM-Vet."""
    out = tmp_path_factory.mktemp("runs") / "small"
    command = ["aki-eval", "run", "--bench", "mme,mm_vet", "--model", str(checkpoint), "--data", "toy"]
    command += ["--out", str(out), "--subset", "6", "--max-new-tokens", "2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    return out


def edit_predictions(run: Path, task: str, edit: Callable[[list[dict[str, object]]], list[dict[str, object]]]) -> None:
    path = run / task / "predictions.jsonl"
    records = edit([json.loads(line) for line in path.read_text().splitlines()])
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_score_of_a_partial_run_names_the_command_that_goes_on(
    aki_eval: Command, small_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(small_run, tmp_path / "run")
    edit_predictions(run, "mme", lambda records: records[1:])
    done = aki_eval("score", run)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert "mme: 1 sample not asked; aki-eval run --bench mme,mm_vet --model " in line
    assert "repeat" not in line


def test_import_of_a_part_does_not_say_repeat(aki_eval: Command, small_run: Path, tmp_path: Path) -> None:
    done = aki_eval(
        *("import", "--bench", "mme", "--data", "toy", "--out", tmp_path / "imported"),
        *("--predictions", small_run / "mme/predictions.jsonl"),
    )
    assert done.code == 1
    again = aki_eval("score", tmp_path / "imported")
    for line in (done.err.splitlines()[-1], again.err.splitlines()[-1]):
        assert "samples not asked; aki-eval import" in line
        assert "repeat" not in line


def test_what_the_model_refuses_is_not_to_be_asked_again(aki_eval: Command, small_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(small_run, tmp_path / "run")
    failure = {"prediction": None, "error": "ValueError: the prompt leaves no room to answer"}
    passing = {"prediction": None, "error": "RuntimeError: a cable fell out"}
    edit_predictions(run, "mme", lambda records: [records[0] | failure, records[1] | passing, *records[2:]])
    refused, failed = sorted(aki_eval("score", run).err.splitlines())
    assert "mme: 1 sample cannot be answered by this model, however often it is asked" in refused
    assert "aki-eval run" not in refused
    assert "mme: 1 sample failed" in failed
    assert "aki-eval run --bench" in failed


def test_answers_without_a_judge_are_one_line_with_the_option(
    aki_eval: Command, checkpoint: Path, tmp_path: Path
) -> None:
    tables = ensure_tables()
    out = tmp_path / "run"
    options = ["--model", checkpoint, "--out", out, "--subset", "4", "--max-new-tokens", "2"]
    done = aki_eval("run", "--bench", "mme,mm_vet,llava_bench", "--data", tables, *options)
    assert done.code == 1
    (line,) = (line for line in done.err.splitlines() if line.startswith("aki-eval: "))
    assert line.endswith(
        f"llava_bench,mm_vet: no judge graded the answers; aki-eval score {out} --bench llava_bench,mm_vet --judge NAME"
    )


NOBODY = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--judge", "gpt-4o"], "OPENAI_API_KEY"),
        (["--judge", "mine", "--judge-base-url", NOBODY], "does not answer: connection failed"),
        (["--judge", "mine", "--judge-base-url", "localhost"], "base URL is 'localhost'"),
        (["--judge", "mine", "--judge-base-url", NOBODY, "--judge-budget", "1"], "a budget needs a price"),
    ],
)
def test_a_judge_that_cannot_grade_is_noticed_before_anything_is_predicted(
    aki_eval: Command, checkpoint: Path, tmp_path: Path, options: list[str], expected: str
) -> None:
    out = tmp_path / "run"
    run = ["run", "--model", checkpoint, "--data", "toy", "--out", out, "--max-new-tokens", "2", "--subset", "4"]
    for bench in ("mm_vet", "mme"):  # where it reads what no rule can
        assert expected in aki_eval(*run, "--bench", bench, *options).complaint
    assert not list(out.glob("*/predictions*"))


def test_a_complete_run_needs_no_server(aki_eval: Command, small_run: Path) -> None:
    command = json.loads((small_run / "run.json").read_text())["sessions"][0]["command"]
    done = aki_eval(*command[1:])
    assert done.code == 0
    assert "nothing to predict" in done.err


def test_a_server_that_does_not_answer_is_said_in_seconds(aki_eval: Command, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = ["run", "--bench", "mme", "--data", "toy", "--out", out, "--model", "openai:m"]
    start = time.perf_counter()
    assert (
        "the model m at 127.0.0.1:9 does not answer: connection failed"
        in aki_eval(*run, "--base-url", NOBODY).complaint
    )
    assert "OPENAI_API_KEY" in aki_eval(*run).complaint
    assert time.perf_counter() - start < 15, "a run without this takes 41 s for the first sample alone"
    assert not list(out.glob("*/predictions*"))


def test_servers_without_a_list_of_models_are_reached_and_refused_keys_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with JudgeServer(lambda body, nth: "yes") as server:
        EndpointPredictor("m", base_url=server.url).reach(5)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody")
    with JudgeServer(lambda body, nth: "yes", models=Fail(401, "bad key")) as server:
        predictor = EndpointPredictor("m", base_url=server.url)
        with pytest.raises(Unusable, match=r"the key in OPENAI_API_KEY was refused .*HTTP 401"):
            predictor.reach(5)


def test_a_run_inside_another_run_is_refused(aki_eval: Command, checkpoint: Path, small_run: Path) -> None:
    before = sorted(small_run.rglob("*"))
    for out in (small_run / "mme", small_run / "mme" / "deeper"):
        line = aki_eval(
            "run", "--bench", "mme", "--model", checkpoint, "--data", "toy", "--out", out, "--subset", "4"
        ).complaint
        assert f"lies inside the run folder {small_run}" in line
    assert sorted(small_run.rglob("*")) == before


@pytest.mark.usefixtures("starts_warm")
def test_names_that_vlmevalkit_does_not_know_are_refused_first(aki_eval: Command, tmp_path: Path) -> None:
    """All of them at once: the kit takes its time to say what it knows."""
    done = aki_eval(
        *("vlmevalkit", "--model", "mine", "--data", "MMEE", "--tables", ensure_tables()),
        *("--work-dir", tmp_path / "kit", "--judge", "exact_matching"),
    )
    assert done.code == 2
    assert "Traceback" not in done.err
    (line,) = (line for line in done.err.splitlines() if line.startswith("aki-eval: "))
    assert "--model: VLMEvalKit knows no 'mine'" in line
    assert "--data: VLMEvalKit knows no 'MMEE'; close to it are MME" in line
