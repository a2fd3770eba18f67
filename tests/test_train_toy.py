"""The toy, end to end in seconds: that it runs, learns something and leaves a model; not how good it is."""

from __future__ import annotations

import io
import json
import os
import pickle
import platform
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from forked import forking
from train_helpers import machine, parts, write_root
from typer.testing import CliRunner

from benchmarks import toy_world
from benchmarks.errors import UserError
from model import AkiForConditionalGeneration, AkiProcessor
from train import cli
from train.plan import model_cost, plan_stages
from train.recipe import Recipe, load_recipe, recipe_names
from train.run_recipe import Parts, run_recipe
from train.toy import arithmetic, partner
from train.toy import build as toy
from train.toy.partner import Gradient, Partner
from train.toy.vision import tower_config, train_vision

SMOKE = toy.ToyPlan(num_images=60, num_captions=64, vision_steps=50, caption_steps=20, sft_steps=20)
COMMITTED = Path(__file__).parent / "data" / "toy_model"
ROWS = [name for name in recipe_names() if load_recipe(name).row]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("world"))


@pytest.fixture
def small(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "QUICK", SMOKE)
    monkeypatch.setattr("train.commands.toy.cores", lambda: 1)
    monkeypatch.setattr(toy, "ensure_training_data", lambda plan: root)
    for name, value in arithmetic.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)  # as the command would, which in a test's process must not outlast the test


