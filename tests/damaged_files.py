"""Sound files of every kind that we read, and the ways a disk, a download or an editor spoils one."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import math
import os
import random
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aki_eval.imports.collect import Fields, collect
from aki_eval.imports.sources import AnswerFiles
from aki_eval.judges.cache import VerdictStore
from benchmarks.data.arrow import read_large
from benchmarks.data.fetch import LOCK_NAME, read_lock
from benchmarks.data.hub import read_parquet
from benchmarks.data.load import load_samples
from benchmarks.errors import UserError
from benchmarks.records import Prediction, Sample
from benchmarks.results.baseline import open_baseline, write_baseline
from benchmarks.results.comparison import compare
from benchmarks.results.folder import open_run
from benchmarks.results.gate_policy import read_policy
from benchmarks.results.store import RunStore
from benchmarks.scoring import metrics_of, score_task
from benchmarks.tasks import TASKS
from benchmarks.toy_world import ensure_tables, write_training_data
from train.data.captions import FOLDERS, UnusableRecord, check_shard, unusable_records
from train.data.instructions import SETS, InstructionData
from train.data.pictures import UnreadablePicture, read_picture
from train.recipe import load_recipe

HERE = Path(__file__).parent
ROWS = 6
"""Of each table: damage finds its way sooner in a small file."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`path` is the file to be damaged, below `root`, all of which is copied; `read(path)` reads the damaged one."""

    name: str
    root: Path
    path: Path
    read: Callable[[Path], object]

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()


