"""The ablation: rows, budgets, resuming and recipes by themselves, and two rows from nothing to their report."""

from __future__ import annotations

import json
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.errors import UserError
from benchmarks.results.folder import open_run
from train import cli
from train.ablation.carry_out import carry_out
from train.ablation.cross import cross_kinds, cross_name, crossed, look_again
from train.ablation.overview import TrainedBudget, write_overview
from train.ablation.plan import AblationPlan, check_plans, folder_of, read_plan, write_plan
from train.ablation.results import share_right
from train.ablation.rows import NEW_KINDS, TABLE_1, all_rows, choose_rows
from train.ablation.schedule import Job, StepSeconds, check_budget, jobs, run_jobs
from train.ablation.training import toy_stages, train_row, write_recipe
from train.ablation.work import environment, record_path
from train.recipe import load_recipe, recipe_names
from train.toy.arithmetic import ENVIRONMENT
from train.toy.plan import ToyPlan

TINY = AblationPlan(
    toy=ToyPlan(num_images=60, num_captions=64, vision_steps=4, caption_steps=3, sft_steps=4),
    bench="real_world_qa",
    subset="ci",
    points=0,
)


def test_all_eight_rows_of_table_1_and_the_masks_beside_it() -> None:
    rows = all_rows(3)
    assert set(TABLE_1) == {name for name in recipe_names() if load_recipe(name).row}
    assert {*TABLE_1, *NEW_KINDS, "mma_late", "dot_equal"} == set(rows)
    assert [stage.attention for stage in rows["cca"].stages] == ["cca", "cca"]
    assert [stage.image_order for stage in rows["dot"].stages] == ["text_first", "image_first"] * 2
    for name in NEW_KINDS:  # pictures see no caption in pretraining
        assert [stage.attention for stage in rows[name].stages] == ["causal", name]
    assert rows["mma_late"].stages[-1].attention_layers == (("0-0", "causal"),)
    assert all_rows(32)["mma_late"].stages[-1].attention_layers == (("0-9", "causal"),)


def test_dot_costs_double_and_beside_it_the_same() -> None:
    steps, usual = (
        {name: num_steps(plan, name) for name in ("it_it", "dot", "dot_equal")}
        for plan in (TINY, replace(TINY, toy=ToyPlan()))
    )
    assert steps["dot"] == 2 * steps["it_it"]
    assert usual == {"it_it": 2900, "dot": 5800, "dot_equal": 2900}


def num_steps(plan: AblationPlan, name: str) -> int:
    return sum(stage.steps for stage in toy_stages(plan, all_rows(3)[name], 0))


def test_rows_of_a_seed_differ_in_order_and_mask_alone() -> None:
    """Data, steps, learning rates and the seed of every stage are the same, and so is what decides the sample order."""
    own = {"name", "attention", "attention_layers", "image_order"}
    rows = all_rows(3)
    causal = [stage.model_dump(exclude=own) for stage in toy_stages(TINY, rows["it_it"], 7)]
    assert {stage["seed"] for stage in causal} == {7}
    for name in ("cca", "mma", "mma_late", *NEW_KINDS):
        assert [stage.model_dump(exclude=own) for stage in toy_stages(TINY, rows[name], 7)] == causal


def test_choosing_rows() -> None:
    assert [row.name for row in choose_rows("causal, mma,mma", 3)] == ["it_it", "mma"]
    assert {row.name for row in choose_rows("table1", 3)} == set(TABLE_1)
    assert len(choose_rows("all", 3)) == len(all_rows(3))
    for wrong in ("diagonal", "", "mma,nothing", "mma,", "mma :3"):
        with pytest.raises(UserError, match=r"--rows .*: expected all, table1, or some of it_it, cca, mma"):
            choose_rows(wrong, 3)


