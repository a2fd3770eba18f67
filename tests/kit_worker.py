"""VLMEvalKit's own classes at work, in a process of their own: `kit_worker.py JOBS.json RESULTS.json`.

JOBS:    {"tables": FOLDER, "prompts": [table, ...], "evaluations": [job, ...]}, a job being
         {"table": name, "judge": bool, "answers": {index: text}}.
RESULTS: {"prompts": {table: {index: [[type, value], ...]}}, "evaluations": [rows of evaluate()'s DataFrame, ...]}.

Beside RESULTS stays the kit's LMUData with the pictures it wrote.

The judge is canned: its replies are a function of the prompt alone (`canned_reply`), and it is the same on both sides.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing.dummy
import os
import random
import re
import shutil
import sys
import types
from pathlib import Path
from typing import Any

OPTIONS_OF_A_PROMPT = "There are several options: \n"


def canned_reply(prompt: str) -> str:
    """What a sensible judge might say, chosen by the prompt's hash; always something that the kit can read."""
    random_source = random.Random(hashlib.sha256(prompt.encode(errors="replace")).hexdigest())
    if "give a correctness score" in prompt:
        return random_source.choice(["0.0", "0.1", "0.5", "0.9", "1.0", "1", "0"])
    if "[Assistant 1]" in prompt:
        return f"{random_source.randint(1, 10)} {random_source.randint(1, 10)}\nBecause."
    if "Yes / No" in prompt:
        return random_source.choice(["Yes", "No", "yes", "Unknown", "No."])
    if OPTIONS_OF_A_PROMPT in prompt:
        letters = re.findall(r"^([A-Z])\. ", prompt.rsplit(OPTIONS_OF_A_PROMPT, 1)[1], re.MULTILINE)
        return random_source.choice([*letters, *(f"({letter})" for letter in letters), "Z"])
    return random_source.choice(["A", "B", "(C)", "1", "2", "3.5", "0.67", "[1, 2]", "a red circle"])


class CannedJudge:
    """In the shape of the kit's OpenAIWrapper."""

    def __init__(self, **_: Any) -> None:
        pass

    def working(self) -> bool:
        return True

    def generate(self, prompt: str, **_: Any) -> str:
        return canned_reply(prompt)


class DeadJudge(CannedJudge):
    """MathVista has no exact matching: a judge that never answers is the kit's nearest thing."""

    def generate(self, prompt: str, **_: Any) -> str:
        return "Failed to obtain answer via API."


def load_kit() -> types.ModuleType:
    """vlmeval.dataset without vlmeval's own __init__, which would import every model."""
    import importlib.util

    spec = importlib.util.find_spec("vlmeval")
    assert spec is not None
    assert spec.origin is not None
    stub = types.ModuleType("vlmeval")
    stub.__path__ = [str(Path(spec.origin).parent)]
    sys.modules["vlmeval"] = stub
    import vlmeval.dataset as kit
    import vlmeval.smp
    import vlmeval.smp.log

    sys.modules["vlmeval.dataset.smp"] = vlmeval.smp
    sys.modules["vlmeval.dataset.smp.log"] = vlmeval.smp.log
    _write_once()
    return kit


def _write_once() -> None:
    """The kit pickles all results again after every row; only the last writing counts, and it takes the time."""
    from vlmeval.utils import mp_util

    track, dump = mp_util.track_progress_rich, mp_util.dump

    def tracked(func: Any, tasks: Any, **options: Any) -> Any:
        wanted = {0, len(tasks)}
        mp_util.dump = lambda results, path: dump(results, path) if len(results) in wanted else None
        return track(func, tasks, **{**options, "nproc": 1})

    for module in list(sys.modules.values()):
        if getattr(module, "track_progress_rich", None) is track and module is not mp_util:
            module.track_progress_rich = tracked  # type: ignore[attr-defined]


def build(kit: Any, table: str) -> Any:
    for cls in {cls for cls in vars(kit).values() if isinstance(cls, type)}:
        if table in getattr(cls, "DATASET_MD5", {}):
            cls.DATASET_MD5[table] = None
    return kit.build_dataset(table)


def prompts(kit: Any, table: str) -> tuple[str, dict[str, Any]]:
    """The name of the class that owns the table, and its prompt of every row by index."""
    dataset = build(kit, table)
    found: dict[str, Any] = {}
    for position in range(len(dataset)):
        message = dataset.build_prompt(position)
        found[str(dataset.data.iloc[position]["index"])] = [[part["type"], str(part["value"])] for part in message]
    return type(dataset).__name__, found


def evaluate(kit: Any, job: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """In a fresh folder: the kit takes up whatever lies about from before."""
    dataset = build(kit, job["table"])
    data = dataset.data.drop(columns=["image"]).copy()
    data["prediction"] = [job["answers"][str(index)] for index in data["index"]]
    file = folder / f"model_{job['table']}.pkl"  # pickled: the kit's .xlsx would change the answers
    data.to_pickle(file)
    judge = CannedJudge if job["judge"] else DeadJudge
    for module in ("image_mcq", "image_yorn", "image_vqa"):
        sys.modules[f"vlmeval.dataset.{module}"].build_judge = judge  # type: ignore[attr-defined]
    always_judged = job["table"] in ("MathVista_MINI", "MMVet", "LLaVABench")
    name = "canned" if job["judge"] or always_judged else "exact_matching"
    sys.modules["vlmeval.dataset.image_vqa"].mp = multiprocessing.dummy  # type: ignore[attr-defined]  # threads
    result = dataset.evaluate(str(file), model=name, nproc=1)
    if isinstance(result, dict):
        return [result]
    return json.loads(result.to_json(orient="records", double_precision=15))


def main(jobs_file: str, results_file: str) -> None:
    jobs = json.loads(Path(jobs_file).read_text("utf-8"))
    root = Path(results_file).resolve().parent
    shutil.copytree(jobs["tables"], root / "LMUData")
    os.environ["LMUData"] = str(root / "LMUData")  # noqa: SIM112
    os.environ["PRED_FORMAT"] = "tsv"  # of the kit's own files in between; .xlsx takes most of the time
    kit = load_kit()
    results: dict[str, Any] = {"classes": {}, "prompts": {}, "evaluations": []}
    for table in jobs["prompts"]:
        results["classes"][table], results["prompts"][table] = prompts(kit, table)
    for number, job in enumerate(jobs["evaluations"]):
        folder = root / f"evaluation{number}"
        folder.mkdir()
        results["evaluations"].append(evaluate(kit, job, folder))
    Path(results_file).write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
