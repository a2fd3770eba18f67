"""Recipes: every row of Table 1, Tables 3 and 4 to the letter, and errors that say what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.errors import UserError
from model import AkiConfig
from train.cost import Cost
from train.data.captions import FOLDERS
from train.data.instructions import SETS, TABLE_4
from train.plan import missing_parts, model_cost, special
from train.recipe import (
    Ema,
    Lora,
    ModelChoice,
    Recipe,
    ResamplerChoice,
    Stage,
    Validation,
    load_recipe,
    recipe_names,
)

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
PRETRAIN = STAGE.replace("sft", "pretrain").replace("mma", "causal")


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
        (STAGE + "stepz = 3\n", "recipe.toml: [[stage]] 'one': stepz is no setting that anything reads"),
        (STAGE.replace("mma", "mutual"), "attention is 'mutual', expected one of 'mma', 'causal', 'cca'"),
        (STAGE + 'steps = "10"\n', "recipe.toml: [[stage]] 'one': steps is '10', expected a valid integer"),
        (STAGE + "steps = 10.5\n", "steps is 10.5, expected a valid integer"),
        (STAGE + "steps = true\n", "steps is True, expected a valid integer"),
        (STAGE + "learning_rate = nan\n", "learning_rate is nan, expected a finite number"),
        (STAGE + "betas = [0.9, '0.99']\n", "betas.1 is '0.99', expected a valid number"),
        (STAGE + "betas = [0.9]\n", "betas.1 is missing"),
        (STAGE + "augmentation = 3\n", "augmentation is 3, expected 'none'"),
        ("[sft]\nsteps = '10'\n" + STAGE, "recipe.toml: [sft]: steps is '10', expected a valid integer"),
        ("[sft]\nstepz = 10\n", "recipe.toml: [sft]: stepz is no setting that stages of a kind share"),
        ("[pretrain]\nname = 'a'\n" + STAGE, "recipe.toml: [pretrain]: name is no setting that stages of a kind share"),
        ("sft = 3\n" + STAGE, "recipe.toml: sft is 3, expected a valid"),
        ("stage = 3\n", "recipe.toml: stage is 3, expected"),
        ("stage = ['one']\n", "stage.0 is 'one', expected a valid"),
        ("title = 3\n" + STAGE, "recipe.toml: title is 3, expected a valid string"),
        ("[model]\nquestion_end = '<|end|>'\n" + STAGE, "[model]: question_end is no setting that anything reads"),
        ("[model]\ngradient_checkpointing = true\n" + STAGE, "gradient_checkpointing is no setting that anything"),
        ("[model]\nnum_image_tokens = '144'\n" + STAGE, "recipe.toml: [model]: num_image_tokens is '144'"),
        ("[model.resampler]\ndepth = 3\n" + STAGE, "[model]: resampler.depth is no setting that anything reads"),
        ("[model.resampler]\nresampler_depth = 3.5\n" + STAGE, "resampler.resampler_depth is 3.5, expected a valid"),
        (STAGE.replace('"one"', '"../one"'), "[[stage]] '../one': name is '../one', expected"),
        (STAGE.replace('"one"', '".."'), "[[stage]] '..': name is '..', expected"),
        (STAGE.replace('"one"', '"a/b"'), "name is 'a/b', expected"),
        (STAGE + STAGE.replace("one", "One"), "two stages have the same name: ['one', 'One']"),
        (STAGE.replace('"sft"', "['sft']"), "kind is ['sft'], expected 'pretrain' or 'sft'"),
        (STAGE + "data = { kale = 1 }\n", "data names 'kale'; sets of a sft stage are vqav2"),
        (PRETRAIN + "data = { vqav2 = 1 }\n", "data names 'vqav2'; sets of a pretrain stage are kale, ocr"),
        (PRETRAIN + "data = { kale = 1, ocr = 1 }\n", "data names 2 caption sets, expected one a stage"),
        (STAGE + "data = {}\n", "data is "),
        (STAGE + "steps = 0\n", "steps is 0"),
        (STAGE + "learning_rate = 1e-9\n", "min_learning_rate 1e-06 is not between"),
        (STAGE + "data = { vqav2 = -1 }\n", "data.vqav2 is -1, expected greater than 0"),
        (STAGE + STAGE, "two stages have the same name"),
        (STAGE.replace("sft", "tuning"), "kind is 'tuning', expected 'pretrain' or 'sft'"),
        (STAGE + "compile = 1\n", "compile is 1, expected a valid boolean"),
        (
            STAGE + 'attention_backend = "flash_attention_2"\n',
            "attention_backend is 'flash_attention_2', expected 'eager'",
        ),
        (STAGE + "gradient_checkpointing = 'no'\n", "gradient_checkpointing is 'no', expected a valid boolean"),
        (STAGE + "validation = { samples = 3 }\n", "validation.every is missing"),
        (
            STAGE + "validation = { every = 10, share = 0.9 }\n",
            "validation.share is 0.9, expected less than or equal to",
        ),
        (STAGE + "validation = { every = 10, shares = 0.1 }\n", "validation.shares is no setting that anything reads"),
        ("colour = 1\n" + STAGE, "colour is no setting that anything reads"),
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


def test_a_fault_in_what_is_extended_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text("extends = 'paper.toml'\n[sft]\nsteps = '10'\n")
    (tmp_path / "top.toml").write_text("extends = 'base.toml'\n[sft]\nwarmup_steps = 3\n" + STAGE)
    with pytest.raises(UserError) as caught:
        load_recipe(str(tmp_path / "top.toml"))
    assert str(caught.value).startswith(f"{tmp_path / 'base.toml'}: [sft]: steps is '10'")


@pytest.mark.parametrize(("name", "base"), [("mine", "mma.toml"), ("mine", "mma"), ("mma", "mma.toml")])
def test_a_recipe_elsewhere_extends_ours(name: str, base: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.toml"
    path.write_text(f"extends = '{base}'\ntitle = 'Mine'\n[sft]\nsteps = 7\nbetas = [0.9, 0.95]\n")
    recipe = load_recipe(str(path))
    assert outline(recipe) == outline(load_recipe("mma"))
    assert (recipe.title, recipe.stages[1].steps, recipe.stages[1].betas) == ("Mine", 7, (0.9, 0.95))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": "extends = 'a.toml'"}, "a.toml: extends = 'a.toml' goes in a circle: a.toml"),
        ({"a": "extends = 'b.toml'", "b": "extends = 'a.toml'"}, "goes in a circle: a.toml -> b.toml"),
        ({"a": "extends = 'none.toml'"}, "extends = 'none.toml': neither a file in"),
        ({"a": "extends = 3"}, "extends is 3, expected the name of a recipe file"),
    ],
)
def test_extends_that_leads_nowhere(files: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
    with pytest.raises(UserError) as caught:
        load_recipe(str(tmp_path / "a.toml"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_of_the_resampler_reach_the_model(tmp_path: Path) -> None:
    path = write(tmp_path, "[model.resampler]\nresampler_depth = 2\nresampler_init = 'identity'\n" + STAGE)
    choice = load_recipe(path).model
    assert choice.resampler.settings() == {"resampler_depth": 2, "resampler_init": "identity"}
    whole = model_cost(load_recipe("mma").model)
    assert model_cost(choice).resampler < whole.resampler
    check_sizes(whole)


def check_sizes(cost: Cost) -> None:
    """Of AKI-4B, by hand: Phi-3.5's four layers, 32 times; bytes of what is trained and of what is only kept."""
    sides = (3072 + 9216) + (3072 + 3072) + (3072 + 16384) + (8192 + 3072)
    plain = Stage(**load_recipe("mma").stages[1].model_dump())
    adapted = plain.model_copy(update={"lora": Lora(rank=64), "ema": Ema()})
    assert cost.trained_by(adapted) - cost.resampler == 64 * 32 * sides
    assert cost.trained_by(adapted.model_copy(update={"lora": Lora(rank=2, layers=("o_proj",))})) == (
        cost.resampler + 2 * 32 * 6144
    )
    everything, trained = cost.trained + cost.vision, cost.trained_by(adapted)
    assert cost.bytes_a_device(plain, 8) == pytest.approx((4 * everything + 12 * cost.trained) / 8)
    assert cost.bytes_a_device(adapted, 8) == pytest.approx((4 * everything + 16 * trained) / 8)
    assert cost.checkpoint_bytes(plain) == 4 * everything + 8 * cost.trained
    assert cost.checkpoint_bytes(adapted) == 4 * everything + 16 * trained


