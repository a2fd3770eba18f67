"""Probes: pure, seeded, with the target where it went; runs of their own that are never mixed with others."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from markupsafe import escape
from PIL import Image, ImageStat
from reports_helpers import plan
from run_helpers import TASK, ScriptedPredictor, prompt, write_table

from aki_eval.commands.compare import _answered_blind
from aki_eval.commands.compare import command as compare_command
from aki_eval.commands.probes import command as probes_command
from aki_eval.commands.score import score
from aki_eval.run.inputs import TaskInput, load
from aki_eval.run.probing import find_probes, probe_of
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from aki_eval.run.score import JudgeOptions
from aki_eval.run.subset import Subset
from benchmarks.choice import strict
from benchmarks.errors import UserError
from benchmarks.paired_tests import holm
from benchmarks.probes import PROBES, base_index
from benchmarks.probes.options import labels_of, num_rolling, read_back, rolled
from benchmarks.probes.pictures import blank_picture, blurred, damaged, exchange, noised, occluded, without_pictures
from benchmarks.probes.wording import SECOND
from benchmarks.records import ImageRef, Prediction, Prompt, Sample
from benchmarks.results.baseline import open_baseline, write_baseline
from benchmarks.results.comparison import compare
from benchmarks.results.folder import open_run
from benchmarks.results.gate import decide
from benchmarks.results.gate_policy import DEFAULT, read_policy
from benchmarks.results.looking import Looks, looks, open_probes
from benchmarks.results.probes import not_its_own, probe_folder
from benchmarks.tasks import TASKS
from reports.links import samples_link
from reports.pages import write_site

CHOICE_TASKS = ("seed_image", "mmmu", "mathvista", "real_world_qa", "cv_bench")


def probed(probe: str | None, task: str, style: str = "aki") -> TaskInput:
    rule = PROBES[probe] if probe else None
    (given,) = load([TASKS[task]], "toy", style, None, probe=rule)  # type: ignore[arg-type]
    return given


def parts(given: TaskInput) -> list[tuple[str, ...]]:
    return [tuple(part if isinstance(part, str) else part.key for part in each.parts) for each in given.prompts]


def choice_sample(*options: str, target: str = "B", question: str = "Which?", **cells: str) -> Sample:
    choices = dict(zip("ABCDEFGH", options, strict=False))
    row = {"index": "7", "question": question, "answer": target, **choices, **cells}
    return Sample(index="7", images=(), question=question, target=target, choices=choices, cluster="7", row=row)


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_is_a_function_of_what_it_is_given(name: str) -> None:
    task = "seed_image"
    once, again = probed(name, task), probed(name, task)
    assert parts(once) == parts(again)
    assert parts(once) != parts(probed(None, task))
    assert [sample.index for sample in once.samples] == [each.index for each in once.prompts]
    assert len({sample.index for sample in once.samples}) == len(once.samples)


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("task", TASKS)
def test_what_is_not_asked_is_said(name: str, task: str) -> None:
    """Every question is asked, or there is a reason; none is asked as it always was."""
    if PROBES[name].why_not(TASKS[task]):
        assert load([TASKS[task]], "toy", "aki", None, probe=PROBES[name]) == []
        return
    plain, given = probed(None, task), probed(name, task)
    asked = {base_index(sample.index) for sample in given.samples}
    assert len(asked) + sum(given.left_out.values()) == len(plain.samples)
    unrolled = [each for each in given.prompts if base_index(each.index) == each.index]
    same = [each.index for each in unrolled if each.parts == given.unprobed[each.index].parts]
    assert same == [] if name != "shuffle_options" else len(same) == len(asked)


def test_which_tasks_a_probe_of_options_asks() -> None:
    assert [name for name, task in TASKS.items() if not PROBES["shuffle_options"].why_not(task)] == [*CHOICE_TASKS]
    assert "itself" in str(PROBES["shuffle_options"].why_not(TASKS["mmbench"]))
    assert PROBES["letters"].why_not(TASKS["mmbench"]) is None


@pytest.mark.parametrize("task", TASKS)
def test_no_question_gets_a_picture_of_its_own(task: str) -> None:
    """And every cluster's pictures are given to exactly one other."""
    plain, wrong = probed(None, task), probed("wrong_image", task)
    own: dict[str, set[str]] = {}
    for sample in plain.samples:
        own.setdefault(sample.cluster, set()).update(image.key for image in sample.images)
    for sample, asked in zip(wrong.samples, wrong.prompts, strict=True):
        assert own[sample.cluster].isdisjoint(image.key for image in asked.images)
    given = exchange(plain.samples)
    assert sorted(given) == sorted(own)
    first = {sample.cluster: sample.images for sample in reversed(plain.samples)}
    assert sorted(map(keys, given.values())) == sorted(map(keys, first.values()))


