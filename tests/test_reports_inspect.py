"""`aki-eval inspect`: the masks are the model's own, the attention is where it may be and nowhere else."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import model_helpers
import numpy as np
import pytest

from aki_eval.attention_maps import View, look, rolled_out
from aki_eval.commands.inspect_ import command, heats, layer_table, spans
from aki_eval.predictors.aki import AkiPredictor
from benchmarks.errors import UserError
from benchmarks.records import ImageRef, Prompt
from model.kinds import KINDS

QUESTION = "What colour is it?"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    for kind in ("mma", "causal"):
        processor = model_helpers.processor()
        model = model_helpers.model_for(processor, attention=kind)
        model.save_pretrained(root / kind)
        processor.save_pretrained(root / kind)
    model_helpers.picture(24, 24).save(root / "picture.png")
    return {"mma": root / "mma", "causal": root / "causal", "picture": root / "picture.png"}


def view_of(folders: dict[str, Path], kind: str) -> View:
    picture = ImageRef("p", folders["picture"].read_bytes)
    return look(AkiPredictor(folders[kind], device="cpu"), Prompt("0", (picture, QUESTION)), QUESTION, 4)


def test_attention_respects_the_mask(folders: dict[str, Path]) -> None:
    for kind in ("mma", "causal"):
        view = view_of(folders, kind)
        length = view.num_prompt_tokens
        allowed = view.masks[kind][:length, :length]
        assert view.attention.shape == (length, length)
        assert np.allclose(view.attention.sum(axis=1), 1, atol=1e-5)
        assert (view.attention[~allowed] == 0).all()
        assert (view.attention[allowed] > 0).all()


def test_words_are_the_questions_and_only_mutual_attention_reaches_them(folders: dict[str, Path]) -> None:
    mutual, causal = view_of(folders, "mma"), view_of(folders, "causal")
    assert [word.text for word in mutual.words] == QUESTION.split()
    assert all(word.start >= mutual.image[1] for word in mutual.words)
    assert all(heat.share > 0 for heat in heats(mutual, "image_to_word"))
    assert all(heat.share == 0 for heat in heats(causal, "image_to_word"))
    assert all(heat.share > 0 for heat in heats(causal, "word_to_image"))
    share, grid = mutual.image_to_word(mutual.words[0])
    assert 0 < share < 1
    assert grid.sum() == pytest.approx(1)
    assert grid.shape == (4, 4)


def test_weights_of_the_resampler_are_the_ones_it_uses(folders: dict[str, Path]) -> None:
    """The recomputed weights give the layer's own output when its values are weighed with them."""
    import torch

    from aki_eval.attention_maps import _resampler_weights

    layer = AkiPredictor(folders["mma"], device="cpu").model.model.resampler.layers[0].attention
    layer.heads = 1  # with one head the average over heads is the weights themselves
    patches, latents = torch.randn(1, 16, 32), torch.randn(1, 4, 32)
    with torch.no_grad():
        weights = torch.tensor(_resampler_weights(layer, patches, latents), dtype=torch.float32)
        _, value = layer.to_kv(torch.cat([layer.norm_media(patches), layer.norm_latents(latents)], dim=1)).chunk(2, -1)
        assert torch.allclose(layer.to_out(weights @ value[0]), layer(patches, latents)[0], atol=1e-5)


def test_roll_out_follows_latents_through_layers() -> None:
    first = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])  # 2 patches, 2 latents: each looks at its own patch
    swap = np.array([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]])  # then each looks at the other latent
    assert rolled_out([first]).tolist() == [[1, 0], [0, 1]]
    assert rolled_out([first, swap]).tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_command_writes_figures_and_numbers(folders: dict[str, Path], tmp_path: Path) -> None:
    command(str(folders["mma"]), image=folders["picture"], prompt=QUESTION, out=tmp_path, device="cpu")
    names = {path.name for path in tmp_path.iterdir()}
    figures = {"attention_mask", "image_to_words", "words_to_image", "by_layer"}
    assert names == {f"{name}.{kind}" for name in figures for kind in ("png", "svg", "pdf")} | {"inspection.json"}
    content = json.loads((tmp_path / "inspection.json").read_text("utf-8"))
    assert [each["word"] for each in content["image_to_words"]] == QUESTION.split()
    assert content["attention"] == "mma"
    assert [each["layer"] for each in content["by_layer"]] == [0, 1]


