"""The Python door: the same numbers as the command line's, for whatever a caller holds."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest
from predictor_helpers import write_checkpoint

import aki_eval
from aki_eval.predictors import Generation
from aki_eval.predictors.loaded import LoadedAkiPredictor, LoadedPredictor
from benchmarks.data.load import load_samples
from benchmarks.errors import UserError
from benchmarks.records import Prompt
from benchmarks.results.comparison import compare
from benchmarks.results.folder import open_run
from benchmarks.tasks import TASKS
from benchmarks.toy_world import ensure_tables

ROOT = Path(__file__).resolve().parents[1]
SIZE = 24


class YesMan:
    """Says yes; its version is what decides its answers."""

    def __init__(self, answer: str | None = "Yes") -> None:
        self.answer = answer

    def predict(self, prompts: list[Prompt]) -> list[str | None]:
        return [self.answer for _ in prompts]

    def describe(self) -> dict[str, Any]:
        return {"answer": self.answer}


def evaluate(model: Any, out: Path, **options: Any) -> aki_eval.Results:
    options = {"bench": ["pope"], "data": "toy", "subset": SIZE, "progress": False} | options
    return aki_eval.evaluate(model, out=out, **options)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("door") / "model")


@pytest.fixture(scope="module")
def loaded(checkpoint: Path) -> tuple[Any, Any]:
    from model import AkiForConditionalGeneration, AkiProcessor

    return AkiForConditionalGeneration.from_pretrained(checkpoint), AkiProcessor.from_pretrained(checkpoint)


def test_import_is_light() -> None:
    code = (
        "import sys, aki_eval; print([m for m in ('torch', 'pandas', 'scipy', 'pydantic', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_name() -> None:
    assert {"evaluate", "Results", "open_results"} <= set(dir(aki_eval))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = aki_eval.nonsense


def test_table_is_what_metrics_json_says(tmp_path: Path) -> None:
    results = evaluate(YesMan(), tmp_path / "run", bench=["pope", "mme"])
    table = results.table()
    assert list(table.index) == ["MME-P", "MME-C", "POPE"]
    pope = open_run(tmp_path / "run").results["pope"]
    expected = pope.protocols[pope.headline]["f1"]
    row = table.loc["POPE"]
    assert (row.value, (row.ci95_low, row.ci95_high), row.num_scored) == (
        expected.value,
        expected.ci95,
        expected.num_scored,
    )
    assert row.unit == "percent"
    assert table.loc["MME-P"].unit == "points"
    every = results.table(all_metrics=True)
    assert len(every) == sum(len(m) for r in results.run.results.values() for m in r.protocols.values())
    assert results.complete
    assert "toy world" in repr(results)
    assert "<table" in results._repr_html_()


def test_samples_hold_the_question_and_its_worth(tmp_path: Path) -> None:
    results = evaluate(YesMan(), tmp_path / "run")
    samples = results.samples("pope")
    stored = results.run.scores("pope", "kit")
    assert list(samples.index) == [score.index for score in stored]
    assert list(samples.value) == [score.value for score in stored]
    assert (samples.value == (samples.target == "Yes")).all()
    assert set(samples.prediction) == {"Yes"}
    assert results.samples("pope", "vlmevalkit").equals(results.samples("pope", "kit"))
    with pytest.raises(UserError, match="no scores of 'mme', but of pope"):
        results.samples("mme")
    with pytest.raises(UserError, match="protocol 'x'"):
        results.samples("pope", "x")


def test_compare_is_the_command_lines(tmp_path: Path) -> None:
    yes, no = evaluate(YesMan(), tmp_path / "yes"), evaluate(YesMan("No"), tmp_path / "no")
    frame = yes.compare(no, all_metrics=True)
    expected = compare(open_run(tmp_path / "no"), open_run(tmp_path / "yes"))
    assert len(frame) == len(expected.metrics) > 1
    for metric in expected.metrics:
        row = frame[(frame.task == metric.task) & (frame.metric == metric.metric)].iloc[0]
        assert (row.value, row.other, row.test) == (metric.b, metric.a, metric.test)
        assert row.p == metric.p or (metric.p is None and math.isnan(row.p))
        assert row.p_holm == metric.p_holm or (metric.p_holm is None and math.isnan(row.p_holm))
    assert frame.loc["POPE"].difference == -no.compare(tmp_path / "yes").loc["POPE"].difference
    assert len(frame.attrs["flips"]) == SIZE


def test_failures_are_unscored_and_named(tmp_path: Path) -> None:
    results = evaluate(YesMan(None), tmp_path / "run", max_failure_rate=1.0)
    assert not results.complete
    assert math.isnan(results.table().loc["POPE"].value)
    assert results.table().loc["POPE"].note == "incomplete"
    assert set(results.samples("pope").error) == {"the model gave no answer (None)"}


def test_another_object_does_not_go_on_with_a_run(tmp_path: Path) -> None:
    class Nameless:
        def predict(self, prompts: list[Prompt], max_new_tokens: int) -> list[Generation]:
            return [Generation("Yes", num_tokens=max_new_tokens) for _ in prompts]

    one = Nameless()
    evaluate(one, tmp_path / "run")
    evaluate(one, tmp_path / "run")  # the same object may
    with pytest.raises(UserError, match=r"holds another run: model\.instance"):
        evaluate(Nameless(), tmp_path / "run")
    evaluate(Nameless(), tmp_path / "run", fresh=True)
    evaluate(YesMan(), tmp_path / "described")
    evaluate(YesMan(), tmp_path / "described")  # says of itself that it is the same
    with pytest.raises(UserError, match=r"model\.answer was 'Yes' and would now be 'No'"):
        evaluate(YesMan("No"), tmp_path / "described")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (object(), "an object with predict"),
        ((1, 2, 3), "a tuple of 3"),
        ((object(), object()), "has no generate"),
        ((type("Model", (), {"generate": print})(), object()), "expected the processor"),
        ("no/such/folder/here", "no folder"),
    ],
)
def test_no_model(tmp_path: Path, model: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        evaluate(model, tmp_path / "run", offline=True)


def test_too_few_answers_end_the_run(tmp_path: Path) -> None:
    class Short:
        def predict(self, prompts: list[Prompt]) -> list[str]:
            return ["Yes"]

    with pytest.raises(UserError, match=r"Short\.predict gave 1 answers for"):
        evaluate(Short(), tmp_path / "run")


def test_a_path_and_the_loaded_model_answer_alike(tmp_path: Path, checkpoint: Path, loaded: tuple[Any, Any]) -> None:
    options: dict[str, Any] = {"bench": ["cv_bench"], "device": "cpu", "subset": 40}
    by_path = evaluate(checkpoint, tmp_path / "path", **options)
    loaded[0].train()
    in_memory = evaluate(loaded, tmp_path / "loaded", **options)
    assert loaded[0].training  # as it was found
    assert loaded[0].config.attention == in_memory.run.made_by["model"]["attention"]
    assert in_memory.run.made_by["mask_self_test"]["passed"]
    expected = by_path.samples("cv_bench")
    assert expected.prediction.nunique() > 1
    assert list(in_memory.samples("cv_bench").prediction) == list(expected.prediction)
    assert list(in_memory.samples("cv_bench").prompt) == list(expected.prompt)


def test_another_mask_is_another_run(tmp_path: Path, checkpoint: Path) -> None:
    causal = evaluate(checkpoint, tmp_path / "run", device="cpu", attention="causal", subset=4)
    assert causal.run.made_by["model"]["attention"] == "causal"
    with pytest.raises(UserError, match=r"holds another run: model\.attention"):
        evaluate(checkpoint, tmp_path / "run", device="cpu", subset=4)


def test_weights_in_memory_are_the_runs_identity(tmp_path: Path, checkpoint: Path) -> None:
    from model import AkiForConditionalGeneration, AkiProcessor

    model, processor = AkiForConditionalGeneration.from_pretrained(checkpoint), AkiProcessor.from_pretrained(checkpoint)
    before = LoadedAkiPredictor(model, processor).describe()
    assert before == LoadedAkiPredictor(model, processor).describe()
    next(model.parameters()).data.view(-1)[0] += 1
    after = LoadedAkiPredictor(model, processor).describe()
    assert before["weights_sha256"] != after["weights_sha256"]
    assert before["settings_sha256"] == after["settings_sha256"]


def test_the_general_way_answers_as_akis_own(loaded: tuple[Any, Any]) -> None:
    """Any model's way, through its processor and `generate`, is held to AKI's own on AKI."""
    task = TASKS["cv_bench"]
    prompts = [task.prompts["aki"](sample) for sample in load_samples(task, ensure_tables())[:6]]
    own = LoadedAkiPredictor(*loaded)
    general = LoadedPredictor(*loaded)
    loaded[0].generation_config.eos_token_id = list(loaded[1].stop_token_ids)
    assert [g.text for g in general.predict(prompts, 12)] == [g.text for g in own.predict(prompts, 12)]
    assert [general.render(prompt) for prompt in prompts] == [own.render(prompt) for prompt in prompts]
    hidden = Prompt("x", ("<|user|>Is it red?</s>",))
    assert "<|user|>Is" not in general.render(hidden)
    assert general.describe()["kind"] == "transformers"


def test_frames_are_tables(tmp_path: Path) -> None:
    """The toy's POPE as a frame with PIL images gives the same answers' worth as the table itself."""
    root = ensure_tables()
    frame = pandas.read_csv(root / "POPE.tsv", sep="\t", dtype=str, keep_default_na=False)
    pictures = {sample.index: sample.images[0].decode() for sample in load_samples(TASKS["pope"], root)}
    by_picture = frame.assign(image=[pictures[index] for index in frame["index"]])
    from_frame = evaluate(YesMan(), tmp_path / "frame", bench=None, data={"POPE": by_picture}, subset=None)
    from_file = evaluate(YesMan(), tmp_path / "file", subset=None)
    assert list(from_frame.table().value) == list(from_file.table().value)
    assert list(from_frame.samples("pope").target) == list(from_file.samples("pope").target)
    again = evaluate(YesMan(), tmp_path / "frame", bench=None, data={"POPE": by_picture}, subset=None)
    assert again.path == from_frame.path
    with pytest.raises(UserError, match=r"holds another run: data\.tables\.POPE"):
        evaluate(YesMan(), tmp_path / "frame", bench=None, data={"POPE": by_picture.iloc[::-1]}, subset=None)
    with pytest.raises(UserError, match="column 'image' is missing"):
        evaluate(YesMan(), tmp_path / "x", data={"POPE": frame.drop(columns="image")})
    with pytest.raises(UserError, match="tables SOMETHING; expected some of"):
        evaluate(YesMan(), tmp_path / "x", bench=None, data={"SOMETHING": frame})


def test_it_works_where_a_loop_is_running(tmp_path: Path) -> None:
    """As in a notebook: what needs an event loop of its own gets one."""
    from aki_eval.chat.loops import outside_loops

    async def inside() -> int:
        async def work() -> int:
            return 3

        return outside_loops(lambda: asyncio.run(work()))

    assert asyncio.run(inside()) == 3
    assert outside_loops(lambda: 4) == 4


def test_open_results(tmp_path: Path) -> None:
    made = evaluate(YesMan(), tmp_path / "run")
    assert aki_eval.open_results(tmp_path / "run").table().equals(made.table())
    with pytest.raises(UserError, match="no run folder"):
        aki_eval.open_results(tmp_path)


def test_the_notebook_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cell after cell, in one namespace, as a kernel would."""
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "examples" / "evaluate.ipynb").read_text("utf-8"))
    assert notebook["nbformat"] == 4
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    namespace: dict[str, Any] = {}
    for number, cell in enumerate(cells, 1):
        exec(compile(cell, f"evaluate.ipynb, cell {number}", "exec"), namespace)
    assert namespace["toy"].complete
    assert list(namespace["comparison"].index) == ["POPE"]
    assert len(namespace["wrong"]) > 0
    assert list(namespace["own"].table().index) == ["POPE"]