def keys(images: Sequence[ImageRef]) -> list[str]:
    return [image.key for image in images]


def test_one_picture_for_all_cannot_be_exchanged() -> None:
    image = ImageRef("only", bytes)
    samples = [replace(choice_sample("a", "b"), images=(image,), cluster=str(number)) for number in range(3)]
    assert exchange(samples) == {}


@pytest.mark.parametrize("style", ["aki", "vlmevalkit"])
@pytest.mark.parametrize("task", CHOICE_TASKS)
def test_the_target_follows_the_options(task: str, style: str) -> None:
    """The text that is right stays right, stands in every place once, and prompts show what scores are read by."""
    plain, given = probed(None, task, style), probed("shuffle_options", task, style)
    right = {sample.index: sample.choices.get(sample.target) for sample in plain.samples}
    places: dict[str, list[str]] = {}
    for sample, asked in zip(given.samples, given.prompts, strict=True):
        assert sample.choices[sample.target] == right[base_index(sample.index)]
        places.setdefault(base_index(sample.index), []).append(sample.target)
        for letter, text in sample.choices.items():
            if "<image" not in text:
                assert f"{letter}. {text}\n" in asked.text or f"({letter}) {text}" in asked.text
    assert all(len(set(found)) == len(found) > 1 for found in places.values())


def test_rolled_rows_are_scored_by_the_kit_as_they_are_shown() -> None:
    """MathVista's rule reads the table's cells, not the sample's."""
    given = probed("shuffle_options", "mathvista")
    for protocol in ("kit", "strict"):
        answers = [Prediction(index=each.index, prompt="", text=each.target) for each in given.samples]
        scores = TASKS["mathvista"].protocols[protocol].score(given.samples, answers, None)
        assert {each.value for each in scores} == {1.0}
    moved = next(each for each in given.samples if "#roll1" in each.index)
    other = next(letter for letter in moved.choices if letter != moved.target)
    answers = [Prediction(index=moved.index, prompt="", text=other)]
    assert TASKS["mathvista"].protocols["kit"].score([moved], answers, None)[0].value == 0.0


@pytest.mark.parametrize(
    ("options", "moving"),
    [
        (("cat", "dog", "horse"), 3),
        (("cat", "dog", "None of the above"), 2),
        (("cat", "dog", "Both of the above", "none of these"), 2),
        (("All of the above", "cat", "dog"), None),
        (("cat", "dog", "A and B"), None),
        (("cat", "Both A and B", "dog"), None),
        (("A cat", "A dog"), 2),
        (("above", "below", "left of", "right of"), 4),
        (("on both sides", "none of the cars"), 2),
        (("left", "right", "both", "neither"), 2),
        (("vitamin A", "vitamin B"), 2),
    ],
)
def test_options_that_speak_of_others_stay(options: tuple[str, ...], moving: int | None) -> None:
    assert num_rolling(choice_sample(*options)) == moving


