"""Which files hold whose answers to which benchmark: by what `--bench` says, else by names that tools give.

VLMEvalKit: MODEL_TABLE.xlsx (.tsv, .json) in outputs/MODEL/, or in outputs/MODEL/T<date>_G<commit>/ with links to the
newest beside (vlmeval/inference.py, run.py, smp/file.py). What it writes beside, such as MODEL_TABLE_score.csv, ends on
no table's name. lmms-eval: <time>_samples_TASK.jsonl. MME: a folder of OCR.txt, artwork.txt, ... MMMU: a folder of
SUBJECT/output.json.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.errors import UserError
from benchmarks.task import Task
from benchmarks.tasks import TASKS

from .files import SUFFIXES, suffix_of

KIT_SUFFIXES = (".xlsx", ".tsv", ".json")
KIT_RUN = re.compile(r"T\d{8}(?:[-_]?\d{6})?(?:_G\w+)?")
MME_FILES = {
    *("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "ocr"),
    *("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"),
}
LMMS_EVAL = {
    "mme": "mme",
    "mmbench_en_dev": "mmbench",
    "seedbench": "seed_image",
    "llava_in_the_wild": "llava_bench",
    "mmmu_val": "mmmu",
    "mathvista_testmini": "mathvista",
    "mathvista_testmini_cot": "mathvista",
    "mathvista_testmini_format": "mathvista",
    "mathvista_testmini_solution": "mathvista",
    "pope": "pope",
    "mmvet": "mm_vet",
    "realworldqa": "real_world_qa",
    "cv_bench": "cv_bench",
    "cv_bench_2d": "cv_bench",
    "cv_bench_3d": "cv_bench",
}
"""lmms-eval's names of tasks over the same questions."""


@dataclass(kw_only=True)
class AnswerFiles:
    """The files with one model's answers to one benchmark; of a task with several tables, the table of each file."""

    task: Task
    files: list[Path] = field(default_factory=list)
    tables: dict[Path, str | None] = field(default_factory=dict)
    model: str | None = None

    def add(self, path: Path, table: str | None = None) -> None:
        self.files.append(path)
        self.tables[path] = table if len(self.task.tables) > 1 else None


@dataclass(kw_only=True)
class Sources:
    """What was found, by task; `notes` say what was left out, and why."""

    by_task: dict[str, AnswerFiles] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    models: set[str] = field(default_factory=set)

    def add(self, task: Task, path: Path, table: str | None) -> None:
        self.by_task.setdefault(task.name, AnswerFiles(task=task)).add(path, table)


def find_sources(paths: Sequence[Path], wanted: Sequence[Task] | None) -> Sources:
    """`wanted` None: whatever benchmarks the names speak of.

    Raises:
        UserError: a path is not there, a name speaks of no benchmark, or a folder holds several models' answers.
    """
    found = Sources()
    for path in paths:
        if path.is_dir():
            _folder(path, wanted, found)
        else:
            task, table = _named(path, wanted)
            found.add(task, path, table)
    twice = [path for source in found.by_task.values() for path in source.files if source.files.count(path) > 1]
    if twice:
        raise UserError(f"{twice[0]} is given twice")
    return found


def _named(path: Path, wanted: Sequence[Task] | None) -> tuple[Task, str | None]:
    """The benchmark of one file, by its name or because only one is asked for.

    Raises:
        UserError: none of both says it.
    """
    among = list(TASKS.values()) if wanted is None else list(wanted)
    known = _of_name(path, among)
    if known is not None:
        return known
    if len(among) == 1:
        return among[0], None
    raise UserError(
        f"{path}: its name speaks of no benchmark; say which by --bench, one at a time (aki-eval list shows them)"
    )


def _of_name(path: Path, among: Iterable[Task]) -> tuple[Task, str | None] | None:
    stem = path.name[: -len("".join(path.suffixes[-2:]))] if path.suffix == ".gz" else path.stem
    for task in among:
        for table in task.tables:
            if stem == table.name or stem.endswith(f"_{table.name}"):
                return task, table.name
    name = stem.rpartition("samples_")[2] if "samples_" in stem else ""
    known = TASKS.get(LMMS_EVAL.get(name, ""))
    return (known, None) if known is not None and known in among else None


