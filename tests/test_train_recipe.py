"""Recipes: every row of Table 1, Tables 3 and 4 to the letter, and errors that say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import UserError
from train.data.instructions import SETS, TABLE_4
from train.recipe import Recipe, load_recipe, recipe_names

ROWS = {  # row of Table 1 -> recipe, and its stages as kind, attention, order
    "baseline_it_it": ("it_it", "p causal it, s causal it"),
    "cca": ("cca", "p cca it, s cca it"),
    "dot_wo_ti_pt": ("dot_without_ti_pretraining", "p causal it, s causal ti, s causal it"),
    "dot_wo_it_pt": ("dot_without_it_pretraining", "p causal ti, s causal ti, s causal it"),
    "dot_wo_ti_sft": ("dot_without_ti_sft", "p causal ti, p causal it, s causal it"),
    "dot_wo_it_sft": ("dot_without_it_sft", "p causal ti, p causal it, s causal ti"),
    "dot": ("dot", "p causal ti, p causal it, s causal ti, s causal it"),
    "mma": ("mma", "p causal it, s mma it"),
}
STAGE = """
[[stage]]
name = "one"
kind = "sft"
attention = "mma"
"""


def outline(recipe: Recipe) -> str:
    orders = {"image_first": "it", "text_first": "ti"}
    return ", ".join(f"{stage.kind[0]} {stage.attention} {orders[stage.image_order]}" for stage in recipe.stages)


def write(folder: Path, text: str) -> str:
    base = (Path(__file__).parents[1] / "train" / "recipes" / "paper.toml").read_text()
    (folder / "paper.toml").write_text(base)
    path = folder / "recipe.toml"
    path.write_text('extends = "paper.toml"\n' + text)
    return str(path)


@pytest.mark.parametrize(("row", "expected"), ROWS.items())
def test_rows_of_table_1(row: str, expected: tuple[str, str]) -> None:
    recipe = load_recipe(expected[0])
    assert recipe.row == row
    assert outline(recipe) == expected[1]


@pytest.mark.parametrize("name", [name for name, _ in ROWS.values()])
def test_table_3(name: str) -> None:
    for stage in load_recipe(name).stages:
        rates = (stage.learning_rate, stage.min_learning_rate, stage.warmup_steps, stage.weight_decay)
        sizes = (stage.batch_size, stage.steps, stage.max_length)
        if stage.kind == "pretrain":
            assert (rates, sizes) == ((1e-4, 1e-5, 2000, 1e-2), (192, 50_000, 128))
        else:
            assert (rates, sizes) == ((2e-5, 1e-6, 150, 1e-4), (64, 5000, 512))
        assert (stage.max_grad_norm, stage.precision, stage.betas, stage.epsilon) == (1.0, "bf16", (0.9, 0.999), 1e-8)


def test_table_4() -> None:
    weights = load_recipe("mma").stages[1].data
    assert sum(weights.values()) == pytest.approx(100)
    assert set(weights) == {one.name for one in TABLE_4}
    rare = {"vsr": 2.6, "visual_genome": 4.7}
    assert dict(weights) == {name: rare.get(name, 10.3) for name in weights}


def test_aki_4b() -> None:
    stages = load_recipe("aki_4b").stages
    assert [(stage.steps, next(iter(stage.data))) for stage in stages[:2]] == [(250_000, "kale"), (25_000, "ocr")]
    assert (stages[2].steps, stages[2].attention) == (10_000, "mma")


def test_every_recipe_loads() -> None:
    assert {"aki_llama", "aki_qwen2"} < set(recipe_names())
    for name in recipe_names():
        for stage in load_recipe(name).stages:
            assert stage.kind == "pretrain" or set(stage.data) <= set(SETS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (STAGE + "stepz = 3\n", "unknown settings ['stepz']"),
        (STAGE.replace("mma", "mutual"), "attention is 'mutual', expected one of 'mma', 'causal', 'cca'"),
        (STAGE + "steps = 0\n", "steps is 0"),
        (STAGE + "learning_rate = 1e-9\n", "min_learning_rate 1e-06 is not between"),
        (STAGE + "data = { vqav2 = -1 }\n", "probabilities must be positive"),
        (STAGE + STAGE, "two stages have the same name"),
        (STAGE.replace("sft", "tuning"), "settings missing"),
        ("colour = 1\n" + STAGE, "unknown keys ['colour']"),
        ("", "has no [[stage]]"),
        ("[", "not TOML"),
    ],
)
def test_bad_recipes(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(write(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_such_recipe() -> None:
    with pytest.raises(UserError, match=r"neither a file nor one of aki_4b, .*mma"):
        load_recipe("mme")


def test_mutual_pretraining_is_refused_unless_asked_for(tmp_path: Path) -> None:
    leak = STAGE.replace("sft", "pretrain")
    with pytest.raises(UserError, match="read the caption that is to be predicted"):
        load_recipe(write(tmp_path, leak))
    assert load_recipe(write(tmp_path, leak + "allow_mutual_pretraining = true\n")).stages[0].attention == "mma"