def test_a_roll_moves_what_the_question_shows() -> None:
    sample = choice_sample(
        "cat", "dog", "cow", question="Which?\n(A) cat\n(B) dog\n(C) cow", prompt="?\n(A) cat\n(B) dog\n(C) cow\n"
    )
    roll = rolled(sample, 1, 3)
    assert roll.question == "Which?\n(A) cow\n(B) cat\n(C) dog"
    assert (roll.row["prompt"], roll.target, roll.row["answer"]) == ("?\n(A) cow\n(B) cat\n(C) dog\n", "C", "C")
    assert [roll.row[letter] for letter in "ABC"] == ["cow", "cat", "dog"]
    with pytest.raises(ValueError, match="form"):
        rolled(replace(sample, question="Which?\n(A) cat; (B) dog; (C) cow"), 1, 3)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("2", "B"),
        ("(2)", "B"),
        ("2. dog", "B. dog"),
        ("The answer is 3.", "C"),
        ("dog", "dog"),
        ("B", "?"),
        ("B. dog", "?"),
        ("A dog is shown", "A dog is shown"),
        ("4", "4"),
        ("12", "12"),
    ],
)
def test_labels_are_read_back(said: str, read: str) -> None:
    sample = choice_sample("cat", "dog", "cow")
    found = read_back(sample, Prediction(index="7", prompt="", text=said)).text
    assert found == read
    if read == "?":
        assert strict(sample, read)[1] is None


def test_numbers_as_options_get_words_as_labels() -> None:
    sample = choice_sample("1", "2", "3")
    assert labels_of(sample) == {"A": "first", "B": "second", "C": "third"}
    assert read_back(sample, Prediction(index="7", prompt="", text="Second")).text == "B"
    assert read_back(sample, Prediction(index="7", prompt="", text="2")).text == "2"
    given = probed("letters", "mathvista")
    assert all("letter" not in each.text for each in given.prompts)


def test_pictures_lose_what_is_documented() -> None:
    image = Image.linear_gradient("L").resize((448, 224)).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    ref = ImageRef("gradient", buffer.getvalue)
    noisy = damaged(ref, "noise", noised)
    assert noisy.key != ref.key
    assert noisy.read() == noisy.read() != damaged(replace(ref, key="other"), "noise", noised).read()
    difference = [a - b for a, b in zip(noisy.decode().tobytes(), image.tobytes(), strict=True) if 96 < b < 160]
    assert 0.15 * 255 < (sum(each**2 for each in difference) / len(difference)) ** 0.5 < 0.2 * 255
    covered = damaged(ref, "occlude", occluded).decode()
    colors = {color: count for count, color in covered.getcolors(2**20) or ()}
    assert colors[(128, 128, 128)] == pytest.approx(448 * 224 / 4, rel=0.02)
    edge = Image.new("RGB", (448, 224))
    edge.paste((255, 255, 255), (224, 0, 448, 224))
    soft = damaged(replace(ref, read=lambda: png(edge)), "blur", blurred).decode()
    widths = [soft.getpixel((224 + offset, 112))[0] / 255 for offset in (-3, 3)]  # type: ignore[index]
    assert widths == pytest.approx([0.16, 0.84], abs=0.08)  # one standard deviation from the edge
    assert ImageStat.Stat(blank_picture().decode()).stddev == [0, 0, 0]


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_without_its_picture_a_prompt_begins_with_its_words() -> None:
    image = ImageRef("x", bytes)
    assert without_pictures(Prompt("0", (image, "\nWhat?"))).parts == ("What?",)
    assert without_pictures(Prompt("0", ("See\n", image, "\nWhat?"))).parts == ("See\n", "\nWhat?")


def test_there_is_a_second_wording_for_every_task() -> None:
    assert set(SECOND) == set(TASKS)


# Runs


def evaluate(
    out: Path, data: Path, probe: str | None = None, predictor: ScriptedPredictor | None = None, **options: object
) -> ScriptedPredictor:
    predictor = predictor or ScriptedPredictor()
    rule = PROBES[probe] if probe else None
    where = probe_folder(out, probe) if probe else out
    given = {"tasks": [TASK], "judge": JudgeOptions(name="none"), **options}
    run(RunOptions(data=str(data), out=where, probe=rule, **given), predictor, Progress(quiet=True))  # type: ignore[arg-type]
    return predictor