def _folder(path: Path, wanted: Sequence[Task] | None, found: Sources) -> None:
    among = list(TASKS.values()) if wanted is None else list(wanted)
    texts = [file for file in sorted(path.glob("*.txt")) if file.stem.casefold() in MME_FILES]
    if texts and TASKS["mme"] in among:
        for file in texts:
            found.add(TASKS["mme"], file, None)
        found.models.add(path.resolve().name)
    elif not (_kit_folder(path, among, found) or _same_names(path, among, found)):
        raise UserError(
            f"{path} holds no predictions that its files' names tell (VLMEvalKit's MODEL_TABLE.xlsx, "
            "lmms-eval's samples_TASK.jsonl, MME's OCR.txt, or SUBJECT/output.json with --bench); name the files"
        )


# VLMEvalKit's output folder, and lmms-eval's.


def _kit_folder(path: Path, among: Sequence[Task], found: Sources) -> bool:
    """The newest predictions for each table.

    Raises:
        UserError: they are of several models.
    """
    runs = sorted((each for each in path.iterdir() if each.is_dir() and KIT_RUN.fullmatch(each.name)), reverse=True)
    places = [path, *runs]
    by_table: dict[tuple[str, str], list[Path]] = {}
    for place in places:
        for file in sorted(place.iterdir()):
            if not file.is_file() or suffix_of(file) not in (*KIT_SUFFIXES, ".jsonl", ".csv"):
                continue
            known = _of_name(file, among)
            if known is not None:
                by_table.setdefault((known[0].name, known[1] or ""), []).append(file)
    if not by_table:
        _refuse_several(path, among)
        return False
    model = _model(path, [file for files in by_table.values() for file in files], among)
    for (task, table), files in by_table.items():
        own = [file for file in files if model is None or file.stem.startswith(f"{model}_") or not table]
        if not own:
            continue
        found.add(next(each for each in among if each.name == task), own[0], table or None)
        older = [file for file in own[1:] if file.resolve() != own[0].resolve()]
        if older:
            found.notes.append(f"{own[0]} is taken for {table or task}; {len(older)} older ones are not: {older[0]}")
    if model is not None:
        found.models.add(model)
    found.notes += _left_out(places, among)
    return True


def _model(path: Path, files: Sequence[Path], among: Sequence[Task]) -> str | None:
    """Whose the files are by VLMEvalKit's naming: the folder's, or the one that they all name; None by other naming.

    Raises:
        UserError: there are several.
    """
    tables = [table.name for task in (*TASKS.values(), *among) for table in task.tables]
    models = {
        file.stem.removesuffix(f"_{table}") for file in files for table in tables if file.stem.endswith(f"_{table}")
    }
    folder = path.resolve().parent.name if KIT_RUN.fullmatch(path.resolve().name) else path.resolve().name
    if folder in models or not models:
        return folder if models else None
    if len(models) > 1:
        raise UserError(f"{path} holds predictions of several models ({', '.join(sorted(models))}); name the files")
    return models.pop()


def _left_out(places: Sequence[Path], among: Sequence[Task]) -> list[str]:
    """VLMEvalKit's predictions of which nothing is taken: unfinished (a pickle: it is never opened)."""
    notes = []
    tables = {table.name for task in among for table in task.tables}
    for place in places:
        for file in sorted(place.glob("*.pkl")):
            table = re.fullmatch(r"\d{2,4}_(.+)", file.stem)
            if table and table[1] in tables:
                notes.append(f"{file} is an unfinished run of VLMEvalKit; let it finish and import it then")
    return notes


def _refuse_several(path: Path, among: Sequence[Task]) -> None:
    """Refuses a folder of several models' folders.

    Raises:
        UserError: folders in `path` are VLMEvalKit's, one a model.
    """
    models = [
        folder.name
        for folder in sorted(path.iterdir())
        if folder.is_dir()
        and any(_of_name(file, among) for file in folder.iterdir() if suffix_of(file) in KIT_SUFFIXES)
    ]
    if models:
        raise UserError(
            f"{path} holds folders of models ({', '.join(models[:5])}); name one of them: {path / models[0]}"
        )


def _same_names(path: Path, among: Sequence[Task], found: Sources) -> bool:
    """Folders that each hold a file of one name, such as SUBJECT/output.json, of the one benchmark asked for."""
    by_name: dict[str, list[Path]] = {}
    for file in sorted(path.glob("*/*")):
        if file.is_file() and suffix_of(file) in SUFFIXES:
            by_name.setdefault(file.name, []).append(file)
    if len(among) != 1 or not by_name:
        return False
    most = by_name.get("output.json") or max(by_name.values(), key=len)
    for file in most:
        found.add(among[0], file, None)
    found.models.add(path.resolve().name)
    left = sorted(name for name in by_name if by_name[name] is not most)
    if left:
        found.notes.append(f"{path}: {len(most)} files {most[0].name} are taken; not {', '.join(left[:5])}")
    return True
