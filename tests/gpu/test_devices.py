"""What must hold on a GPU, by tests whose bodies also run on the CPU, and so are known to be right.

`pytest -m gpu` runs the CUDA half; it skips where there is no CUDA. The CPU half belongs to every run of the suite.
Tolerances are shares of the largest magnitude, as in golden_helpers: fp32 on a GPU, without TF32, sums in another order
(1e-5); bfloat16 keeps 8 bits and float16 11 of each number, and errors grow through the layers (0.05 and 0.01).
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_helpers import Case, cases, labels_of, load_case, load_model
from model_helpers import IMAGE, NUM_LATENTS, QUESTION_END, answer, batch, model, model_for, pixels, processor
from predictor_helpers import write_checkpoint
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from aki_eval.predictors import Generation
from aki_eval.predictors.aki import AkiPredictor
from aki_eval.run.batching import BatchSize
from aki_eval.run.inputs import find_tasks, load
from aki_eval.run.loop import Loop
from benchmarks.records import Prediction
from model.continuous import Asked, ContinuousBatching
from model.self_test import self_test

HERE = Path(__file__).parent
CUDA = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")],
)
both = pytest.mark.parametrize("device", ["cpu", CUDA])

FORWARD = [key for key in cases("out.logits_subset") if "lang_config_override" not in load_case(*key).info]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 5e-2, torch.float16: 1e-2}


@pytest.fixture(autouse=True)
def full_precision() -> Iterator[None]:
    """Without TF32, which keeps 11 bits of a float32 in matrix products."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def to(device: str, given: dict[str, Any], dtype: torch.dtype | None = None) -> dict[str, Any]:
    return {name: value.to(device, dtype if value.is_floating_point() else None) for name, value in given.items()}


def relative(got: Tensor, expected: Tensor) -> float:
    """Largest difference as a share of the largest magnitude."""
    difference = (got.detach().double().cpu() - expected.detach().double().cpu()).abs().max()
    return float(difference / expected.double().abs().max())


@both
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("key", FORWARD, ids="/".join)
def test_golden_logits(key: tuple[str, str], backend: str, dtype: torch.dtype, device: str) -> None:
    case: Case = load_case(*key)
    made = copy.deepcopy(load_model(key[0])).to(device, dtype)
    made.set_attn_implementation(backend)
    with torch.no_grad():
        got = made(**to(device, case.model_inputs(), dtype), labels=labels_of(case).to(device))
    logits = got.logits.cpu()[..., case.meta["vocab_subset"]][case.valid()]
    expected = torch.from_numpy(case.expected["logits_subset"][case.valid()])
    assert got.logits.isfinite().all()
    assert relative(logits, expected) <= TOLERANCE[dtype]
    assert relative(got.loss.reshape(1), torch.from_numpy(case.expected["loss"])) <= TOLERANCE[dtype]


@both
@pytest.mark.parametrize("backend", ["sdpa", "flex_attention"])
@pytest.mark.parametrize("kind", ["mma", "causal", "cca"])
def test_mask_self_test_in_bfloat16(kind: str, backend: str, device: str, request: pytest.FixtureRequest) -> None:
    if device == "cpu" and backend == "flex_attention":
        request.getfixturevalue("uncompiled")
    own = processor()
    made = model_for(own, attention=kind).to(device, torch.bfloat16)
    made.set_attn_implementation({"text_config": backend})
    assert self_test(made, own)["passed"]


@both
@pytest.mark.parametrize("backend", ["sdpa", "flex_attention"])
def test_a_row_says_in_a_batch_what_it_says_alone(backend: str, device: str, request: pytest.FixtureRequest) -> None:
    """In bfloat16 rows round otherwise in another shape: logits agree within its tolerance, answers need not."""
    if device == "cpu" and backend == "flex_attention":
        request.getfixturevalue("uncompiled")
    made = model().to(device, torch.bfloat16)
    made.set_attn_implementation({"text_config": backend})
    given = to(device, batch() | {"pixel_values": pixels()}, torch.bfloat16)
    with torch.no_grad():
        together = made(**given).logits[:, -1]
        for row, real in enumerate(given["attention_mask"].bool()):
            alone = {"input_ids": given["input_ids"][row : row + 1, real]}
            if row < len(given["pixel_values"]):
                alone["pixel_values"] = given["pixel_values"][row : row + 1]
            assert relative(made(**alone).logits[0, -1], together[row]) <= TOLERANCE[torch.bfloat16]


@both
def test_compiled_generation_says_the_same(device: str) -> None:
    made, given = model().to(device), to(device, batch() | {"pixel_values": pixels()})
    expected = answer(made, given, 10)
    torch.compiler.reset()
    compiled = torch.compile(made.forward, backend="inductor" if device == "cuda" else "eager")
    with torch.no_grad():
        assert relative(compiled(**given).logits, made(**given).logits) <= TOLERANCE[torch.float32]
    assert answer(made, given, 10, cache_implementation="static", disable_compile=device == "cpu") == expected


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


