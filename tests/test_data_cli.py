"""`aki-train data check` finds what is wrong with a data root; `aki-train data show` shows what is trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from phi3_style import phi3_style_tokenizer
from typer.testing import CliRunner

from benchmarks import toy_world
from benchmarks.errors import UserError
from model import AkiImageProcessor, AkiProcessor
from train.commands.data import app
from train.data.check import SetReport, missing_pictures

RUN = CliRunner()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clean")
    toy_world.write_training_data(root, num_images=60, num_captions=20, shard_size=10)
    return root


@pytest.fixture
def root(clean: Path, tmp_path: Path) -> Path:
    return shutil.copytree(clean, tmp_path / "data")


def check(root: Path, *arguments: str) -> tuple[int, str, dict[str, dict[str, Any]]]:
    """Exit code, what was printed, findings by set."""
    findings = root.parent / "findings.json"
    done = RUN.invoke(app, ["check", "--data", str(root), "--report", str(findings), *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output, {one["name"]: one for one in json.loads(findings.read_text())["sets"]}


def test_a_sound_root(root: Path) -> None:
    code, output, found = check(root)
    assert code == 0
    assert len(found) == 11
    assert all(one["sound"] for one in found.values())
    assert "FAULTY" not in output
    assert found["vqav2"]["num_samples"] == 24 * 8  # 8 of 20 twentieths of 60 pictures, 8 questions each
    assert found["vqav2"]["num_pictures"] == 24
    assert found["vqav2"]["size_note"] == "not 83,000"
    assert found["llava"]["num_conversations"] == 21


def test_faults_are_found_and_named(root: Path) -> None:
    pictures = sorted((root / "coco/train2014").iterdir())
    pictures[0].unlink()
    pictures[1].write_bytes(b"no picture")
    path = root / "mdetr_annotations/finetune_refcoco_train.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = [10.0, 10.0, 0.0, 5.0]
    content["annotations"][1]["bbox"] = [40.0, 40.0, 20.0, 5.0]  # the picture is 48 wide
    path.write_text(json.dumps(content))
    (root / "vsr/train.jsonl").unlink()
    (root / "gqa/train_balanced_questions.json").write_text('{"1": {"question": "cut o')
    code, output, found = check(root)
    assert code == 1
    assert found["vqav2"]["missing"] == [f"coco/train2014/{pictures[0].name}"]
    (damaged,) = found["vqav2"]["damaged"]
    assert damaged.startswith(f"coco/train2014/{pictures[1].name}: UnidentifiedImageError")
    assert len(found["refcoco"]["broken_boxes"]) == 1
    assert found["refcoco"]["over_the_edge"] == 1
    assert found["refcocog"]["broken_boxes"] == []
    assert "train.jsonl: not found" in str(found["vsr"]["error"])
    assert "the file ends early or is broken" in str(found["gqa"]["error"])
    assert [name for name, one in found.items() if one["sound"]] == [
        "ocrvqa", "aokvqa", "scienceqa", "visual_genome", "llava",
    ]  # fmt: skip
    assert "VSR: " in output
    assert "RefCOCO: broken box: sample 0" in output


def test_regions_left_out_are_counted(root: Path) -> None:
    path = root / "vg/region_descriptions.json"
    content = json.loads(path.read_text())
    before = sum(len(one["regions"]) for one in content)
    content[0]["regions"][0]["phrase"] = " "
    content[1]["regions"][0]["width"] = 0
    path.write_text(json.dumps(content))
    code, output, found = check(root, "--sets", "visual_genome")
    assert code == 0
    assert found["visual_genome"]["num_left_out"] == 2
    assert found["visual_genome"]["num_samples"] == before - 2
    assert "2 regions without a phrase or extent are left out" in output


def test_a_shard_that_ends_early(root: Path) -> None:
    shard = root / "captions/00001.tar"
    shard.write_bytes(shard.read_bytes()[:-12_000])  # more than the padding of a tar file
    code, output, _ = check(root, "--sets", "vsr")
    assert code == 1
    assert "00001.tar: the shard ends early" in output


def test_sizes_are_compared_with_table_4() -> None:
    def note(**counts: int) -> str:
        return SetReport(name="x", title="X", table_4=158_000, **counts).size_note

    assert note(num_samples=361_000, num_pictures=81_000, num_conversations=157_712) == "= conversations"
    assert note(num_samples=150_000, num_pictures=81_000) == "= samples"
    assert note(num_samples=100_000, num_pictures=81_000) == "not 158,000"


def test_missing_pictures_in_many_folders(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.jpg").touch()
    assert missing_pictures(tmp_path, ["a/1.jpg", "a/2.jpg", "b/c/3.jpg"]) == ["a/2.jpg", "b/c/3.jpg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "--data", "/nowhere"], "no such folder"),
        (["check", "--data", ".", "--sets", "vqav2,coco"], "unknown coco; known are vqav2"),
        (["show", "--data", ".", "--out", "x.html", "--processor", "/nowhere"], "no processor of AKI"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str) -> None:
    done = RUN.invoke(app, arguments)
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)


def test_show_writes_one_page(root: Path, tmp_path: Path) -> None:
    path = root / "llava/llava_instruct_150k.json"
    content = json.loads(path.read_text())
    for record in content:
        record["conversations"][1]["value"] = "<script>alert(1)</script>"
    path.write_text(json.dumps(content))
    out = tmp_path / "page.html"
    done = RUN.invoke(app, ["show", "--data", str(root), "--out", str(out), "--samples", "40"])
    assert done.exit_code == 0, done.output
    page = out.read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count('class="box"') > 100  # all regions of four sets
    assert "text only" in page


def test_show_with_a_processor_shows_tokens_and_labels(root: Path, tmp_path: Path) -> None:
    AkiProcessor(AkiImageProcessor(size=48), phi3_style_tokenizer(), num_latents=7).save_pretrained(
        tmp_path / "processor"
    )
    out = tmp_path / "page.html"
    arguments = ["show", "--data", str(root), "--out", str(out), "--sets", "vsr", "--samples", "1"]
    done = RUN.invoke(app, [*arguments, "--processor", str(tmp_path / "processor")])
    assert done.exit_code == 0, done.output
    page = out.read_text()
    assert "&lt;image&gt; x 7</span>" in page
    assert '<span class="given token" title="32001">&lt;|assistant|&gt;</span>' in page
    assert '<span class="learned token" title="32000">&lt;|endoftext|&gt;</span>' in page


def test_show_says_when_a_picture_cannot_be_read(root: Path, tmp_path: Path) -> None:
    for picture in (root / "gqa/images").iterdir():
        picture.write_bytes(b"no picture")
    out = tmp_path / "page.html"
    done = RUN.invoke(app, ["show", "--data", str(root), "--out", str(out), "--sets", "gqa", "--samples", "1"])
    assert done.exit_code == 0
    assert "UnidentifiedImageError" in out.read_text()