def test_a_probe_is_a_run_inside_the_run(tmp_path: Path) -> None:
    data, out = write_table(tmp_path / "data"), tmp_path / "run"
    evaluate(out, data)
    blind = evaluate(out, data, "no_image")
    assert len(blind.asked) == 12
    record = json.loads((out / "probes" / "no_image" / "run.json").read_text("utf-8"))
    assert record["probe"]["name"] == "no_image"
    assert json.loads((out / "run.json").read_text("utf-8"))["probe"] is None
    lines = (out / "probes/no_image/small/predictions.jsonl").read_text("utf-8").splitlines()
    assert {json.loads(line)["prompt"] for line in lines} == {f"<user>Question {number}?" for number in range(12)}
    assert evaluate(out, data, "no_image").asked == []  # resumed


def test_a_probe_is_another_run(tmp_path: Path) -> None:
    data, out = write_table(tmp_path / "data"), tmp_path / "run"
    evaluate(out, data)
    with pytest.raises(UserError, match="probe was none and would now be"):
        run(
            RunOptions(tasks=[TASK], data=str(data), out=out, probe=PROBES["blank"]),
            ScriptedPredictor(),
            Progress(quiet=True),
        )


def test_equal_prompts_are_asked_once(tmp_path: Path) -> None:
    """Blank pictures are one picture: questions of the same words are one question."""
    data, out = tmp_path / "data", tmp_path / "run"
    write_table(data)
    text = (data / "SMALL.tsv").read_text("utf-8")
    for number in range(12):
        text = text.replace(f"Question {number}?", f"Question {number % 3}?")
    (data / "SMALL.tsv").write_text(text, "utf-8")
    asked = evaluate(out, data, "blank", ScriptedPredictor(lambda prompt: prompt.text)).asked
    assert len(asked) == 3
    lines = (out / "probes/blank/small/predictions.jsonl").read_text("utf-8").splitlines()
    assert sorted(int(json.loads(line)["index"]) for line in lines) == list(range(12))


def test_what_was_asked_already_is_taken_over(tmp_path: Path) -> None:
    out = tmp_path / "run"
    tasks = {"tasks": [TASKS["real_world_qa"]], "subset": Subset(size=12)}
    evaluate(out, Path("toy"), **tasks)  # type: ignore[arg-type]
    plain = open_run(out).predictions("real_world_qa")
    asked = evaluate(out, Path("toy"), "shuffle_options", **tasks).asked  # type: ignore[arg-type]
    found = open_run(probe_folder(out, "shuffle_options")).predictions("real_world_qa")
    assert asked
    assert all("#roll" in index for index in asked)
    assert {found[index].text for index in plain if index in found} <= {each.text for each in plain.values()}
    other = ScriptedPredictor()
    other.version = "2"  # another model: nothing is taken over from the first
    run(
        RunOptions(data="toy", out=out / "probes/letters", probe=PROBES["shuffle_options"], **tasks),  # type: ignore[arg-type]
        other,
        Progress(quiet=True),
    )
    assert any("#roll" not in index for index in other.asked)


def test_scoring_again_knows_the_probe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    tasks = {"tasks": [TASKS["real_world_qa"]], "subset": Subset(size=12)}
    evaluate(out, Path("toy"), "shuffle_options", ScriptedPredictor(lambda prompt: "A"), **tasks)  # type: ignore[arg-type]
    folder = probe_folder(out, "shuffle_options")
    before = (folder / "real_world_qa" / "scores.jsonl").read_bytes()
    assert score(folder) == 0
    assert (folder / "real_world_qa" / "scores.jsonl").read_bytes() == before
    record = open_run(folder).record
    assert record is not None
    assert record.probe is not None
    changed = record.model_copy(update={"probe": record.probe.model_copy(update={"does": "something else"})})
    with pytest.raises(UserError, match="now means"):
        probe_of(changed)