@both
def test_pictures_vectors_are_kept_on_the_device(device: str, checkpoint: Path) -> None:
    prompts = load(find_tasks("pope"), "toy", "aki", None)[0].prompts[:8]
    predictor = AkiPredictor(checkpoint, device=device, dtype="float32")
    first = [one.text for one in predictor.predict(prompts, 8)]
    known = {image.key for prompt in prompts for image in prompt.images}
    assert {predictor.features.get(key).device.type for key in known} == {device}
    predictor.model.get_image_features = None  # whoever calls it now fails
    assert [one.text for one in predictor.predict(prompts, 8)] == first


class Hungry(AkiPredictor):
    """Really needs more memory than there is for more than four prompts at once."""

    def generate(self, prepared: Any, max_new_tokens: int) -> list[Generation]:
        rows = len(prepared.input_ids)
        if self.device == "cpu":
            each = 1 if rows <= 4 else 2**50
        else:
            each = torch.cuda.mem_get_info()[0] // 6
        needed = torch.empty(rows * each, dtype=torch.uint8, device=self.device)
        answers = super().generate(prepared, max_new_tokens)
        assert needed.device.type == self.device
        return answers


@both
def test_a_real_out_of_memory_halves_the_batch(device: str, checkpoint: Path) -> None:
    prompts = load(find_tasks("pope"), "toy", "aki", None)[0].prompts[:16]
    saved: list[Prediction] = []
    size = BatchSize(8)
    Loop(Hungry(checkpoint, device=device, dtype="float32"), 4, size, saved.extend).run(prompts)
    assert size.size == 4
    assert [one.error for one in saved] == [None] * 16
    plain = AkiPredictor(checkpoint, device=device, dtype="float32").predict(prompts, 4)
    expected = {prompt.index: one.text for prompt, one in zip(prompts, plain, strict=True)}
    assert {one.index: one.text for one in saved} == expected


def step(warm: Path, device: str, precision: str, out: Path, *flags: str) -> dict[str, Tensor]:
    """Gradients of one optimizer step, in a process of its own (on a GPU under torchrun, which FSDP2 wants)."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE.parents[1])]),
        "OMP_NUM_THREADS": "1",
    }
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    python = start if device == "cuda" else [str(warm / "python")]
    command = [*python, str(HERE / "step_worker.py"), device, precision, str(out), *flags]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(out, weights_only=True)


@pytest.fixture(scope="module")
def exact(warm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return step(warm, "cpu", "fp32", tmp_path_factory.mktemp("exact") / "gradients.pt")


@both
@pytest.mark.parametrize("flags", [[], ["fsdp"]], ids=["replicated", "fsdp"])
def test_a_training_step_has_the_gradients_of_the_cpu(
    flags: list[str], device: str, exact: dict[str, Tensor], warm: Path, tmp_path: Path
) -> None:
    """bf16 autocast on the device against fp32 on the CPU: direction and length of the whole gradient."""
    if device == "cpu" and flags:
        pytest.skip("one process shards nothing on a CPU; two do, in test_train_processes.py")
    narrow = step(warm, device, "bf16", tmp_path / "gradients.pt", *flags)
    assert exact.keys() == narrow.keys()
    one, other = (torch.cat([each[name].flatten() for name in exact]).double() for each in (exact, narrow))
    assert float(torch.cosine_similarity(one, other, dim=0)) > 0.995
    assert float(other.norm() / one.norm()) == pytest.approx(1, abs=0.05)


@both
@pytest.mark.parametrize("kind", ["mma", "cca", "prefix"])
def test_continuous_batching_says_what_generate_says(kind: str, device: str) -> None:
    """One stream computes pictures, masks and steps: on a GPU, too, no step may begin before its inputs are there."""
    made = model(attention=kind).to(device)
    vectors = [made.get_image_features(pixels(1, seed=number).to(device)).pooler_output for number in range(8)]
    prompts = [[1, *[IMAGE] * NUM_LATENTS, *range(5, 6 + number), QUESTION_END] for number in range(8)]
    engine = ContinuousBatching(made, [], rows=3, tokens=512)
    waiting = [(str(place), Asked(*pair, 8 + place)) for place, pair in enumerate(zip(prompts, vectors, strict=True))]
    given, found = dict(waiting), dict[str, list[int] | str]()
    while waiting or engine.active:
        while waiting and engine.fits(waiting[0][1]):
            engine.add(*waiting.pop(0))
        found |= engine.step()
    for key, each in given.items():
        images = {"image": BaseModelOutputWithPooling(pooler_output=each.vectors)}
        inputs = to(device, batch([each.ids])) | {"mm_encoder_outputs": images}
        assert answer(made, inputs, each.max_new_tokens) == [found[key]]
