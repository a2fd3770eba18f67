"""Results for a model's page on the Hugging Face Hub.

Two forms, both made by huggingface_hub's own classes: `.eval_results/<task>.yaml` (what the Hub reads today) and a
model card with `model-index` metadata (what it read before, for benchmarks that it does not know). Neither has a field
for an interval, a judge or a protocol: these go into the notes, so that no number travels without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data.root import OFFICIAL, is_toy
from benchmarks.errors import UserError
from benchmarks.printable import in_words
from benchmarks.results.folder import RunFolder, TaskResult
from benchmarks.results.record import RunRecord
from benchmarks.scoring import worth_saying

from . import paper
from .other_tables import other_entries
from .paper import PaperLine
from .render import markdown
from .series import find_metric, run_cell
from .tables import Cell, Table

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry

DATASETS = {
    "mme": "lmms-lab/MME",
    "mmbench": "lmms-lab/MMBench_EN",
    "seed_image": "lmms-lab/SEED-Bench",
    "llava_bench": "lmms-lab/llava-bench-in-the-wild",
    "mmmu": "MMMU/MMMU",
    "mathvista": "AI4Math/MathVista",
    "pope": "lmms-lab/POPE",
    "mm_vet": "whyu/mm-vet",
    "real_world_qa": "xai-org/RealworldQA",
    "cv_bench": "nyu-visionx/CV-Bench",
}
"""Where the Hub keeps each benchmark. The toolkit itself measures on VLMEvalKit's tables of the same questions."""

FOLDER = ".eval_results"
CARD = "README.md"


@dataclass(frozen=True)
class Result:
    """One number to publish and the line about it."""

    entry: PaperLine
    cell: Cell
    notes: str


def results(run: RunFolder) -> list[Result]:
    """The columns that the run has numbers for: the paper's in its order, then other benchmarks'."""
    found = []
    for entry in (*paper.entries("main"), *other_entries([run])):
        result = run.results.get(entry.task)
        cell = run_cell(result, entry.metric) if result else Cell()
        if result and cell.value is not None:
            found.append(Result(entry, cell, notes_on(result, cell, run.record)))
    return found


def notes_on(result: TaskResult, cell: Cell, record: RunRecord | None) -> str:
    """Everything that a bare number would hide, in one line."""
    parts = [f"AKI toolkit, {result.about.title}", f"protocol {cell.protocol}", f"{result.prompts} prompts"]
    if cell.ci95:
        parts.append(f"95 % interval {cell.ci95[0]:.1f} to {cell.ci95[1]:.1f}")
    parts.append(f"{cell.num_scored} of {cell.num_samples} samples scored")
    metric = find_metric(result.protocols[result.headline], cell.metric or "")
    why = result.why_not_comparable(metric)
    if metric and (why or worth_saying(metric)):
        parts.append(why or f"{metric.num_unread} of {metric.num_scored} answers unread")
    if result.judge:
        comparable = "" if result.comparable_judge else " (not comparable to GPT-4)"
        parts.append(f"judge {result.judge.get('name')}{comparable}")
    if result.subset:
        parts.append(f"subset: {in_words(result.subset)}")
    source = result.data.get("source")
    own = "VLMEvalKit's tables" if source == OFFICIAL else "own tables"
    parts.append("toy world, not the benchmark" if is_toy(source) else own)
    if record and record.model.is_served:
        parts.append("a server answered, mask not verified")
    versions = record.sessions[-1].versions if record and record.sessions else {}
    parts += [f"{name} {versions[name]}" for name in ("transformers", "ms-vlmeval") if name in versions]
    return "; ".join(parts)