def test_another_attention_by_name_by_layer_and_from_a_file(folders: dict[str, Path], tmp_path: Path) -> None:
    """The mutual model under a mask that no question passes: every share is 0, and the numbers say whose they are."""
    (tmp_path / "masks.py").write_text(
        "from model.kinds import Kind, causal\n"
        "PLAIN = Kind(sees=causal, title='plain', first_row=None, question_reaches_image=False)\n"
    )
    try:
        for attention, layers, kinds in (
            ("causal", None, ["causal", "causal"]),
            (f"{tmp_path / 'masks.py'}:PLAIN", None, ["plain", "plain"]),
            ("causal", f"1={tmp_path / 'masks.py'}:PLAIN", ["causal", "plain"]),
        ):
            command(
                str(folders["mma"]),
                image=folders["picture"],
                prompt=QUESTION,
                out=tmp_path / "out",
                device="cpu",
                attention=attention,
                attention_layers=layers,
            )
            content = json.loads((tmp_path / "out/inspection.json").read_text("utf-8"))
            assert [each["kind"] for each in content["by_layer"]] == kinds
            assert content["attention"] == kinds[0]
            assert all(each["share"] == 0 for each in content["image_to_words"])
        with pytest.raises(UserError, match="--attention: 'nobodys', expected one of mma"):
            command(str(folders["mma"]), image=folders["picture"], prompt=QUESTION, attention="nobodys")
    finally:
        KINDS.pop("plain", None)


def test_spans_cover_prompt_and_answer(folders: dict[str, Path]) -> None:
    view = view_of(folders, "mma")
    found = spans(view)
    assert [span.label for span in found][:3] == ["before", "image", "question"]
    assert found[1].end - found[1].start == model_helpers.NUM_LATENTS
    assert found[0].start == 0
    assert found[-1].end == len(view.masks["mma"])
    assert all(one.end == other.start for one, other in pairwise(found))


def test_bad_input_is_one_clear_line(folders: dict[str, Path], tmp_path: Path) -> None:
    picture = folders["picture"]
    with pytest.raises(UserError, match=r"no config\.json"):
        command(str(tmp_path), image=picture, prompt="what?", out=tmp_path, device="cpu")
    with pytest.raises(UserError, match="cannot be read as a picture"):
        command(str(folders["mma"]), image=folders["mma"] / "config.json", prompt="what?", out=tmp_path, device="cpu")
    with pytest.raises(UserError, match="--prompt is empty"):
        command(str(folders["mma"]), image=picture, prompt="  ", out=tmp_path, device="cpu")


def test_text_first_prompts_and_wide_pictures_work(tmp_path: Path) -> None:
    processor = model_helpers.processor(image_order="text_first")
    model_helpers.model_for(processor, attention="cca").save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    model_helpers.picture(90, 20).save(tmp_path / "wide.png")
    picture = ImageRef("p", (tmp_path / "wide.png").read_bytes)
    view = look(AkiPredictor(tmp_path / "model", device="cpu"), Prompt("0", (picture, QUESTION)), QUESTION, 4)
    assert [word.text for word in view.words] == QUESTION.split()
    assert all(word.end <= view.image[0] for word in view.words)
    assert all(heat.share > 0 for heat in heats(view, "image_to_word"))
    assert all(heat.share == 0 for heat in heats(view, "word_to_image"))


def test_layer_by_layer_a_question_moves_the_picture_only_where_it_may(folders: dict[str, Path]) -> None:
    mutual, causal = view_of(folders, "mma"), view_of(folders, "causal")
    assert [each.layer for each in mutual.by_layer] == [0, 1]
    assert all(each.change > 0.001 and each.image_to_question > 0 for each in mutual.by_layer)
    assert all(each.change < 1e-5 and each.image_to_question == 0 for each in causal.by_layer)
    for view in (mutual, causal):
        start, end = view.image
        asked = sorted({token for word in view.words for token in range(word.start, word.end)})
        words = np.mean([each.image_to_question for each in view.by_layer])
        assert words == pytest.approx(view.attention[start:end][:, asked].sum(1).mean(), abs=1e-6)
        read = np.mean([each.question_to_image for each in view.by_layer])
        assert read == pytest.approx(view.attention[asked, start:end].sum(1).mean(), abs=1e-6)
    table = layer_table(mutual)
    assert [cell.text for cell in (row.cells[0] for row in table.rows)] == ["mma", "mma"]
    assert table.rows[0].cells[1].value == pytest.approx(100 * mutual.by_layer[0].image_to_question)


def test_the_same_question_changes_nothing(folders: dict[str, Path]) -> None:
    picture = ImageRef("p", folders["picture"].read_bytes)
    prompt = Prompt("0", (picture, QUESTION))
    view = look(AkiPredictor(folders["mma"], device="cpu"), prompt, QUESTION, 1, other=QUESTION)
    assert max(each.change for each in view.by_layer) < 1e-5