@contextmanager
def workshop(kind: Kind, content: bytes, folder: Path) -> Iterator[Path]:
    """A copy of the kind's folder in which its file is the damaged one."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kind.root, folder)
    path = folder / kind.path.relative_to(kind.root)
    path.write_bytes(content)
    with redirect_stderr(io.StringIO()):
        yield path


# Damage

VALUES = (
    *("null", "true", "[]", "{}", '""', "-1", "1e999", "NaN", "9" * 400, '"\\ud800"', "[[[]]]", '{"a": {"b": [1]}}'),
    *("[" * 2000, '"x"', "0", "1.5", "'", '"', "\t", "\n", "\x00", "\ufeff"),
)
VALUE = re.compile(rb'"(?:[^"\\\n]|\\.){0,200}"|-?\d+(?:\.\d+)?|\b(?:null|true|false)\b|\[\]|\{\}|[^\t\n,;"]+')


def damaged(content: bytes, path: Path, rng: random.Random) -> tuple[str, bytes]:
    """(what was done, the damaged bytes). What is packed is as often damaged within and packed again."""
    if rng.random() < 0.6 and (inside := _unpacked(content, path)):
        name = rng.choice(sorted(inside))
        way, inside[name] = _spoil(inside[name], rng)
        return f"{way} in {name or 'the packed file'}", _packed(inside, path)
    return _spoil(content, rng)


def _unpacked(content: bytes, path: Path) -> dict[str, bytes]:
    if path.suffix == ".gz":
        return {"": gzip.decompress(content)}
    if path.suffix in (".xlsx", ".eval"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    return {}


def _packed(inside: dict[str, bytes], path: Path) -> bytes:
    if path.suffix == ".gz":
        return gzip.compress(inside[""], 1)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in inside.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _spoil(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    at, to = sorted((rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)))
    to = min(to, at + rng.choice((1, 10, 100, 100_000)))
    spoilt: dict[str, Callable[[], bytes]] = {
        "cut short": lambda: content[:at],
        "its beginning lost": lambda: content[at:],
        "a piece lost": lambda: content[:at] + content[to:],
        "a piece twice": lambda: content[:to] + content[at:],
        "a piece of zeros": lambda: content[:at] + bytes(to - at) + content[to:],
        "a piece of noise": lambda: content[:at] + rng.randbytes(to - at) + content[to:],
        "noise put in": lambda: content[:at] + rng.randbytes(rng.randrange(1, 20)) + content[at:],
        "bits turned": lambda: _turned(content, rng),
        "nothing but noise": lambda: rng.randbytes(rng.choice((0, 1, 50, 3000))),
        "another encoding": lambda: content.decode("utf-8", "replace").encode("utf-16"),
        "another value": lambda: _other_value(content, rng),
        "two other values": lambda: _other_value(_other_value(content, rng), rng),
        "lines in another order": lambda: b"\n".join(rng.sample(lines := content.split(b"\n"), len(lines))),
    }
    way = rng.choice([*spoilt, "another value", "another value", "bits turned"])
    return way, spoilt[way]()


def _turned(content: bytes, rng: random.Random) -> bytes:
    turned = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 30)) if turned else 0):
        turned[rng.randrange(len(turned))] ^= 1 << rng.randrange(8)
    return bytes(turned)


def _other_value(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(max(1, len(content)))
    found = VALUE.search(content, max(0, start - 100)) or VALUE.search(content)
    if found is None:
        return content
    return content[: found.start()] + rng.choice(VALUES).encode() + content[found.end() :]


# Kinds


def tables(sound: Path) -> Iterator[Kind]:
    root = sound / "tables"
    root.mkdir(parents=True)
    for path in ensure_tables().glob("*.tsv"):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t"))[: ROWS + 1]
        with (root / path.name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t").writerows(rows)
    for task in TASKS.values():
        for table in task.tables:
            folder = sound / f"table_{table.name}"
            folder.mkdir()
            for each in task.tables:
                shutil.copy(root / f"{each.name}.tsv", folder)
            yield Kind(
                name=f"table {table.name}",
                root=folder,
                path=folder / f"{table.name}.tsv",
                read=partial(_read_and_score, task.name),
            )


def _read_and_score(task: str, path: Path) -> None:
    samples = load_samples(TASKS[task], path.parent)
    _decode(samples)
    given = {s.index: Prediction(index=s.index, prompt="", text=s.target or "A") for s in samples}
    scores = score_task(TASKS[task], samples, given, None)
    for metrics in metrics_of(TASKS[task], scores)["protocols"].values():
        for metric in metrics.values():
            assert metric["value"] is None or math.isfinite(metric["value"])
            assert metric["num_scored"] + metric["num_unscored"] == metric["num_samples"]


def _decode(samples: list[Sample]) -> None:
    for sample in samples:
        for image in sample.images:
            with suppress(OSError, ValueError):  # as its docstring says
                image.decode()


def large_tables(sound: Path) -> Iterator[Kind]:
    """A table that is converted to Arrow, and what was converted."""
    for name in ("large table", "converted table"):
        folder = sound / name.replace(" ", "_")
        folder.mkdir()
        with (ensure_tables() / "RealWorldQA.tsv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t"))[: ROWS + 1]
        table = folder / "RealWorldQA.tsv"
        with table.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t").writerows(rows)
        path = table
        if name == "converted table":
            _read_large(folder, table)
            (path,) = folder.glob(".cache/aki/tables/*.arrow")
        yield Kind(name=name, root=folder, path=path, read=lambda path: _read_large(*_table_of(path)))


def _table_of(path: Path) -> tuple[Path, Path]:
    root = path.parents[3] if path.suffix == ".arrow" else path.parent
    return root, root / "RealWorldQA.tsv"


def _read_large(root: Path, table: Path) -> None:
    """A damaged conversion is converted again: only the table itself can be refused."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(root / ".cache")
    try:
        data = read_large(table, hashlib.sha256(table.read_bytes()).hexdigest())
    finally:
        os.environ.pop("XDG_CACHE_HOME")
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before
    for position in range(len(data.rows)):
        for image in data.images(position):
            with suppress(OSError, ValueError):  # as its docstring says
                image.decode()