def entries(run: RunFolder) -> dict[str, list[EvalResultEntry]]:
    """Entries by task, one file each; of benchmarks that the Hub keeps, which is all that it asks of them.

    None for the toy world, whose numbers are no results of the benchmark named.
    """
    from huggingface_hub import EvalResultEntry

    found: dict[str, list[EvalResultEntry]] = {}
    for each in results(run):
        if each.entry.task not in DATASETS or run.results[each.entry.task].toy:
            continue
        entry = EvalResultEntry(
            dataset_id=DATASETS[each.entry.task],
            task_id=f"{each.entry.task}_{each.entry.metric}",
            value=round(each.cell.value or 0.0, 2),
            date=measured_on(run),
            notes=each.notes,
        )
        found.setdefault(each.entry.task, []).append(entry)
    return found


def measured_on(run: RunFolder) -> str | None:
    """When the last stretch of work on the run ended, or began."""
    if run.record is None or not run.record.sessions:
        return None
    session = run.record.sessions[-1]
    return session.finished or session.started


def model_index(run: RunFolder) -> list[EvalResult]:
    """The same numbers for the card's `model-index`."""
    from huggingface_hub import EvalResult

    def toy(each: Result) -> bool:
        return run.results[each.entry.task].toy

    def title(each: Result) -> str:
        return run.results[each.entry.task].about.title

    def known(each: Result) -> str:
        return DATASETS.get(each.entry.task, each.entry.task)

    return [
        EvalResult(
            task_type="image-text-to-text",
            dataset_type=f"toy-world/{each.entry.task}" if toy(each) else known(each),
            dataset_name=f"toy world's {title(each)}" if toy(each) else title(each),
            metric_type=each.entry.metric,
            metric_name=f"{each.entry.label} ({each.notes})",
            metric_value=round(each.cell.value or 0.0, 2),
            verified=False,
        )
        for each in results(run)
    ]


def card(run: RunFolder, name: str, tables: list[Table]) -> str:
    """The model card: metadata, then the tables with their footnotes."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        model_name=name, pipeline_tag="image-text-to-text", library_name="transformers", eval_results=model_index(run)
    )
    body = "\n".join(markdown.render(table) for table in tables)
    return f"---\n{data.to_yaml()}\n---\n\n# {name}\n\n## Evaluation\n\n{body}"


def write_card(run: RunFolder, name: str, tables: list[Table], out: Path) -> list[Path]:
    """Writes the card and the result files below `out`, and returns what was written."""
    import yaml  # type: ignore[import-untyped]
    from huggingface_hub import eval_result_entries_to_yaml

    written = [out / CARD]
    out.mkdir(parents=True, exist_ok=True)
    written[0].write_text(card(run, name, tables), encoding="utf-8")
    for task, found in entries(run).items():
        path = out / FOLDER / f"{task}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(eval_result_entries_to_yaml(found), sort_keys=False), encoding="utf-8")
        written.append(path)
    return written


def unfit(run: RunFolder) -> Iterator[str]:
    """Reasons why a run must not be published, one sentence each."""
    for task, result in run.results.items():
        if result.toy:
            yield f"{task} was measured on the toy world"
        elif result.subset is not None:
            yield f"{task} was measured on a subset"
        elif not result.complete:
            yield f"{task} is incomplete"
        else:
            metrics = (result.protocols[result.headline].get(name) for name in result.about.headline_metrics)
            yield from (f"{task} is {why}" for metric in metrics if (why := result.why_not_comparable(metric)))


def push(run: RunFolder, out: Path, repository: str) -> str:
    """Uploads the result files, and the card where the repository has none, as a pull request. Returns its address.

    Raises:
        UserError: the run is not fit to be published, or the Hub refuses.
    """
    reasons = list(unfit(run))
    if reasons:
        raise UserError(f"--push: not published, {'; '.join(reasons[:3])}; leave --push away to write it only")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    patterns = [f"{FOLDER}/*.yaml"]
    try:
        if not api.file_exists(repository, CARD):
            patterns.append(CARD)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=out,
            allow_patterns=patterns,
            commit_message="Add evaluation results",
            create_pr=True,
        )
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--push {repository}: {reason}; check the name, and that you are logged in") from error
    return str(commit.pr_url or commit.commit_url)