def test_a_plan_says_what_is_special_about_a_stage(tmp_path: Path) -> None:
    assert [special(stage) for stage in load_recipe("mma").stages] == ["", ""]
    text = "validation = { every = 500 }\ncompile = true\nattention_backend = 'eager'\ngradient_checkpointing = false\n"
    (stage,) = load_recipe(write(tmp_path, STAGE + text)).stages
    assert special(stage) == (
        "loss every 500 steps on up to 256 held-out samples of each set (1.0% of the pictures); attention by eager; "
        "compiled layers; activations computed once"
    )


def test_every_setting_is_read_by_something() -> None:
    """A field that appears nowhere but in its declaration changes nothing."""
    train = Path(__file__).parents[1] / "train"
    code = "".join(path.read_text() for path in train.rglob("*.py"))
    for fields in (Stage.model_fields, ModelChoice.model_fields, Validation.model_fields):
        readers = "stage|choice|model|self|validation"
        assert [name for name in fields if not re.search(rf"({readers})\.{name}\b", code)] == []
    assert set(ResamplerChoice.model_fields) <= set(AkiConfig.__annotations__)


def test_a_plan_names_everything_that_is_missing_at_once(tmp_path: Path) -> None:
    """Both parts of the model, not the first; every broken shard, not the first."""
    recipe = load_recipe("mma")
    gone = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"vision": "no/tower", "text": "no/text"})}
    )
    shards = tmp_path / FOLDERS["kale"]
    shards.mkdir(parents=True)
    for name in ("00000.tar", "00001.tar"):
        (shards / name).write_bytes(b"no archive")
    said = list(missing_parts(gone, tmp_path))
    assert any(line.startswith("vision tower no/tower") for line in said)
    assert any(line.startswith("text backbone no/text") for line in said)
    assert {name for name in ("00000.tar", "00001.tar") if any(name in line for line in said)} == {
        "00000.tar",
        "00001.tar",
    }


@pytest.mark.parametrize("text", ["", 'title = "t"\n', "[model]\n"])
def test_a_recipe_cut_short_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "cut.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"cut\.toml: ") as refused:
        load_recipe(str(path))
    assert "\n" not in str(refused.value)