def test_the_command_leaves_a_model_and_its_curves(small: None, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["toy", "--out", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0
    record = json.loads((tmp_path / "training" / "loss.json").read_text())
    for log in record["stages"].values():
        losses = [entry["loss"] for entry in log if "loss" in entry]
        assert losses[-1] < losses[0]
    assert (tmp_path / "training" / "loss.png").stat().st_size > 1000
    processor = AkiProcessor.from_pretrained(tmp_path)
    model = AkiForConditionalGeneration.from_pretrained(tmp_path).eval()
    scene = next(toy_world.scenes(0, split="eval"))
    content = [{"type": "image"}, {"type": "text", "text": "what color is the circle?"}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    inputs = processor(text=prompt, images=toy_world.image(scene), return_tensors="pt")
    assert processor.tokenizer.unk_token_id not in inputs["input_ids"]
    assert model.generate(**inputs, max_new_tokens=3).shape[1] > inputs["input_ids"].shape[1]


TINY = replace(SMOKE, vision_steps=4, caption_steps=3, sft_steps=3)


def digests(folder: Path, threads: int, onednn: bool, processes: int) -> dict[str, str]:
    """The weights' digest after each stage, trained by these processes and threads, with oneDNN or without."""
    torch.set_num_threads(threads)
    torch.backends.mkldnn.set_flags(onednn)
    toy.train_toy(folder, TINY, seed=5, processes=processes)
    assert (torch.get_num_threads(), torch.backends.mkldnn.enabled) == (threads, onednn)
    record = json.loads((folder / "training" / "arithmetic.json").read_text())
    assert (record["seed"], record["threads"], record["onednn"]) == (5, 1, False)
    model = AkiForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    assert record["weights"]["instructions"] == arithmetic.weights_digest(model)
    return record["weights"]


def train_twice(folder: Path, root: Path) -> None:
    """As the command, which first of all chooses kernels: alone, then with a partner that is lost after a step."""
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    arithmetic.choose_kernels()
    toy.ensure_training_data = lambda plan: root
    first = digests(folder / "a", threads=1, onednn=True, processes=1)
    taken, take = [], Partner.take

    def take_once(self: Partner) -> list[Gradient]:
        if taken:
            self._process.kill()
            self._process.wait()
        taken.append(take(self))
        return taken[-1]

    Partner.take = take_once  # type: ignore[method-assign]
    second = digests(folder / "b", threads=2, onednn=False, processes=2)
    (folder / "found").write_text(json.dumps([first, second, [len(gradients) for gradients in taken]]))


def test_the_same_seed_gives_the_same_model(root: Path, tmp_path: Path) -> None:
    """Whatever the process computes with otherwise, and with a partner, even with one that is lost after a step.

    (Two threads alone part the weights; see the next test.)
    """
    process = forking().Process(target=train_twice, args=(tmp_path, root))
    process.start()
    process.join()
    assert process.exitcode == 0, (tmp_path / "output").read_text()[-3000:]
    first, second, taken = json.loads((tmp_path / "found").read_text())
    assert list(first) == ["vision", "captions", "instructions"]
    assert second == first
    assert taken == [2, 0, 0], "nothing was left out before it was lost"


def test_samples_read_ahead_come_in_their_order() -> None:
    samples = partner.ReadAhead(iter(range(5)))
    first = next(samples)
    samples.read(2)
    assert (first, next(samples), list(samples)) == (0, 1, [2, 3, 4])
    samples.read(4)  # behind the end
    assert list(samples) == []


def test_the_partner_writes_the_toy_world_s_files_and_survives_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []

    def write(plan: toy.ToyPlan) -> None:
        written.append(plan)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(partner, "ensure_training_data", write)
    answers = io.BytesIO()
    partner.serve(io.BytesIO(pickle.dumps(TINY) + pickle.dumps(SMOKE)), answers)
    assert written == [TINY, SMOKE]
    answers.seek(0)
    assert set(pickle.load(answers)) == set(arithmetic.digests())
    assert not answers.read(), "to these requests nothing is answered"


@pytest.mark.parametrize(("num_batches", "partners"), [(1, []), (2, [1]), (3, [2]), (4, [0, 3]), (8, [0, 1, 6, 7])])
def test_the_partner_has_half_of_a_steps_micro_batches(num_batches: int, partners: list[int]) -> None:
    """Sorted by length, the shortest and the longest cost together about what those between them do."""
    assert partner.shared(num_batches) == partners


@pytest.mark.parametrize("differs", [None, "sum"])
def test_a_partner_with_other_kernels_is_left_out(differs: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """A process that had computed before it chose its kernels: torch 2.9 then gives other weights with a partner."""
    there = arithmetic.digests() | ({differs: "0"} if differs else {})
    one = Partner.__new__(Partner)
    answers = io.BytesIO(pickle.dumps(there) + pickle.dumps(["a gradient"]))
    one._process = SimpleNamespace(stdin=io.BytesIO(), stdout=answers)  # type: ignore[assignment]
    one._there, one._tried = True, False
    one.begin(toy.sft_stage(TINY, 0), SimpleNamespace(config=None, state_dict=dict))
    assert one.take() == ([] if differs else ["a gradient"])
    said = "aki-train: a second process is left out: its kernels give other bits (sum)\n" if differs else ""
    assert capsys.readouterr().err == said


def test_threads_alone_would_part_the_weights(tmp_path: Path) -> None:
    """What `fixed` is for: the same short training of the vision tower with one and with two threads."""
    states = []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            scenes = list(toy_world.scenes("threads", 64))
            tower, _ = train_vision(tower_config(), scenes, steps=4, batch_size=64, seed=5, out=tmp_path)
        finally:
            torch.set_num_threads(before)
        states.append(arithmetic.weights_digest(tower))
    assert states[0] != states[1]


@cache
def describe_in_a_new_process(**environment: str) -> dict[str, Any]:
    """`arithmetic.describe()` as `aki-train toy` would write it: kernels are chosen once in a process."""
    script = (
        "import json; from train.toy.arithmetic import choose_kernels, describe, fixed; choose_kernels()\n"
        "with fixed(): print(json.dumps(describe()))"
    )
    unset = {name: value for name, value in os.environ.items() if name not in arithmetic.ENVIRONMENT}
    done = subprocess.run(
        [sys.executable, "-c", script], env=unset | environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="kernels are chosen on x86-64 only")
def test_the_command_s_kernels_are_the_same_under_any_environment() -> None:
    one, two = (describe_in_a_new_process(OMP_NUM_THREADS=threads) for threads in ("1", "2"))
    if one["aten"] != "AVX2":
        pytest.skip(f"this processor gives ATen {one['aten']}, not AVX2")
    assert one == two
    other = describe_in_a_new_process(ATEN_CPU_CAPABILITY="default")  # what a user sets stays, and shows
    assert other["aten"] == other["environment"]["ATEN_CPU_CAPABILITY"].upper() == "DEFAULT"
    assert other["operations"] != one["operations"]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="kernels are chosen on x86-64 only")
def test_this_machine_computes_as_the_committed_model_s_machine_did() -> None:
    """An operation that differs here is why `aki-train toy` would give other weights here, and which one it is."""
    recorded = json.loads((COMMITTED / "training" / "arithmetic.json").read_text())
    here = describe_in_a_new_process(OMP_NUM_THREADS="1")
    for name in ("torch", "aten"):
        if here[name] != recorded[name]:
            pytest.skip(f"the committed model was trained with {name} {recorded[name]}, here is {here[name]}")
    assert here["operations"] == recorded["operations"]


def miniature(recipe: Recipe) -> Recipe:
    """The recipe's stages, orders and attentions with a step or two each."""
    small_ = {"steps": 2, "batch_size": 4, "precision": "fp32", "streams": 4, "warmup_steps": 1}
    return recipe.model_copy(update={"stages": tuple(stage.model_copy(update=small_) for stage in recipe.stages)})


@pytest.mark.parametrize("name", ROWS)
def test_every_row_of_table_1_runs(name: str, root: Path, tmp_path: Path) -> None:
    recipe = miniature(load_recipe(name))
    last = run_recipe(recipe, lambda: Parts(*parts()), data_root=root, out=tmp_path, machine=machine(2))
    model = AkiForConditionalGeneration.from_pretrained(last)
    assert model.config.attention == recipe.stages[-1].attention
    assert model.config.image_order == recipe.stages[-1].image_order
    assert AkiProcessor.from_pretrained(last).image_order == "image_first"  # as every row is asked (section 3.2)
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    assert {path.name for path in tmp_path.iterdir()} >= {stage.name for stage in recipe.stages}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy", "--out", "/proc/nowhere"], "--out /proc/nowhere: cannot be written"),
        (["plan", "table_1"], "recipe 'table_1': neither a file nor one of"),
        (["run", "mma", "--data", "{tmp}", "--out", "{tmp}/out"], "neither a folder nor in the Hub's cache"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    filled: Any = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    with pytest.raises(UserError) as caught:
        CliRunner().invoke(cli.app, filled, catch_exceptions=False)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_shows_the_paper_s_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = CliRunner().invoke(cli.app, ["plan", "aki_4b"], catch_exceptions=False)
    assert shown.exit_code == 1  # the model's parts are not on this machine
    assert "3.90 B trained, 0.41 B frozen" in shown.output
    assert "48.00M" in shown.output
    assert "hf download google/siglip-so400m-patch14-384" in shown.output


@pytest.mark.parametrize(
    ("devices", "pretraining", "fine_tuning"),
    [
        (8, (3, 8, 0.0), (1, 8, 0.0)),
        (24, (1, 8, 0.0), (1, 3, 1 / 9)),
        (48, (1, 4, 0.0), (1, 2, 1 / 3)),
        (64, (1, 3, 0.0), (1, 1, 0.0)),
        (96, (1, 2, 0.0), (1, 1, 1 / 3)),
        (128, (1, 2, 1 / 4), (1, 1, 1 / 2)),
    ],
)
def test_a_plan_divides_each_stage_s_batch(
    devices: int, pretraining: tuple[int, int, float], fine_tuning: tuple[int, int, float]
) -> None:
    recipe = load_recipe("mma")
    plans = plan_stages(recipe, model_cost(recipe.model), num_devices=devices, peak_flops=1e14, mfu=0.4)
    for plan, expected in zip(plans, (pretraining, fine_tuning), strict=True):
        assert (plan.slots, plan.rows, plan.idle) == pytest.approx(expected)
        assert plan.trouble is None


def test_a_plan_says_which_numbers_of_gpus_cannot_share_the_captions() -> None:
    shown = CliRunner().invoke(cli.app, ["plan", "mma", "--devices", "7"], catch_exceptions=False)
    assert "missing: 384 caption streams cannot be divided among 7 processes; set the stage's `streams`" in shown.output


START = """
import sys, time
from pathlib import Path
from benchmarks import toy_world
from train.toy import plan, prepared
write = toy_world.write_training_data

def slowly(root, **sizes):
    print("wrote", flush=True)
    write(root, **sizes)

prepared.WRITERS["toy"] = slowly
while not Path(sys.argv[1]).exists():
    time.sleep(0.001)
print(prepared.ensure_training_data(plan.ToyPlan(num_images=60, num_captions=64)), flush=True)
"""


def test_three_starts_write_the_training_data_once(tmp_path: Path) -> None:
    """At once, beside what a killed start left behind."""
    cache = tmp_path / "cache" / "aki" / "toy_world" / toy_world.VERSION
    cache.mkdir(parents=True)
    (cache / "training-60-64.half").mkdir()
    (cache / "training-60-64.half" / "captions").write_text("half of something")
    where = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", START, str(tmp_path / "go")]
    starts = [subprocess.Popen(command, env=where, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    (tmp_path / "go").touch()
    said = [start.communicate(timeout=240)[0].split() for start in starts]
    assert [start.returncode for start in starts] == [0, 0, 0]
    assert sum(one.count("wrote") for one in said) == 1
    assert len({one[-1] for one in said}) == 1
    assert (Path(said[0][-1]) / "captions").is_dir()
