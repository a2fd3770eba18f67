"""The committed finding: its README says what its runs say, computed again from what every question was worth."""

from __future__ import annotations

import json
import re
import sys
import tarfile
from pathlib import Path
from statistics import mean

import pytest

from aki_eval.cli import main
from benchmarks.results.folder import open_run

FINDING = Path(__file__).parents[1] / "reports" / "toy_ablation"
TEXT = (FINDING / "README.md").read_text("utf-8")
ROW = re.compile(
    r"^\| (\w+) minus causal \| ([\d,]+) \| (\d+) \| ([+−][\d.]+) \(([+−][\d.]+) to ([+−][\d.]+)\) \| ([\d.]+) \|",
    re.MULTILINE,
)
CV_BENCH = re.compile(r"^\| (\w+) \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE)
CLAIMED = ROW.findall(TEXT)
READ_BY_THE_KIT = CV_BENCH.findall(TEXT)
SEEDS = {"it_it": 5, "mma": 5, "cca": 5, "v2v": 5, "future": 5} | dict.fromkeys(
    (
        "dot_without_it_pretraining",
        "dot_without_ti_pretraining",
        "dot_without_it_sft",
        "dot_without_ti_sft",
        "dot",
    ),
    3,
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of every run its record and what its answers to the table of skills were worth; of CV-Bench the metrics."""
    root = tmp_path_factory.mktemp("finding")
    with tarfile.open(FINDING / "report" / "runs.tar.xz") as archive:
        wanted = [
            member
            for member in archive
            if Path(member.name).parent.name == "toy_skills"
            or member.name.endswith(("/run.json", "/cv_bench/metrics.json"))
        ]
        archive.extractall(root, wanted, filter="data")
    for path in root.rglob("cv_bench"):
        path.rename(path.with_name("kept"))  # what was asked of CV-Bench is not here: a run without it
    return root


def test_every_row_was_asked_by_every_budget_about_the_kept_scenes(runs: Path) -> None:
    for budget in ("steps-2000", "steps-4000"):
        folder = runs / budget / "runs"
        assert {path.name for path in folder.iterdir()} == {
            f"{row}-seed{seed}" for row, num in SEEDS.items() for seed in range(num)
        }
        for path in folder.iterdir():
            run = open_run(path)
            assert run.record is not None
            assert run.record.data.source == "toy-test"
            assert not run.record.commit.dirty


def test_there_is_a_claim_for_every_row_and_budget() -> None:
    wanted = {(row, steps) for row in SEEDS if row != "it_it" for steps in ("2,000", "4,000")}
    assert {(row, steps) for row, steps, *_ in CLAIMED} == wanted
    assert len(CLAIMED) == len(wanted)


@pytest.mark.parametrize("claim", CLAIMED, ids=lambda claim: f"{claim[0]}-{claim[1]}")
def test_a_claimed_difference_is_that_of_the_runs(
    claim: tuple[str, ...],
    runs: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row, steps, num_seeds, difference, low, high, p = claim
    folder = runs / f"steps-{steps.replace(',', '')}" / "runs"
    sides = [[str(folder / f"{name}-seed{seed}") for seed in range(SEEDS[name])] for name in ("it_it", row)]
    assert SEEDS[row] == int(num_seeds)
    monkeypatch.setattr(sys, "argv", ["aki-eval", "compare", *sides[0], "--", *sides[1], "--format", "json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    (overall,) = json.loads(capsys.readouterr().out)["metrics"]
    assert (overall["task"], overall["metric"]) == ("toy_skills", "overall")
    shown = [f"{value:+.1f}".replace("-", "−") for value in (overall["difference"], *overall["ci95"])]
    assert [difference, low, high, p] == [*shown, f"{overall['p']:.3f}"]


def test_cv_bench_as_vlmevalkit_reads_it(runs: Path) -> None:
    assert {(row, steps) for row, steps, *_ in READ_BY_THE_KIT} == {
        ("causal" if row == "it_it" else row, steps) for row in SEEDS for steps in ("2,000", "4,000")
    }
    for row, steps, *shown in READ_BY_THE_KIT:
        own = "it_it" if row == "causal" else row
        folder = runs / f"steps-{steps.replace(',', '')}" / "runs"
        paths = [folder / f"{own}-seed{seed}" / "kept" / "metrics.json" for seed in range(SEEDS[own])]
        metrics = [json.loads(path.read_text("utf-8"))["protocols"]["kit"] for path in paths]
        assert shown == [f"{mean(each[name]['value'] for each in metrics):.1f}" for name in ("2d", "3d")]
