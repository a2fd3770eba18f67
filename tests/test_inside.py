"""`aki-eval inspect --data`: probes find what is there and nothing else, on data that say what is asked about."""

from __future__ import annotations

import json
from pathlib import Path

import model_helpers
import numpy as np
import pytest
from model_helpers import picture
from record_helpers import record
from reports_helpers import edit_json
from scored_run_helpers import scores, write_scored_run

from aki_eval.commands.inspect_ import command
from aki_eval.inside import look_inside
from aki_eval.predictors.aki import AkiPredictor
from benchmarks.asked_about import AskedAbout, checksum, read_questions
from benchmarks.errors import UserError
from benchmarks.linear_probe import (
    MOST_FEATURES,
    classes,
    knowing_the_picture,
    knowing_the_words,
    probe,
    shuffled,
    sketch,
)
from benchmarks.records import ImageRef
from benchmarks.results.inside import ArmInside, InsideRecord, ProbedProperty, read_inside, write_inside
from reports.cli import make_plan
from reports.formats import Output, produce
from reports.inside_tables import inside_tables, pair_table
from reports.laboratory import laboratory_tables

# -- the probe --------------------------------------------------------------------------------------------------------


def test_a_probe_finds_what_is_there_and_nothing_where_labels_are_shuffled() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 3, 400)
    features = rng.normal(size=(400, 30))
    features[:, :3] += 3 * np.eye(3)[numbers]
    features[:, 29] = 7.0  # constant: no direction
    groups = [str(place // 2) for place in range(300)]
    found, control = probe(features[:300], groups, features[300:], [numbers[:300], shuffled(numbers[:300])])
    assert (found == numbers[300:]).mean() > 0.9
    assert (control == numbers[300:]).mean() < 0.5
    (nothing,) = probe(np.zeros((300, 4)), groups, np.zeros((100, 4)), [numbers[:300]])
    assert set(nothing) == {np.bincount(numbers[:300]).argmax()}  # the commonest


def test_the_probes_strength_is_chosen_on_whole_groups() -> None:
    """Each group has a direction and a label of its own: who splits groups takes memory for knowledge, and shrinks too
    little; with whole groups the strongest ridge is as good as any, and is taken."""
    rng = np.random.default_rng(1)
    labels = np.repeat(rng.integers(0, 2, 60), 5)
    features = np.repeat(rng.normal(size=(60, 80)), 5, axis=0)
    groups = [str(place // 5) for place in range(300)]
    others = rng.normal(size=(400, 80))
    (found,) = probe(features, groups, others, [labels])
    assert 0.35 < found.mean() < 0.65


def test_what_is_known_without_the_image_tokens() -> None:
    labels, pictures = ["left", "right", "left", "top"], ["a", "a", "b", "b"]
    assert knowing_the_picture(labels, pictures).tolist() == [0.5] * 4
    assert knowing_the_picture(["left", "left", "top"], ["a", "a", "b"]).tolist() == [1, 1, 1]
    fit = [("the dog?", "left"), ("the dog?", "left"), ("the cat?", "top"), ("the dog?", "top")]
    assert knowing_the_words(fit, [("the dog?", "left"), ("the cat?", "left"), ("new?", "top")]).tolist() == [
        True,
        False,
        False,
    ]
    assert classes(["b", "a", "b"])[1].tolist() == [1, 0, 1]


def test_a_sketch_is_linear_and_keeps_what_fits() -> None:
    rng = np.random.default_rng(0)
    small = rng.normal(size=(4, 8)).astype(np.float32)
    assert (sketch(small) == small.reshape(-1)).all()
    one, other = rng.normal(size=(2, 30, 200)).astype(np.float32)
    assert sketch(one).shape == (MOST_FEATURES,)
    assert np.allclose(sketch(one + 2 * other), sketch(one) + 2 * sketch(other), atol=1e-4)
    lengths = np.linalg.norm(sketch(one)), np.linalg.norm(one)
    assert lengths[0] == pytest.approx(lengths[1], rel=0.1)


# -- the questions ----------------------------------------------------------------------------------------------------


def test_every_thing_of_a_toy_picture_is_asked_about_once() -> None:
    questions = read_questions("toy", 12)
    pictures = {side: {q.image.key for q in questions if q.side == side} for side in ("fit", "test")}
    assert [len(found) for found in pictures.values()] == [12, 6]
    assert not pictures["fit"] & pictures["test"]
    assert checksum(questions) == checksum(read_questions("toy", 12))
    kept = read_questions("toy-test", 12)
    assert [q for q in kept if q.side == "fit"] == [q for q in questions if q.side == "fit"]
    assert {q.index for q in kept if q.side == "test"} != {q.index for q in questions if q.side == "test"}
    for key in pictures["fit"] | pictures["test"]:
        own = [q for q in questions if q.image.key == key]
        assert len(own) > 1
        assert len({q.asked["place"] for q in own}) == len(own)  # so the picture alone is right once a picture
        for q in own:
            assert f"the {q.asked['color']} {q.asked['shape']}" in q.question
            assert q.question in q.prompt


def write_questions(folder: Path, num: int = 12) -> Path:
    """Two questions a picture, about what is left and what is right."""
    lines = []
    for place in range(num):
        picture(20, 20, seed=place).save(folder / f"{place}.png")
        for side in ("left", "right"):
            asked = {"image": f"{place}.png", "question": f"what is on the {side}?", "asked": {"side": side}}
            lines.append(json.dumps(asked | {"split": "test" if place % 3 == 2 else "fit"}))
    path = folder / "asked.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_questions_of_a_file(tmp_path: Path) -> None:
    path = write_questions(tmp_path)
    questions = read_questions(str(path), 4)
    assert [q.side for q in questions] == ["fit", "fit", "fit", "fit", "test", "test"] + ["fit"] * 4 + ["test"] * 2
    assert questions[0].image.decode().size == (20, 20)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 3 is not JSON"),
        ("[]", "line 3 is a list, expected an object"),
        ('{"image": "0.png", "question": "what?"}', "does not say which object the question is about"),
        ('{"image": "0.png", "question": "what?", "asked": {}}', "does not say which object"),
        ('{"image": "0.png", "question": "what?", "asked": {"side": 3}}', "does not say which object"),
        ('{"image": "0.png", "question": "", "asked": {"side": "left"}}', "question is ''"),
        ('{"image": "none.png", "question": "what?", "asked": {"side": "left"}}', "no picture"),
        ('{"image": "1.png", "question": "what?", "asked": {"name": "cup"}, "split": "fit"}', "same properties"),
        ('{"image": "0.png", "question": "what?", "asked": {"side": "left"}, "split": "test"}', "on both sides"),
        ('{"image": "0.png", "question": "what?", "asked": {"side": "left"}, "split": "dev"}', "split is 'dev'"),
    ],
)
def test_a_damaged_file_is_one_line(line: str, said: str, tmp_path: Path) -> None:
    path = write_questions(tmp_path)
    path.write_text("\n".join([*path.read_text().splitlines()[:2], line]) + "\n")
    with pytest.raises(UserError, match=said) as caught:
        read_questions(str(path), 4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["official", "pope", "", "/nowhere/asked.jsonl"])
def test_data_that_name_no_object_are_refused(source: str) -> None:
    with pytest.raises(UserError, match=r"--data"):
        read_questions(source, 10)


# -- the model --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    for kind in ("mma", "causal"):
        processor = model_helpers.processor()
        model_helpers.model_for(processor, attention=kind).save_pretrained(root / kind)
        processor.save_pretrained(root / kind)
    return {"mma": root / "mma", "causal": root / "causal"}


@pytest.fixture(scope="module")
def records(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, InsideRecord]:
    """Random models, which mix what they see."""
    questions = read_questions(str(write_questions(tmp_path_factory.mktemp("asked"), 24)), 100)
    return {
        name: look_inside(AkiPredictor(folder, device="cpu"), questions, "asked.jsonl")
        for name, folder in folders.items()
    }


def test_a_causal_models_image_tokens_know_nothing_of_the_question(records: dict[str, InsideRecord]) -> None:
    """The check of the instrument: every probe is at what the picture alone allows, at every layer, and not beyond."""
    (found,) = records["causal"].properties
    assert [sum(row) / len(row) for row in found.right] == [0.5, 0.5, 0.5]
    assert all(share == 0 for row in records["causal"].image_to_question for share in row)
    assert all(change is not None and change < 1e-5 for row in records["causal"].change for change in row)
    seen = ArmInside("causal", {0: records["causal"]})
    for layer in range(3):
        over = seen.over_picture("side", layer)
        assert over is not None
        assert over.value == 0


def test_a_mutual_models_image_tokens_know_it_behind_the_first_layer(records: dict[str, InsideRecord]) -> None:
    (found,) = records["mma"].properties
    shares = [sum(row) / len(row) for row in found.right]
    assert shares[0] == 0.5  # what comes into the first layer has seen no word
    assert max(shares[1:]) > 0.65  # eight draws of the weights, other versions of torch are more: 0.69 to 0.94
    assert all(sum(row) / len(row) < 0.8 for row in found.shuffled)
    assert found.words_alone == [1] * len(found.labels)
    assert min(min(row) for row in records["mma"].image_to_question) > 0
    assert min(change for row in records["mma"].change for change in row if change is not None) > 1e-3
    assert records["mma"].layers == ["mma", "mma"]


def test_the_command_writes_numbers_and_figures_and_prints_tables(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_questions(tmp_path, 6)
    out = tmp_path / "out"
    command(str(folders["mma"]), data=str(path), out=out, device="cpu", attention="causal", pictures=10)
    figures = {f"{name}.{kind}" for name in ("probes", "by_layer") for kind in ("png", "svg", "pdf")}
    assert {each.name for each in out.iterdir()} == figures | {"layers.json"}
    text = capsys.readouterr().out
    assert "The side of the object asked about" in text
    assert "50.0 by the picture alone, 100.0 by the question's" in text
    content = json.loads((out / "layers.json").read_text())
    assert (content["model"]["attention"], content["model"]["trained_attention"]) == ("causal", "mma")


def test_one_picture_or_data(folders: dict[str, Path], tmp_path: Path) -> None:
    model = str(folders["mma"])
    picture(20, 20).save(tmp_path / "p.png")
    with pytest.raises(UserError, match=r"--prompt is about one picture, --data about many"):
        command(model, data="toy", prompt="what?", out=tmp_path, device="cpu")
    with pytest.raises(UserError, match=r"--image is missing: give a picture and a question, or --data toy"):
        command(model, prompt="what?", out=tmp_path, device="cpu")
    with pytest.raises(UserError, match=r"--prompt is missing"):
        command(model, image=tmp_path / "p.png", out=tmp_path, device="cpu")


def test_a_property_with_one_value_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    picture(20, 20).save(tmp_path / "p.png")
    same = [
        AskedAbout(
            index=str(number),
            image=ImageRef(str(number), (tmp_path / "p.png").read_bytes),
            prompt="what?",
            question="what?",
            asked={"side": "left"},
            side=side,  # type: ignore[arg-type]
        )
        for number, side in enumerate(("fit", "fit", "test", "test"))
    ]
    with pytest.raises(UserError, match="there is nothing to tell apart"):
        look_inside(AkiPredictor(folders["mma"], device="cpu"), same, "same")


# -- the report -------------------------------------------------------------------------------------------------------


def made_record(right: float, *, seed: int = 0, data: str = "d" * 64) -> InsideRecord:
    """Twenty pictures with two questions each; behind layer 1 a share of them is right."""
    pictures = [str(place // 2) for place in range(40)]
    rows = [[place % 2 for place in range(40)], [int((7 * place + seed) % 20 < 20 * right) for place in range(40)]]
    own = ProbedProperty(
        name="place",
        num_classes=4,
        labels=["left", "right"] * 20,
        right=rows,
        shuffled=rows[:1] * 2,
        words_alone=[0] * 40,
    )
    return InsideRecord(
        format=1,
        model={"name": "m", "attention": "mma", "trained_attention": "mma"},
        data="toy",
        data_sha256=data,
        num_fitted=80,
        layers=["mma"],
        pictures=pictures,
        properties=[own],
        image_to_question=[[0.2] * 40],
        image_to_image=[[0.3] * 40],
        change=[[None if place == 3 else 1.2 for place in range(40)]],
    )


def test_arms_stand_side_by_side_and_are_paired(tmp_path: Path) -> None:
    much = ArmInside("mma", {seed: made_record(0.95 - 0.05 * (seed % 2), seed=seed) for seed in range(5)})
    little = ArmInside("causal", {seed: made_record(0.5, seed=seed + 2) for seed in range(5)})
    probes, attention = inside_tables([little, much])
    assert [row.section for row in probes.rows] == ["causal"] * 2 + ["mma"] * 2
    _, behind_little, _, behind_much = (row.cells for row in probes.rows)
    assert behind_much[1].significant
    assert not behind_little[1].significant
    assert behind_much[0].seed_ci95 is not None
    assert attention.rows[0].cells[2].value == pytest.approx(120)
    assert attention.rows[0].cells[0].ci95 == pytest.approx((20, 20))
    pairs = pair_table([little, much], little)
    assert pairs is not None
    assert [column.label for column in pairs.columns] == ["mma"]
    first, second = pairs.rows
    assert first.cells[0].value == 0
    assert second.cells[0].significant
    other = ArmInside("other", {0: made_record(0.9, data="e" * 64)})
    assert pair_table([little, other], little) is None


def test_a_report_of_runs_that_somebody_looked_into(tmp_path: Path) -> None:
    for name, right in (("mma-seed0", 0.95), ("mma-seed1", 0.9), ("it_it-seed0", 0.5), ("it_it-seed1", 0.5)):
        run = write_scored_run(tmp_path / name, {"pope": scores([1.0, 0.0, 1.0, 1.0])})
        seed = int(name[-1])
        edit_json(run / "run.json", model=record(name)["model"] | {"training_seed": seed})
        write_inside(run / "inside", made_record(right, seed=seed))
    between = Path("\x1f")
    groups = [
        tmp_path / "it_it-seed0",
        tmp_path / "it_it-seed1",
        between,
        tmp_path / "mma-seed0",
        tmp_path / "mma-seed1",
    ]
    plan = make_plan(groups, None, "aki_4b")
    titles = [table.title for table in laboratory_tables(plan)]
    assert "The place of the object asked about, at the image tokens (per cent right)" in titles
    produce("html", [], plan, Output(tmp_path / "report", "none"))
    page = (tmp_path / "report" / "html" / "inside.html").read_text()
    assert 'aria-label="place of the object asked about, per cent by layer from 0 to 1: it_it (2 seeds) 50.0' in page
    assert "Probes minus those of it_it (2 seeds)" in page
    assert 'href="inside.html"' in (tmp_path / "report" / "html" / "index.html").read_text()
    (tmp_path / "mma-seed1" / "inside" / "layers.json").unlink()
    other = write_inside(tmp_path / "mma-seed1" / "inside", made_record(0.5))
    edit_json(
        tmp_path / "mma-seed1" / "run.json", model=record("m")["model"] | {"training_seed": 1, "attention": "v2v"}
    )
    remarks = [line for table in laboratory_tables(make_plan(groups, None, "aki_4b")) for line in table.remarks]
    assert "mma-seed1 is left out: what lies in its folder is of other weights, or of another mask." in remarks
    other.unlink()
    remarks = [line for table in laboratory_tables(make_plan(groups, None, "aki_4b")) for line in table.remarks]
    assert "mma-seed1 is left out: nobody looked inside." in remarks


def test_a_damaged_record_is_one_line(tmp_path: Path) -> None:
    assert read_inside(tmp_path) is None
    path = write_inside(tmp_path / "inside", made_record(0.5))
    assert read_inside(tmp_path) == made_record(0.5)
    path.write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_inside(tmp_path)
    path.write_text(json.dumps(made_record(0.5).model_dump() | {"pictures": ["0"]}))
    with pytest.raises(UserError, match="not as many as its pictures and layers"):
        read_inside(tmp_path)
    path.write_text(json.dumps(made_record(0.5).model_dump() | {"format": 2}))
    with pytest.raises(UserError, match="not as aki-eval inspect --data writes it"):
        read_inside(tmp_path)
