"""The action that other repositories gate their models with: what its steps do, on the committed toy model."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from plugin_helpers import ANSWERS_FILE, task_file
from run_helpers import write_table

ROOT = Path(__file__).resolve().parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))


def go(warm: Path, folder: Path, **inputs: str) -> tuple[int, dict[str, str], str]:
    """Exit code, outputs and summary of the action's last step, inputs as a workflow would give them."""
    steps = ACTION["runs"]["steps"]
    step: dict[str, Any] = steps[-1]
    defaults = {name: str(each.get("default", "")) for name, each in ACTION["inputs"].items()}
    given = defaults | {name.replace("_", "-"): value for name, value in inputs.items()}
    environment = {
        name: given[expression.removeprefix("${{ inputs.").removesuffix(" }}")]
        for name, expression in step["env"].items()
    }
    files = {"GITHUB_OUTPUT": folder / "output", "GITHUB_STEP_SUMMARY": folder / "summary"}
    for path in files.values():
        path.write_text("")
    done = subprocess.run(
        ["bash", "-c", step["run"]],
        cwd=folder,
        env=os.environ
        | environment
        | {name: str(path) for name, path in files.items()}
        | {"GITHUB_ACTION_PATH": str(ROOT), "AKI_BIN": str(warm), "RUNNER_TEMP": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
    return done.returncode, outputs, files["GITHUB_STEP_SUMMARY"].read_text()


def test_measured_then_go_no_go_and_inconclusive(warm: Path, tmp_path: Path) -> None:
    """By a benchmark and a model of one file each."""
    task_file(tmp_path)
    (tmp_path / "good.py").write_text(ANSWERS_FILE)
    (tmp_path / "bad.py").write_text(ANSWERS_FILE.replace('mistakes=""', 'mistakes="1+2+3+4+5+6+7+8+9"'))
    (tmp_path / "policy.toml").write_text("[allowed_drop.quiz]\noverall = 5.0\n")
    write_table(tmp_path / "data", rows=40)
    usual = {"bench": "quiz.py", "data": "data", "judge": "none"}
    code, outputs, summary = go(warm, tmp_path, model="good.py", out="first", **usual)
    assert (code, outputs["verdict"], outputs["run"]) == (0, "MEASURED", "first/run")
    assert "Other benchmarks" in summary
    usual |= {"baseline": "first/run", "policy": "policy.toml"}
    code, outputs, summary = go(warm, tmp_path, model="good.py:Answers", out="second", **usual)
    assert (code, outputs["verdict"], outputs["exit-code"]) == (0, "GO", "0")
    assert "GO" in summary
    code, outputs, summary = go(warm, tmp_path, model="bad.py", out="third", **usual)
    assert (code, outputs["verdict"]) == (1, "NO-GO")
    assert "NO-GO" in summary
    assert (tmp_path / "third" / "gate.xml").is_file()
    (tmp_path / "policy.toml").write_text("[allowed_drop.quiz]\noverall = 5.0\n[allowed_drop.pope]\nf1 = 1.0\n")
    code, outputs, _ = go(warm, tmp_path, model="good.py", out="first2", **usual)
    assert (code, outputs["verdict"]) == (3, "INCONCLUSIVE")
    code, outputs, _ = go(warm, tmp_path, model="good.py", out="first2", allow_inconclusive="true", **usual)
    assert (code, outputs["exit-code"]) == (0, "3")
    code, outputs, _ = go(warm, tmp_path, model="gone.py", out="fourth", **usual)
    assert (code, outputs["verdict"]) == (2, "FAILED")


def test_no_input_is_text_of_a_script(warm: Path, tmp_path: Path) -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
    code, outputs, _ = go(warm, tmp_path, model="$(touch trap); `touch trap`", bench="a;touch trap", out="x")
    assert (code, outputs["verdict"]) == (2, "FAILED")
    assert not (tmp_path / "trap").exists()


def test_ci_uses_it_with_inputs_that_it_has() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    used = [step for job in workflow["jobs"].values() for step in job["steps"] if step.get("uses") == "./"]
    assert used
    for step in used:
        assert set(step["with"]) <= set(ACTION["inputs"])
        for name in ("model", "baseline", "policy"):
            assert (ROOT / step["with"][name]).exists()


@pytest.mark.parametrize("name", ["action.yml", ".ci/gate"])
def test_scripts_parse(name: str) -> None:
    scripts = [step.get("run", "") for step in ACTION["runs"]["steps"]]
    for script in scripts if name == "action.yml" else [(ROOT / name).read_text()]:
        subprocess.run(["bash", "-n", "-c", script], check=True)