def test_rows_with_seeds_of_their_own() -> None:
    rows = choose_rows("table1:1,causal,mma:3,v2v", 3)
    assert {row.name: row.num_seeds for row in rows} == dict.fromkeys(TABLE_1, 1) | {
        "it_it": None,
        "mma": 3,
        "v2v": None,
    }
    found = [
        (job.seed, job.row.name) for job in jobs([TINY], choose_rows("causal,mma:3,v2v:1", 3), 2, Path("/nowhere"))
    ]
    assert found == [(0, "it_it"), (0, "mma"), (0, "v2v"), (1, "it_it"), (1, "mma"), (2, "mma")]
    for wrong in ("mma:", "mma:0", "mma:-1", "mma:1001", "mma:2.0", "mma:²", "mma:2:2"):
        with pytest.raises(UserError, match=r"--rows .*: expected 1 to 1000 seeds behind a colon, such as dot:3; not "):
            choose_rows(wrong, 3)


def test_an_experiment_is_not_mixed_with_another(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, TINY)
    assert folder.name == "steps-4"
    check_plans(tmp_path, [TINY])
    write_plan(folder, TINY)
    check_plans(tmp_path, [replace(TINY, launch="srun")])
    assert read_plan(folder) == TINY
    with pytest.raises(UserError, match="holds an ablation with subset = 'ci', now None"):
        check_plans(tmp_path, [replace(TINY, subset=None)])
    (folder / "ablation.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        check_plans(tmp_path, [TINY])
    (tmp_path / "ablation.json").write_text("{}")
    with pytest.raises(UserError, match="of an earlier version"):
        check_plans(tmp_path, [TINY])


def test_further_training_budgets_may_come_to_the_same_experiment(tmp_path: Path) -> None:
    """In folders of their own, asked the same; what was begun at one is held against that one alone."""
    longer = replace(TINY, toy=replace(TINY.toy, sft_steps=9, caption_steps=5))
    write_plan(folder_of(tmp_path, TINY), TINY)
    check_plans(tmp_path, [TINY, longer])
    with pytest.raises(UserError, match=r"steps-4 holds an ablation with bench = 'real_world_qa', now 'pope'"):
        check_plans(tmp_path, [replace(longer, bench="pope")])
    with pytest.raises(UserError, match=r"steps-4 holds an ablation with toy = "):
        check_plans(tmp_path, [replace(TINY, toy=replace(TINY.toy, caption_steps=9))])
    rows = choose_rows("causal,mma", 3)
    found = [(job.seed, job.folder.name, job.row.name) for job in jobs([TINY, longer], rows, 2, tmp_path)]
    first = [(0, folder, row) for folder in ("steps-4", "steps-9") for row in ("it_it", "mma")]
    assert found == [*first, *((1, folder, row) for _, folder, row in first)]
    assert replace(TINY, data="/data").sft_steps == 5_000  # the paper's
    assert replace(TINY, data="/data", steps=7).sft_steps == 7


def test_what_is_done_is_not_done_again_and_seeds_come_one_after_the_other(tmp_path: Path) -> None:
    rows = choose_rows("causal,mma", 3)
    path = record_path(folder_of(tmp_path, TINY), "mma", 0)
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    found = [(job.row.name, job.seed) for job in jobs([TINY], rows, 2, tmp_path)]
    assert found == [("it_it", 0), ("it_it", 1), ("mma", 1)]


def test_models_under_the_masks_of_others() -> None:
    rows = choose_rows("causal,mma,dot,mma_late", 3)
    assert cross_kinds("mma, causal,mma", rows) == ("mma", "causal")
    for text, said in (
        ("mma", "at least two"),
        ("mma,diagonal", "unknown kind 'diagonal'"),
        ("v2v,cca", "none of the rows"),
    ):
        with pytest.raises(UserError, match=said):
            cross_kinds(text, rows)
    done = [{"row": row.name, "seed": seed} for row in rows for seed in (1, 0)]
    found = [(each["row"], each["seed"], kind) for each, kind in crossed(done, rows, ("mma", "causal"))]
    assert found == [("it_it", 0, "mma"), ("mma", 0, "causal"), ("it_it", 1, "mma"), ("mma", 1, "causal")]


def test_side_by_side_each_computes_with_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("train.ablation.work.cores", lambda: 8)
    assert "OMP_NUM_THREADS" not in environment(1)
    assert (environment(3)["OMP_NUM_THREADS"], environment(16)["OMP_NUM_THREADS"]) == ("2", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert environment(3)["OMP_NUM_THREADS"] == "5"


def test_looking_again_does_what_is_missing_while_there_is_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []

    def call(*arguments: str, num_workers: int) -> None:
        assert num_workers == 1
        calls.append(arguments)
        if arguments[0] == "run":
            run = Path(arguments[arguments.index("--out") + 1])
            (run / "pope").mkdir(parents=True)
            (run / "run.json").write_text("{}")
            (run / "pope" / "metrics.json").write_text("{}")

    monkeypatch.setattr("train.ablation.work.aki_eval", call)
    monkeypatch.setattr("train.ablation.cross.aki_eval", call)
    rows = choose_rows("causal,mma", 3)
    done = [
        {"row": name, "seed": 0, "model": f"trained/{name}"} for name in ("it_it", "mma", "cca")
    ]  # cca: not asked for

    def look(until: float) -> list[str]:
        return look_again(tmp_path, TINY, done, rows, kinds=("mma", "causal"), inside="toy", num_workers=1, until=until)

    assert look(0) == ["it_it-as-mma-seed0", "mma-as-causal-seed0", "inside it_it seed 0", "inside mma seed 0"]
    assert calls == []
    assert look(float("inf")) == []
    assert [(call[0], call[-2:]) for call in calls[:2]] == [
        ("run", ("--attention", "mma")),
        ("run", ("--attention", "causal")),
    ]
    assert all(str(tmp_path / "trained") in call[2] for call in calls[:2])
    assert [call[0] for call in calls[2:]] == ["inspect", "inspect"]
    for name in ("it_it", "mma"):
        place = tmp_path / "runs" / f"{name}-seed0" / "inside"
        place.mkdir(parents=True)
        (place / "layers.json").write_text("{}")
    assert look(float("inf")) == []
    assert len(calls) == 4


def test_budgets_side_by_side(tmp_path: Path) -> None:
    """What each budget says of each row; what no budget has is a dash, and what one lacks is named."""
    rows = choose_rows("causal,mma", 3)
    budgets = []
    for steps, values in ((4, {"it_it": [1, 0], "mma": [1, 1]}), (9, {"it_it": [1, 1]})):
        folder = tmp_path / f"steps-{steps}"
        for name, scores in values.items():
            task = folder / "runs" / f"{name}-seed0" / "pope"
            task.mkdir(parents=True)
            (task / "metrics.json").write_text(json.dumps({"headline": "kit"}))
            lines = [json.dumps({"protocol": "kit", "value": value}) for value in scores]
            (task / "scores.jsonl").write_text("\n".join(lines) + "\n")
        done = [{"row": name, "seed": 0, "training_seconds": 90.0} for name in values]
        plan = replace(TINY, toy=replace(TINY.toy, sft_steps=steps))
        budgets.append(TrainedBudget(folder, plan, done, ["mma, seed 0, steps-9"] if steps == 9 else []))
    found = tmp_path / "report" / "steps-4" / "compare" / "mma-minus-it_it"
    found.mkdir(parents=True)
    metrics = [
        {"label": "POPE", "task": "pope", "is_column": True, "significant": True, "difference": 12.5, "p": 0.001},
        {
            "label": "RWQA",
            "task": "real_world_qa",
            "is_column": True,
            "significant": False,
            "difference": -3.0,
            "p": 0.4,
        },
        {"label": "MMMU", "task": "mmmu", "is_column": True, "significant": False, "difference": -3.0, "p": None},
        {"label": "part", "task": "pope", "is_column": False, "significant": True, "difference": 9.0, "p": 0.001},
        {
            "label": "Skills",
            "task": "toy_skills",
            "is_column": True,
            "significant": False,
            "difference": 2.04,
            "p": 0.0941,
        }
        | {"metric": "overall", "ci95": [-0.56, 4.8]},
    ]
    for each in metrics:
        each.setdefault("metric", "x")
    (found / "compare.json").write_text(json.dumps({"metrics": metrics}))
    curves = {"it_it": {"0": [[3, 0.2], [7, 0.5]]}, "mma": {"0": [[7, 0.6]]}}
    (tmp_path / "report" / "steps-4" / "curves.json").write_text(json.dumps(curves))
    text = write_overview(tmp_path, budgets, rows).read_text()
    assert "![Learning curves](curves.png)" in text
    assert (tmp_path / "report" / "curves.png").stat().st_size > 5000
    assert "| row | 4 steps | 9 steps |" in text
    assert "| (I&T)PT + (I&T)SFT | 50.0 | 100.0 |" in text
    assert "| ▲ POPE +12.5; 2 of 4 cannot be told apart; 1 cannot be compared | – |" in text
    assert "All skills minus it_it" in text
    assert "| MMA | +2.0 (-0.6 to +4.8), p 0.094 | – |" in text
    assert "not done, for want of time: mma, seed 0, steps-9" in text
    assert "| (I&T)PT + (I&T)SFT | 1.5 | 1.5 |" in text


class FakeProcess:
    """Ends by itself after `length` seconds of a clock that goes on when it is looked at."""

    def __init__(self, clock: FakeClock, length: float, code: int = 0) -> None:
        self.clock, self.end, self.code, self.ended = clock, clock.now + length, code, False
        self.returncode: int | None = None

    def poll(self) -> int | None:
        self.returncode = self.code if self.clock() >= self.end else None
        return self.returncode

    def terminate(self) -> None:
        self.ended = True

    def wait(self) -> None:
        pass


class FakeClock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def simulated(lengths: dict[str, float], costs: dict[str, float], budget: float, workers: int = 1) -> tuple[Any, Any]:
    clock, begun = FakeClock(), []

    def start(job: Job) -> subprocess.Popen[Any]:
        begun.append((job.row.name, job.seed))
        return FakeProcess(clock, lengths[job.row.name])  # type: ignore[return-value]

    wanted = list(jobs([TINY], choose_rows("causal,cca,mma", 3), 2, Path("/nowhere")))
    left = run_jobs(
        [replace(job, cost=costs[job.row.name]) for job in wanted],
        budget=budget,
        num_workers=workers,
        start=start,
        say=lambda text: None,
        clock=clock,
        pause=0,
    )
    return begun, [(job.row.name, job.seed) for job in left]


def test_rows_that_do_not_fit_are_left_out() -> None:
    costs = {"it_it": 100.0, "cca": 100.0, "mma": 100.0}
    begun, left = simulated(costs, costs, 460)
    assert begun == [("it_it", 0), ("cca", 0), ("mma", 0), ("it_it", 1)]
    assert left == [("cca", 1), ("mma", 1)]


def test_estimates_follow_what_rows_really_take() -> None:
    """Twice as slow as estimated: the third row would begin in time by the estimate, and does not."""
    costs = {"it_it": 100.0, "cca": 100.0, "mma": 100.0}
    begun, _ = simulated(dict.fromkeys(costs, 200.0), costs, 560)
    assert begun == [("it_it", 0), ("cca", 0)]


def test_side_by_side() -> None:
    costs = {"it_it": 100.0, "cca": 100.0, "mma": 100.0}
    begun, left = simulated(costs, costs, 260, workers=3)
    assert (len(begun), left) == (6, [])


def test_a_failed_row_ends_the_others(tmp_path: Path) -> None:
    clock = FakeClock()
    made: list[FakeProcess] = []

    def start(job: Job) -> subprocess.Popen[Any]:
        made.append(FakeProcess(clock, 5 if job.seed == 0 else 500, code=2))
        return made[-1]  # type: ignore[return-value]

    wanted = [Job(choose_rows("mma", 3)[0], seed, tmp_path / "steps-4") for seed in (0, 1)]
    with pytest.raises(UserError, match="mma, seed 0, steps-4: ended with code 2"):
        run_jobs(wanted, budget=1e9, num_workers=2, start=start, say=str, clock=clock, pause=0)
    assert [process.ended for process in made] == [False, True]


def test_a_budget_too_small_for_one_row_is_one_line() -> None:
    each = StepSeconds(vision=0.02, pretrain=0.1, sft=0.1, setup=2)
    costs = {row.name: each.of(replace(TINY, toy=ToyPlan()), row) for row in choose_rows("causal,dot", 3)}
    assert costs["dot"] == pytest.approx(costs["it_it"] + 2 * 2 + 0.1 * 2900)
    rows = choose_rows("causal,dot", 3)
    wanted = [Job(row, 0, Path("/nowhere"), costs[row.name]) for row in rows]
    with pytest.raises(UserError, match=r"--budget 1: the cheapest row, it_it, takes about 6\.\d minutes here"):
        check_budget(60, wanted)
    check_budget(3600, wanted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "/nowhere"], "--data /nowhere: no such folder"),
        (["--rows", "diagonal"], "--rows 'diagonal': expected all"),
        (["--steps", "10,0"], "--steps '10,0': expected numbers from 1 to"),
        (["--cross", "mma,diagonal"], "--cross 'mma,diagonal': unknown kind 'diagonal'"),
        (["--jobs", "1000"], "--jobs 1000: there are"),
        (["--launch", "srun"], "--launch 'srun': the toy trains on this machine"),
        (["--inside", "/nowhere"], "--inside '/nowhere' does not say which object"),
        (["--bench", "nobodys"], "--bench: unknown benchmark 'nobodys'"),
        (["--evaluation", "/nowhere"], "/nowhere"),
        (["--subset", "few"], "--subset: 'few'"),
        (["--judge", "gpt-4o"], "--offline: the judge gpt-4o is asked over the internet"),
        (["--data", ".", "--evaluation", "toy", "--judge", "gpt-4o"], "gpt-4o needs a key in OPENAI_API_KEY"),
    ],
)
def test_bad_usage_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)  # as the command does, which must not outlast the test
    with pytest.raises(UserError, match=message) as caught:
        CliRunner().invoke(cli.app, ["ablation", "--out", str(tmp_path), *arguments], catch_exceptions=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["it_it", "dot_equal", "mma_late", "future"])