def hub_tables(sound: Path) -> Iterator[Kind]:
    import pyarrow
    from pyarrow import parquet

    root = sound / "hub"
    root.mkdir()
    samples = load_samples(TASKS["cv_bench"], ensure_tables())[:ROWS]
    records = [
        {
            "idx": number,
            "type": "2D",
            "task": "Count",
            "image": {"bytes": sample.images[0].read(), "path": "a.png"},
            "question": sample.question,
            "choices": list(sample.choices.values()),
            "answer": f"({sample.target})",
            "prompt": sample.question,
            "filename": "a.png",
            "source": "COCO",
            "source_dataset": "COCO",
            "source_filename": "a.png",
        }
        for number, sample in enumerate(samples)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(records), root / "test_2d.parquet", compression="none")
    read_parquet(root / "test_2d.parquet")
    yield Kind(name="parquet", root=root, path=root / "test_2d.parquet", read=read_parquet)
    (root / LOCK_NAME).write_text(json.dumps({"POPE": {"sha256": "a" * 64, "num_rows": 1, "url": None, "locked": "x"}}))
    yield Kind(name="lock of tables", root=root, path=root / LOCK_NAME, read=lambda path: read_lock(path.parent))


def imports(sound: Path) -> Iterator[Kind]:
    """Every format of published answers, for a task of letters, and MME's own files."""
    import pandas

    root = sound / "imports"
    root.mkdir()
    samples = load_samples(TASKS["real_world_qa"], ensure_tables())[:ROWS]
    rows = [
        {"index": s.index, "question": s.question, "answer": s.target, "prediction": f"{s.target}. {number}"}
        for number, s in enumerate(samples)
    ]
    frame = pandas.DataFrame(rows)
    frame.to_excel(root / "answers.xlsx", index=False)
    frame.to_csv(root / "answers.tsv", sep="\t", index=False)
    frame.to_csv(root / "answers.csv", sep=";", index=False)
    frame.to_csv(root / "packed.csv.gz", index=False)
    (root / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "list.json").write_text(json.dumps(rows))
    (root / "records.json").write_text(json.dumps({row["index"]: row for row in rows}))
    (root / "texts.json").write_text(json.dumps({row["index"]: row["prediction"] for row in rows}))
    lmms = [
        {"doc_id": n, "doc": row, "filtered_resps": [row["prediction"]], "target": "A"} for n, row in enumerate(rows)
    ]
    (root / "samples_lmms.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lmms))
    log = [
        {
            "id": row["index"],
            "input": row["question"],
            "target": row["answer"],
            "output": {"model": "m", "choices": [{"message": {"role": "assistant", "content": row["prediction"]}}]},
        }
        for row in rows
    ]
    (root / "log.json").write_text(json.dumps({"version": 2, "status": "success", "eval": {}, "samples": log}))
    with zipfile.ZipFile(root / "log.eval", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps({"version": 2, "status": "success"}))
        for each in log:
            archive.writestr(f"samples/{each['id']}_epoch_1.json", json.dumps(each))
    for path in sorted(root.iterdir()):
        own = sound / f"import_{path.name}"
        own.mkdir()
        shutil.copy(path, own)
        yield Kind(
            name=f"import {path.name}", root=own, path=own / path.name, read=partial(_import, "real_world_qa", samples)
        )
    mme = [s for s in load_samples(TASKS["mme"], ensure_tables()) if s.row["image_path"].startswith("OCR/")][:ROWS]
    own = sound / "import_mme"
    own.mkdir()
    cells = [(s.row["image_path"].split("/")[1], s.question, s.target, "Yes") for s in mme]
    (own / "OCR.txt").write_text("".join("\t".join(row) + "\n" for row in cells))
    yield Kind(name="import MME's txt", root=own, path=own / "OCR.txt", read=partial(_import, "mme", mme))


def _import(task: str, samples: list[Sample], path: Path) -> None:
    source = AnswerFiles(task=TASKS[task])
    source.add(path)
    found = collect(source, samples, Fields())
    known = {sample.index for sample in samples}
    assert set(found.predictions) <= known, "an answer to a question that nobody asked"
    assert found.num_missing == len(known - set(found.predictions))
    for prediction in found.predictions.values():
        assert isinstance(prediction.text, str | None), prediction
        assert isinstance(prediction.error, str | None), prediction
    score_task(TASKS[task], samples, found.predictions, None)


def run_folders(sound: Path) -> Iterator[Kind]:
    root = HERE / "data" / "run_format_1" / "run"
    files = ["run.json", *(str(path.relative_to(root)) for path in sorted(root.glob("*/*.json*")))]
    for name in files:
        yield Kind(name=f"run's {name}", root=root, path=root / name, read=partial(_read_run, len(Path(name).parts)))
    yield Kind(
        name="verdicts in the judge's store",
        root=root,
        path=root / "mm_vet/verdicts.jsonl",
        read=lambda path: VerdictStore(path),
    )
    own = sound / "baseline"
    own.mkdir()
    for name in ("baseline.json", "baseline.json.gz"):
        write_baseline(open_run(root), own / name)
        yield Kind(name=name, root=own, path=own / name, read=_read_baseline)


def _read_run(depth: int, path: Path) -> None:
    folder = path.parents[depth - 1]
    run = open_run(folder)
    for task in run.results:
        run.verdicts(task)
        run.predictions(task)
        for score in run.scores(task):
            assert score.value is None or math.isfinite(score.value), score
    with suppress(UserError):  # older than marks: what our own store says of it is a refusal as often
        for task in run.results:
            RunStore(folder).predictions(task)
    compare(run, open_run(HERE / "data" / "run_format_1" / "run"))


def _read_baseline(path: Path) -> None:
    compare(open_run(HERE / "data" / "run_format_1" / "run"), open_baseline(path))


def settings(sound: Path) -> Iterator[Kind]:
    repository = HERE.parent
    for name, file, read in (
        ("gate's policy", repository / "benchmarks/results/gate.toml", read_policy),
        ("recipe", repository / "train/recipes/mma.toml", lambda path: load_recipe(str(path))),
    ):
        own = sound / name.replace(" ", "_")
        own.mkdir()
        shutil.copy(file, own)
        yield Kind(name=name, root=own, path=own / file.name, read=read)


def training(sound: Path) -> Iterator[Kind]:
    data = sound / "training"
    write_training_data(data, num_images=40, num_captions=8, shard_size=4, questions_per_image=1)
    for path in sorted(data.rglob("*.tar")):
        kind = "ocr" if path.parent.name == FOLDERS["ocr"] else "kale"
        own = sound / f"shard_{kind}"
        own.mkdir(exist_ok=True)
        shutil.copy(path, own)
        yield Kind(name=f"shard {kind}", root=own, path=own / path.name, read=partial(_read_shard, kind))
    for each in SETS.values():
        own = sound / f"set_{each.name}"
        for name in each.annotations:
            (own / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(data / name, own / name)
        for name in each.annotations:
            read = partial(_read_set, each.name, len(Path(name).parts))
            yield Kind(name=f"set {each.name}, {Path(name).name}", root=own, path=own / name, read=read)
    picture = next(path for path in sorted(data.rglob("*")) if path.suffix in (".png", ".jpg"))
    own = sound / "pictures"
    own.mkdir()
    shutil.copy(picture, own)
    yield Kind(name="picture", root=own, path=own / picture.name, read=_read_picture)


def _read_shard(kind: Any, path: Path) -> None:
    check_shard(path)
    list(unusable_records(path, kind))


def _read_set(name: str, depth: int, path: Path) -> None:
    root = path.parents[depth - 1]
    data = InstructionData(SETS[name], root, root / ".cache")
    rng = random.Random(0)
    for index in range(len(data)):
        with suppress(UnusableRecord):
            data.example(index, rng)
    list(data.skipped)


def _read_picture(path: Path) -> None:
    try:
        read_picture(path)
    except UnreadablePicture as error:
        raise UserError(" ".join(str(error).split())) from error


KINDS = (tables, large_tables, hub_tables, imports, run_folders, settings, training)
"""Each makes its sound files below a folder, once."""