def test_probes_are_never_compared_with_runs(tmp_path: Path) -> None:
    out = tmp_path / "run"
    tasks = {"tasks": [TASKS["real_world_qa"]], "subset": Subset(size=12)}
    for probe in (None, "blank"):
        evaluate(out, Path("toy"), probe, **tasks)  # type: ignore[arg-type]
    plain, blind = open_run(out), open_run(probe_folder(out, "blank"))
    assert blind.label == "run (blank)"
    assert not_its_own(plain.record, blind.record) is None  # type: ignore[arg-type]
    for different in ("refuse", "allow"):
        with pytest.raises(UserError, match="never compared"):
            compare(plain, blind, different=different)  # type: ignore[arg-type]
    assert list(compare(plain, blind, different="leave_out").left_out) == ["real_world_qa"]
    write_baseline(blind, tmp_path / "baseline.json")
    assert open_baseline(tmp_path / "baseline.json").probe == "blank"
    with pytest.raises(UserError, match="never compared"):
        decide(plain, open_baseline(tmp_path / "baseline.json"), read_policy(DEFAULT), allowed=True)


def test_a_run_lies_in_no_run_but_in_its_place(tmp_path: Path) -> None:
    data, out = write_table(tmp_path / "data"), tmp_path / "run"
    evaluate(out, data)
    for place in ("inner", "probes", "probes/deeper/no_image"):
        with pytest.raises(UserError, match="lies inside the run folder"):
            run(RunOptions(tasks=[TASK], data=str(data), out=out / place), ScriptedPredictor(), Progress(quiet=True))


def test_names_of_probes() -> None:
    assert [rule.name for rule in find_probes(["blur,no_image", "blur"])] == ["no_image", "blur"]
    assert [rule.name for rule in find_probes(["all"])] == list(PROBES)
    with pytest.raises(UserError, match="no_picture"):
        find_probes(["no_picture"])
    assert prompt("0").images == ()


# What they say


def by_prior(prompt: Prompt) -> str:
    """A blind answerer: the words alone decide, and of them only those of the question and its options."""
    if "Options:\n" in prompt.text:
        return "B"
    return "Yes" if len(prompt.text.replace("<image>", "").strip()) % 3 else "No"


@pytest.fixture(scope="module")
def blind_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a blind predictor on four of the toy's tasks, with probes."""
    out = tmp_path_factory.mktemp("blind") / "run"
    predictor = ScriptedPredictor(by_prior)
    tasks = [TASKS[name] for name in ("mme", "mmbench", "seed_image", "pope")]
    for probe in (None, "no_image", "blank", "wrong_image", "shuffle_options", "occlude"):
        evaluate(out, Path("toy"), probe, predictor, tasks=tasks)
    return out


@pytest.fixture(scope="module")
def blind_looks(blind_run: Path) -> Looks:
    return looks(open_probes(open_run(blind_run)))


def test_who_does_not_look_gains_nothing(blind_run: Path, blind_looks: Looks) -> None:
    """The truth about the blind: not a single answer moves without the picture, or with another."""
    found = blind_looks
    assert [column.label for column in found.columns] == ["MME-P", "MME-C", "MMB", "SEED-I", "POPE"]
    for column in found.columns:
        assert column.gain is not None
        assert (column.gain.difference, column.gain.p, column.gain.significant) == (0.0, 1.0, False)
        assert column.gain.a == column.gain.b
        for name in ("blank", "wrong_image", "occlude"):
            assert column.effects[name].difference == 0.0
    wrong = {task: found.num_questions[task] - len(found.blind[task]) for task in found.blind}
    right = {
        task: sum(score.value == 1 for score in open_run(blind_run).scores(task, "kit"))
        for task in ("seed_image", "pope")
    }
    assert {task: len(found.blind[task]) for task in right} == right
    assert all(wrong.values())