def test_a_row_on_real_data_is_a_recipe(name: str, tmp_path: Path) -> None:
    row = all_rows(32)[name]
    plan = replace(TINY, data="/data")
    recipe = load_recipe(str(write_recipe(plan, row, 3, tmp_path)))
    assert [stage.attention for stage in recipe.stages] == [stage.attention for stage in row.stages]
    assert [dict(stage.attention_layers or {}) for stage in recipe.stages] == [
        dict(stage.attention_layers) for stage in row.stages
    ]
    assert {stage.seed for stage in recipe.stages} == {3}
    usual = {stage.kind: stage.steps for stage in load_recipe("it_it").stages}
    assert [stage.steps for stage in recipe.stages] == [round(usual[s.kind] * s.share) for s in row.stages]
    few = load_recipe(str(write_recipe(replace(plan, steps=10), row, 3, tmp_path)))
    assert [stage.steps for stage in few.stages] == [round(10 * stage.share) for stage in row.stages]


def test_learning_curves_on_real_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training evaluates itself on its way; what of it succeeded are the points, by steps of all stages."""
    plan = replace(TINY, data="/data", bench="all", evaluation="official", steps=90, points=2)
    row = all_rows(32)["mma"]
    calls: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        stage = Path(command[command.index("--out") + 1]) / "1_sft_image_first"
        for step, measured in ((30, True), (60, False), (90, True)):
            task = stage / "evaluations" / f"step-{step}" / "pope"
            task.mkdir(parents=True)
            if measured:
                (task / "metrics.json").write_text("{}")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("train.ablation.training.subprocess.run", run)
    trained = train_row(plan, row, 0, tmp_path)
    assert calls[0][-6:] == ["--eval-every", "30", "--bench", "ci", "--eval-data", "official"]
    assert [(point.steps, point.model.name) for point in trained.evaluated] == [(120, "step-30"), (180, "step-90")]
    train_row(replace(plan, points=0), row, 1, tmp_path / "other")
    assert "--eval-every" not in calls[1]


def test_share_of_questions_right(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no question without a judge"):
        share_right(tmp_path)
    for task, values in (("pope", [1, 0, None, 1]), ("mm_vet", [0, 0])):
        (tmp_path / task).mkdir()
        (tmp_path / task / "metrics.json").write_text(json.dumps({"headline": "kit"}))
        lines = [{"protocol": "kit", "value": value} for value in values] + [{"protocol": "strict", "value": 0}]
        (tmp_path / task / "scores.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert share_right(tmp_path) == pytest.approx(2 / 3)


@pytest.mark.usefixtures("starts_warm")
def test_two_rows_from_nothing_to_their_report(tmp_path: Path) -> None:
    """Real trainings of a few steps, real evaluations, a real report: that all of it fits together."""
    rows = choose_rows("causal,mma", 3)
    overview = carry_out([TINY], rows=rows, num_seeds=1, budget=None, num_jobs=2, out=tmp_path, cross=("mma", "v2v"))
    assert "[4 steps](steps-4/README.md): 1 seed of it_it, mma" in overview.read_text()
    summary = overview.parent / "steps-4" / "README.md"
    text = summary.read_text()
    out, tmp_path = tmp_path, tmp_path / "steps-4"
    assert "| (I&T)PT + (I&T)SFT | 7 | 1.00 |" in text
    assert "mma minus it_it" in text
    report = summary.parent
    assert "training-seed variance not included" in (report / "compare" / "mma-minus-it_it" / "compare.md").read_text()
    assert (report / "html" / "index.html").is_file()
    assert "Trained with one mask, used with another" in (report / "tables.md").read_text()
    for name in ("it_it", "mma"):
        model = json.loads((tmp_path / "runs" / f"{name}-seed0" / "run.json").read_text())["model"]
        assert model["training_seed"] == 0
        assert model["attention"] == {"it_it": "causal", "mma": "mma"}[name]
    trained = out / "trained" / "seed0"  # beside the budgets: they share first stages
    names = {path.name.partition("-")[0] for path in trained.iterdir()}
    assert names == {"start", "0_captions_image_first", "1_instructions_image_first"}
    assert len(list(trained.glob("0_captions*"))) == len(list(trained.glob("start-*/features*.pt"))) == 1
    assert list(jobs([TINY], rows, 1, out)) == []
    with tarfile.open(overview.parent / "runs.tar.xz") as archive:
        archive.extractall(out / "again", filter="data")
    for name in ("runs/mma-seed0", f"cross/{cross_name('mma', 'v2v', 0)}"):
        packed, own = (open_run(folder / "steps-4" / name) for folder in (out / "again", out))
        assert packed.results["real_world_qa"].protocols == own.results["real_world_qa"].protocols
        assert own.results["real_world_qa"].protocols["kit"]
    used = json.loads((tmp_path / "cross" / cross_name("mma", "v2v", 0) / "run.json").read_text())["model"]
    assert (used["trained_attention"], used["attention"]) == ("mma", "v2v")
