"""Pictures and tables as people bring them: every spelling is read, and what is broken is named before a run."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest
from fault_helpers import kills
from PIL import Image

import benchmarks.data.load as loading
from aki_eval.run.inputs import load as load_inputs
from benchmarks import images
from benchmarks.data.arrow import PICTURES, open_arrow
from benchmarks.data.load import load_samples
from benchmarks.errors import UserError
from benchmarks.records import Prediction, Sample
from benchmarks.scoring import score_task
from benchmarks.tasks import TASKS


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(size: int = 32, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


PNG = encoded(noise())
TEXT = base64.b64encode(PNG).decode()


def rows(*cells: str, **columns: str) -> str:
    """A table as text; a cell a row."""
    lines = [f"{number}\t{cell}\tWhat?\tx\ty\tA" for number, cell in enumerate(cells)]
    return "index\timage\tquestion\tA\tB\tanswer\n" + "".join(line + "\n" for line in lines)


def load(folder: Path, table: str) -> list[Sample]:
    (folder / "RealWorldQA.tsv").write_text(table)
    return load_samples(TASKS["real_world_qa"], folder)


@pytest.mark.parametrize(
    "cell",
    [
        f"data:image/png;base64,{TEXT}",
        f"DATA:image/svg+xml;charset=utf-8;base64,{TEXT}",
        base64.urlsafe_b64encode(PNG).decode(),
        base64.urlsafe_b64encode(PNG).decode().rstrip("="),
        '"' + "\n".join(TEXT[start : start + 76] for start in range(0, len(TEXT), 76)) + '"',
    ],
)
def test_every_spelling_of_base64_is_the_same_picture(tmp_path: Path, cell: str) -> None:
    plain, other = load(tmp_path, rows(TEXT, cell))
    assert other.images[0].read() == plain.images[0].read() == PNG
    assert other.images == plain.images


JPEG = base64.b64encode(encoded(noise(64), "JPEG")).decode()
BROKEN = {
    TEXT[:401]: "no base64 of a picture: it is cut off",
    TEXT[:400] + "!" + TEXT[401:]: "the character '!' stands in it",
    TEXT[:2000]: "cut off or damaged",
    JPEG[:2000]: "cut off or damaged",
    base64.b64encode(b"no picture at all" * 9).decode(): "bytes that are no picture",
    f"https://example.org/{'long/' * 20}picture.png": "the character ':' stands in it",
    f"['{TEXT}', '{TEXT[:2000]}']": "cut off or damaged",
}


@pytest.mark.parametrize("cell", BROKEN)
@pytest.mark.parametrize("large", [False, True])
def test_a_cut_picture_is_named_by_row_and_column(
    tmp_path: Path, cell: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if large:
        monkeypatch.setattr(loading, "LARGE", 0)
    sound, broken = load(tmp_path, rows(TEXT, cell))
    assert sound.fault is None
    assert broken.fault is not None
    assert "RealWorldQA.tsv: row 1: column image holds " in broken.fault
    assert BROKEN[cell] in broken.fault
    assert "\n" not in broken.fault
    assert broken.images == ()
    with pytest.raises(UserError, match="no row makes sense"):
        load(tmp_path, rows(cell))


@pytest.mark.parametrize("large", [False, True])
def test_who_borrows_a_damaged_picture_is_unscored_too(
    tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if large:
        monkeypatch.setattr(loading, "LARGE", 0)
    samples = load(tmp_path, rows(TEXT, TEXT[:2000], "1", "0", "", "7"))
    assert [bool(sample.fault) for sample in samples] == [False, True, True, False, True, True]
    assert samples[3].images == samples[0].images
    assert "row 2: its picture is another row's" in str(samples[2].fault)
    assert "row 4: column image is empty" in str(samples[4].fault)
    assert "row 5: column image takes the picture of row '7', which holds none" in str(samples[5].fault)


def test_a_run_says_which_row_stays_unscored_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "RealWorldQA.tsv").write_text(rows(TEXT, TEXT[:2000]))
    (given,) = load_inputs([TASKS["real_world_qa"]], str(tmp_path), "aki", None)
    said = capsys.readouterr().err
    assert "real_world_qa: 1 of 2 rows stay unscored" in said
    assert "row 1: column image holds" in said
    predictions = {each.index: Prediction(index=each.index, prompt="", text="A") for each in given.samples}
    sound, broken = score_task(given.task, given.samples, predictions, None)["kit"]
    assert sound.value == 1
    assert broken.value is None
    assert str(broken.reason).startswith("bad_row: ")


def test_bytes_after_the_picture_do_no_harm(tmp_path: Path) -> None:
    (sample,) = load(tmp_path, rows(base64.b64encode(PNG + bytes(50_000)).decode()))
    assert sample.images[0].decode().size == (32, 32)


@pytest.mark.parametrize("columns", ["question", "A", "answer"])
def test_two_stray_quotes_that_merge_rows_are_noticed(tmp_path: Path, columns: str) -> None:
    names = ["index", "image", "question", "A", "B", "answer"]
    table = [[str(number), TEXT, "What?", "x", "y", "A"] for number in range(5)]
    place = names.index(columns)
    for number in (1, 3):
        table[number][place] = '"' + table[number][place]
    text = "\n".join("\t".join(cells) for cells in [names, *table]) + "\n"
    with pytest.raises(UserError, match=rf"column {columns} of row '1' holds 3 rows .* two stray quotes"):
        load(tmp_path, text)
    table[3][place] = table[3][place][1:]  # one quote that is never closed
    text = "\n".join("\t".join(cells) for cells in [names, *table]) + "\n"
    with pytest.raises(UserError, match=r"two stray quotes|a quote too many"):
        load(tmp_path, text)
    honest = rows(TEXT).replace("What?", '"She said ""no"",\n\tthen\tleft"')
    assert load(tmp_path, honest)[0].question == 'She said "no",\n\tthen\tleft'


# Pictures.


def test_sixteen_bits_and_floats_are_scaled() -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    wide = encoded(Image.fromarray(ramp * 257))
    assert Image.open(io.BytesIO(wide)).mode.startswith("I")
    assert np.array_equal(np.asarray(images.decode(wide)), ramp)
    dark = encoded(Image.fromarray((ramp // 4).astype(np.uint16)))
    assert np.asarray(images.decode(dark)).max() == 0  # 63 of 65,535 is black
    shares = encoded(Image.fromarray((ramp / 255).astype(np.float32)), "TIFF")
    assert np.array_equal(np.asarray(images.decode(shares)), ramp)
    plain = encoded(Image.fromarray(ramp.astype(np.float32)), "TIFF")
    assert np.array_equal(np.asarray(images.decode(plain)), ramp)
    small = encoded(Image.fromarray(ramp.astype(np.int32)), "TIFF")
    assert np.array_equal(np.asarray(images.decode(small)), ramp)


@pytest.mark.parametrize("values", [np.float32([[-1, 0]]), np.float32([[np.nan, 0]]), np.float32([[0, 1e6]])])
def test_values_that_are_no_brightness_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"the picture's values go from .* save it with eight bits"):
        images.decode(encoded(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("turn", range(1, 9))
def test_turned_by_the_tag_and_only_once(turn: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[images.ORIENTATION] = turn
    content = encoded(noise(), exif=exif)
    upright = images.decode(content)
    assert np.array_equal(np.asarray(upright), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))))
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(upright)), np.asarray(upright))


def test_damaged_metadata_never_loses_a_picture() -> None:
    exif = Image.Exif()
    exif[images.ORIENTATION] = 6
    exif[0x010F] = "maker" * 20
    block = exif.tobytes()
    whole = encoded(noise(), "JPEG", exif=block, quality=95)
    start = whole.index(b"Exif\0\0") + 6
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in random.integers(start, start + len(block) - 6, 3):
            damaged[place] = random.integers(256)
        assert images.decode(bytes(damaged)).size == (32, 32)


def test_a_picture_that_is_too_large_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**9)  # as VLMEvalKit does
    content = encoded(Image.new("1", (13_000, 13_000)))
    assert len(content) < 100_000
    with pytest.raises(ValueError, match="13000 x 13000 pixels, more than 89,478,485"):
        images.decode(content)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="too large"):
        images.decode(PNG if 32 * 32 > 2000 else encoded(noise(64)))


def test_no_program_is_run_for_a_picture() -> None:
    with pytest.raises(OSError, match="cannot identify"):
        images.decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")


# Converted tables.


def forge(arrow: Path) -> None:
    """The converted table with another question in it."""
    from datasets.arrow_writer import ArrowWriter

    dataset = open_arrow(arrow)
    changed = [{**row, "question": "Forged?"} for row in dataset]
    features = dataset.features
    scratch = arrow.with_suffix(".forged")
    writer = ArrowWriter(path=str(scratch), features=features)
    for row in changed:
        writer.write(row)
    writer.finalize()
    os.replace(scratch, arrow)


def test_a_converted_table_that_was_changed_is_converted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(loading, "LARGE", 0)
    (first,) = load(tmp_path, rows(TEXT))
    (arrow,) = (tmp_path / "aki/tables").glob("*.arrow")
    assert open_arrow(arrow)[0][PICTURES] == [TEXT]
    forge(arrow)
    (again,) = load(tmp_path, rows(TEXT))
    assert again.question == first.question == "What?"
    assert "is not what was converted; converting again" in capsys.readouterr().err
    arrow.with_name(f"{arrow.name}.sha256").unlink()
    arrow.write_bytes(b"left by somebody")
    assert load(tmp_path, rows(TEXT))[0].question == "What?"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_at_every_write_of_a_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(loading, "LARGE", 0)
    folder = tmp_path / "aki/tables"
    num_kills = 0
    for _ in kills(lambda: load(tmp_path, rows(TEXT)), folder):
        num_kills += 1
        (sample,) = load(tmp_path, rows(TEXT))
        assert sample.question == "What?"
        assert {path.suffix for path in folder.iterdir()} == {".arrow", ".lock", ".sha256"}
        for path in folder.iterdir():
            path.unlink()
    assert num_kills >= 4
