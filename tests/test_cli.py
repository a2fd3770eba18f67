"""The command line: quick to start, one line for what the user can fix, and the whole way with a tiny model."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from predictor_helpers import write_checkpoint

from aki_eval.cli import main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


HEAVY = {"torch", "transformers", "vlmeval", "pandas", "scipy", "openai", "datasets", "matplotlib"}


class Done(NamedTuple):
    """What a command said and returned."""

    code: int
    out: str
    err: str


@pytest.fixture
def aki_eval(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Calls the command line in this process: starting one for each case would cost minutes."""

    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["aki-eval", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, *capfd.readouterr())

    return call


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["run", "--help"], ["data", "list"]])
def test_starting_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from aki_eval.cli import main\n"
        "try: main()\n"
        f"finally: print(sorted({HEAVY} & set(sys.modules)), file=sys.stderr)"
    )
    environment = os.environ | {"LMUData": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stderr.strip() == "[]"


def test_help_names_every_command(aki_eval: Callable[..., Done]) -> None:
    text = aki_eval("--help").out
    for command in ("list", "data", "run", "score", "import", "report", "compare", "gate", "vlmevalkit", "view"):
        assert f" {command} " in text


def test_every_command_explains_itself(aki_eval: Callable[..., Done]) -> None:
    for command in (
        "data",
        "run",
        "score",
        "import",
        "report",
        "compare",
        "gate",
        "vlmevalkit",
        "view",
        "judge-agreement",
    ):
        done = aki_eval(command, "--help")
        assert done.code == 0, done.err
        assert "Usage" in done.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--bench", "mmme", "--model", "x", "--data", "toy"], "unknown benchmark 'mmme'; valid are all"),
        (["run", "--bench", "mme", "--model", "/no/where", "--data", "toy"], "no folder /no/where"),
        (["run", "--bench", "mme", "--model", "{model}", "--data", "/no/where"], "no folder of tables at /no/where"),
        (["run", "--bench", "mme", "--model", "{model}", "--data", "{empty}"], "table MME not found"),
        (["run", "--bench", "mme", "--model", "{empty}", "--data", "toy"], "no config.json"),
        (["run", "--bench", "mme", "--model", "{model}", "--data", "toy", "--out", "{file}/x"], "cannot write to"),
        (["run", "--bench", "mme", "--model", "{model}", "--data", "toy", "--batch-size", "many"], "--batch-size"),
        (["run", "--bench", "mme", "--model", "{model}", "--data", "toy", "--subset", "half"], "--subset"),
        (["run", "--bench", "mme", "--model", "{model}", "--data", "toy", "--prompts", "mine"], "--prompts"),
        (["run", "--bench", "mme", "--model", "{model}", "--data", "toy", "--dtype", "int4"], "--dtype"),
        (["run", "--bench", "mme", "--model", "{model}", "--data", "toy", "--device", "abacus"], "--device"),
        (["run", "--bench", "mme", "--model", "{model}", "--image-order", "last"], "'last' is not one of"),
        (["run", "--bench", "mme", "--model", "{model}", "--data", "toy", "--protocols", "vlm"], "--protocols: 'vlm'"),
        (["import", "{file}", "--prompts", "mine"], "'mine' is not one of 'aki', 'vlmevalkit', 'unknown'"),
        (["compare", "{empty}", "{empty}", "--format", "tex"], "'tex' is no format; choose from term, md, json"),
        (["judge-agreement", "{empty}", "--format", "tex"], "'tex' is not one of 'term', 'md', 'json'"),
        (["run", "--bench", "mme"], "Missing option '--model'"),
        (["run", "--bnech", "mme"], "No such option"),
        (["walk"], "No such command 'walk'"),
        (["score", "{empty}"], "holds no run.json"),
    ],
)  # fmt: skip
def test_what_the_user_can_fix_is_one_line_and_exit_code_2(
    aki_eval: Callable[..., Done], arguments: list[str], expected: str, checkpoint: Path, tmp_path: Path
) -> None:
    places = {"model": checkpoint, "empty": tmp_path / "empty", "file": tmp_path / "file"}
    places["empty"].mkdir()
    places["file"].touch()
    done = aki_eval(*(argument.format(**places) for argument in arguments))
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith("aki-eval: ")
    assert expected in line
    assert done.out == ""


def test_pickled_weights_are_refused(aki_eval: Callable[..., Done], checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((checkpoint / "config.json").read_text())
    (tmp_path / "pytorch_model.bin").touch()
    done = aki_eval("run", "--bench", "mme", "--model", tmp_path, "--data", "toy")
    assert done.code == 2
    assert "safetensors only" in done.err


def test_run_again_and_score(aki_eval: Callable[..., Done], checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["--bench", "mme,mm_vet", "--model", checkpoint, "--data", "toy", "--out", out, "--max-new-tokens", "4"]

    first = aki_eval("run", *arguments, "--check-batching", "16")
    assert first.code == 0, first.err
    assert "toy world: compare with nothing but runs of the toy world" in first.out
    assert "MME-P" in first.out
    made_by = json.loads((out / "run.json").read_text())
    assert made_by["mask_self_test"]["passed"] is True
    assert made_by["model"]["attention"] == "mma"
    assert len(made_by["model"]["weights_sha256"]) == 64
    assert made_by["check_batching"]["differing"] == []
    assert made_by["sessions"][0]["num_predicted"] == {"mme": 504, "mm_vet": 104}

    before = {path: path.read_bytes() for path in out.glob("[!.]*/*")}
    second = aki_eval("run", *arguments)
    assert second.code == 0
    assert "nothing to predict" in second.err
    assert {path: path.read_bytes() for path in out.glob("[!.]*/*")} == before

    unjudged = aki_eval("score", out, "--judge", "none")
    assert unjudged.code == 1
    assert "mm_vet: no judge graded the answers" in unjudged.err
    assert json.loads((out / "mm_vet/metrics.json").read_text())["complete"] is False
    assert aki_eval("score", out, "--judge", "none", "--allow-partial").code == 0
    assert aki_eval("score", out).code == 0
    assert {path: path.read_bytes() for path in out.glob("[!.]*/*")} == before


def test_ctrl_c_says_how_to_go_on_and_that_works(
    aki_eval: Callable[..., Done], checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a run"  # with a space: the command has to survive pasting
    arguments = ["--bench", "mme", "--model", str(checkpoint), "--data", "toy", "--out", str(out)]
    arguments += ["--batch-size", "8", "--max-new-tokens", "4", "--subset", "160"]
    program = Path(sys.executable).with_name("aki-eval")
    with subprocess.Popen([program, "run", "--fresh", *arguments], stderr=subprocess.PIPE, text=True) as process:
        predictions = out / "mme/predictions.jsonl"
        while not predictions.exists() or predictions.stat().st_size == 0:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in said
    (command,) = (line.strip() for line in said.splitlines() if line.strip().startswith("aki-eval run"))
    assert "--fresh" not in command
    answered = predictions.read_bytes()
    assert aki_eval(*shlex.split(command)[1:]).code == 0
    assert predictions.read_bytes().startswith(answered[: answered.rindex(b"\n")])
    indexes = [json.loads(line)["index"] for line in predictions.read_text().splitlines()]
    assert len(indexes) == len(set(indexes)) >= 160
