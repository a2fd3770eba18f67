"""The committed finding: its README says what its runs say, computed again from what every question was worth."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aki_eval.cli import app
from benchmarks.results.folder import open_run

FINDING = Path(__file__).parents[1] / "reports" / "toy_ablation"
ROW = re.compile(
    r"^\| (\w+) minus causal \| ([\d,]+) \| (\d+) \| ([+−][\d.]+) \(([+−][\d.]+) to ([+−][\d.]+)\) \| ([\d.]+) \|$",
    re.MULTILINE,
)
CLAIMED = ROW.findall((FINDING / "README.md").read_text("utf-8"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finding")
    with tarfile.open(FINDING / "report" / "runs.tar.xz") as archive:
        archive.extractall(root, filter="data")
    return root


def test_every_row_was_asked_by_every_budget_about_the_kept_scenes(runs: Path) -> None:
    found = sorted(path.parent for path in runs.glob("steps-*/runs/*/run.json"))
    assert len({path.parents[1].name for path in found}) == 2
    for path in found:
        run = open_run(path)
        assert run.toy
        assert run.record is not None
        assert run.record.data.source == "toy-test"
        assert not run.record.commit["dirty"]


def test_there_are_claims() -> None:
    assert {(row, steps) for row, steps, *_ in CLAIMED} == {
        (row, steps) for row in ("cca", "mma", "v2v", "future") for steps in ("2,000", "4,000")
    }


@pytest.mark.parametrize("claim", CLAIMED, ids=lambda claim: f"{claim[0]}-{claim[1]}")
def test_a_claimed_difference_is_that_of_the_runs(claim: tuple[str, ...], runs: Path, tmp_path: Path) -> None:
    row, steps, num_seeds, difference, low, high, p = claim
    folder = runs / f"steps-{steps.replace(',', '')}" / "runs"
    sides = [sorted(map(str, folder.glob(f"{name}-seed*"))) for name in ("it_it", row)]
    assert [len(side) for side in sides] == [int(num_seeds)] * 2
    arguments = ["compare", *sides[0], "--", *sides[1], "--format", "json", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code in (0, 1), done.output
    metrics = json.loads((tmp_path / "compare.json").read_text())["metrics"]
    overall = next(metric for metric in metrics if metric["task"] == "toy_skills" and metric["metric"] == "overall")
    shown = [f"{value:+.1f}".replace("-", "−") for value in (overall["difference"], *overall["ci95"])]
    assert [difference, low, high, p] == [*shown, f"{overall['p']:.3f}"]