def test_who_always_says_b_is_right_in_no_question_in_all_orders(blind_looks: Looks) -> None:
    found = {column.label: column for column in blind_looks.columns}
    seed, bench = found["SEED-I"].consistency, found["MMB"].consistency
    assert seed is not None
    assert bench is not None
    assert seed.b == bench.b == 0.0
    options = [len(each.choices) for each in probed(None, "seed_image").samples]
    assert seed.a == pytest.approx(100 * sum(1 / number for number in options) / len(options))
    assert seed.p is not None
    assert seed.p < 1e-6
    assert found["POPE"].consistency is None
    assert "no options" in found["POPE"].why_not["shuffle_options"]


def test_only_where_looking_matters(blind_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On what the blind cannot answer blind, the blind scores nothing: a seeing model's lead is all of its score."""
    other = tmp_path / "seeing"
    task = TASKS["pope"]
    right = {sample.index: sample.target for sample in probed(None, "pope").samples}
    seeing = ScriptedPredictor(lambda prompt: right[prompt.index] if prompt.images else "No")
    for probe in (None, "no_image"):
        evaluate(other, Path("toy"), probe, seeing, tasks=[task])
    both = [open_run(blind_run), open_run(other)]
    without = _answered_blind(both)
    compared = compare(*both, without=without).of_task("pope")["accuracy"]
    assert compared.a == 0.0
    assert compared.b == 100.0
    assert compared.num_pairs == len(right) - len(without["pope"])
    assert compared.num_pairs > 20
    assert compared.num_left_out == 0
    compare_command([blind_run, other], only="needs-picture")
    assert "left out" in capsys.readouterr().err
    plain = tmp_path / "plain"
    evaluate(plain, Path("toy"), None, seeing, tasks=[task])
    with pytest.raises(UserError, match="not asked without the picture"):
        compare_command([blind_run, plain], only="needs-picture")


def test_gains_are_one_family(blind_looks: Looks) -> None:
    columns = blind_looks.columns
    consistency = [column.consistency for column in columns if column.consistency]
    assert [each.p_holm for each in consistency] == pytest.approx(holm([each.p for each in consistency]))  # type: ignore[misc]


def test_a_probe_of_another_model_is_left_out(tmp_path: Path) -> None:
    data, out = write_table(tmp_path / "data"), tmp_path / "run"
    tasks = {"tasks": [TASKS["pope"]], "subset": Subset(size=8)}
    evaluate(out, Path("toy"), None, **tasks)  # type: ignore[arg-type]
    other = ScriptedPredictor()
    other.version = "2"
    evaluate(out, Path("toy"), "blank", other, **tasks)  # type: ignore[arg-type]
    found = open_probes(open_run(out))
    assert dict(found.probes) == {}
    assert "model.version" in found.left_out["blank"]
    assert data.is_dir()


def test_the_pages_say_it(
    blind_run: Path, blind_looks: Looks, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probes_command(blind_run)
    said = capsys.readouterr().out
    assert "Does it look?" in said
    assert "Not asked: letters, blur, noise, paraphrase" in said
    probes_command(blind_run, format="json")
    content = json.loads(capsys.readouterr().out)
    assert [column["gain"]["difference"] for column in content["columns"]] == [0.0] * 5
    with pytest.raises(UserError, match="--probe basic"):
        probes_command(probe_folder(blind_run, "blank"))
    page = (write_site(plan([open_run(blind_run)]), tmp_path / "html").parent / "probes.html").read_text("utf-8")
    for column in ("SEED-I", "POPE"):
        assert f"<strong>{column}</strong>" in page
    (first, *_) = blind_looks.blind["pope"]
    assert f'href="{escape(samples_link("pope", a=content["run"], id=first))}"' in page


class WordsItself(ScriptedPredictor):
    def begin(self, task: object, samples: object, style: object) -> None:
        """As the models of VLMEvalKit, which may make prompts of the table's rows."""


def test_who_words_its_prompts_itself_is_not_probed(tmp_path: Path) -> None:
    data = write_table(tmp_path / "data")
    with pytest.raises(UserError, match="would not reach it"):
        evaluate(tmp_path / "run", data, "blank", WordsItself(), prompts="vlmevalkit")
    assert len(evaluate(tmp_path / "run", data, "blank", WordsItself()).asked) == 12
