"""Recipes: what is trained on what, in which order, with which settings.

A recipe is a TOML file. `extends` names another file of the same folder that is read first; tables are merged key by
key. The tables `[pretrain]` and `[sft]` hold what all stages of a kind share (Table 3), each `[[stage]]` what is its
own.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from benchmarks.errors import UserError
from model.kinds import KINDS

from .data.collate import ImageOrder, Truncation
from .data.pictures import Augmentation

RECIPES = Path(__file__).parent / "recipes"

Kind = Literal["pretrain", "sft"]
Averaging = Literal["token", "micro_batch"]
Decay = Literal["standard", "original"]
Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of training. Defaults are those of Table 3 where both stages share them."""

    name: str
    kind: Kind
    attention: str = "causal"
    """A kind of `model.kinds.KINDS`."""
    image_order: ImageOrder = "image_first"
    data: Mapping[str, float]
    """Caption or instruction sets and their probabilities, on any scale."""
    steps: int
    batch_size: int
    """Samples an optimizer step, over all processes and accumulation."""
    learning_rate: float
    min_learning_rate: float
    warmup_steps: int
    weight_decay: float
    max_length: int
    """Tokens, the image counted as one (Table 3)."""
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    precision: Precision = "bf16"
    schedule_steps: int | None = None
    """Horizon of the cosine; None: `steps`."""
    averaging: Averaging = "token"
    """token: every learned token of an optimizer step weighs the same. micro_batch: mean of micro-batch means."""
    decay: Decay = "standard"
    """standard: no decay of norms, biases, embeddings and latents. original: of everything but the embeddings."""
    truncation: Truncation = "open"
    augmentation: Augmentation = "none"
    pad_to_max_length: bool = False
    group_steps: int = 1
    """Samples are sorted by length within so many optimizer steps. 1: no step's samples change. 0: not sorted."""
    allow_mutual_pretraining: bool = False
    streams: int = 64
    """Shard streams of a caption stage; processes times workers must divide it."""
    shuffle_block: int = 512
    """Records of a shard that are shuffled among each other."""
    max_skipped: int = 1000
    """So many unreadable records end the stage."""
    seed: int = 42

    def __post_init__(self) -> None:
        check_literals(self, f"stage {self.name!r}")
        for key in ("steps", "batch_size", "max_length", "streams", "shuffle_block"):
            require(getattr(self, key) > 0, f"stage {self.name!r}: {key} is {getattr(self, key)}, expected at least 1")
        require(
            0 <= self.min_learning_rate <= self.learning_rate,
            f"stage {self.name!r}: min_learning_rate {self.min_learning_rate} is not between 0 and learning_rate "
            f"{self.learning_rate}",
        )
        require(bool(self.data), f"stage {self.name!r}: data is empty, expected a table of sets and probabilities")
        bad = {name: weight for name, weight in self.data.items() if weight <= 0}
        require(not bad, f"stage {self.name!r}: probabilities must be positive, found {bad}")
        require(
            self.attention in KINDS,
            f"stage {self.name!r}: attention is {self.attention!r}, expected one of {', '.join(map(repr, KINDS))}",
        )
        require(
            self.kind == "sft" or not self.reads_question or self.allow_mutual_pretraining,
            f"stage {self.name!r}: attention = {self.attention!r} in pretraining would let the image tokens read the "
            "caption that is to be predicted from them, and the loss would measure copying; use 'causal' as the paper "
            "does, or set allow_mutual_pretraining = true to study the leak",
        )

    @property
    def reads_question(self) -> bool:
        """Whether pictures see the text behind them up to a question end."""
        return KINDS[self.attention].question_reaches_image


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """What the model is built of."""

    vision: str = "google/siglip-so400m-patch14-384"
    text: str = "microsoft/Phi-3.5-mini-instruct"
    num_image_tokens: int = 144
    resampler: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of the resampler, as AkiConfig names them."""
    question_end: str = "<|assistant|>"
    gradient_checkpointing: bool = True


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole training: model and stages in order."""

    name: str
    title: str
    row: str | None = None
    """Row of Table 1 (`row_id` of the paper's table) that it reproduces."""
    model: ModelChoice
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        require(bool(names), f"recipe {self.name!r} has no [[stage]]")
        require(len(set(names)) == len(names), f"recipe {self.name!r}: two stages have the same name: {names}")


def load_recipe(name_or_path: str) -> Recipe:
    """A recipe by name (`mma`) or path.

    Raises:
        UserError: missing file, not TOML, an unknown or missing key, a value out of range.
    """
    raw = _read(_find(name_or_path))
    unknown = set(raw) - {"name", "title", "row", "model", "pretrain", "sft", "stage"}
    require(not unknown, f"{name_or_path}: unknown keys {sorted(unknown)}")
    stages = [{**raw.get(stage.get("kind", ""), {}), **stage} for stage in raw.get("stage", [])]
    return Recipe(
        name=raw.get("name", Path(name_or_path).stem),
        title=raw.get("title", raw.get("name", name_or_path)),
        row=raw.get("row"),
        model=build(ModelChoice, raw.get("model", {}), f"{name_or_path}: [model]"),
        stages=tuple(build(Stage, stage, f"{name_or_path}: stage {stage.get('name')!r}") for stage in stages),
    )


def recipe_names() -> list[str]:
    """The recipes that come with the project, the shared base left out."""
    return sorted(path.stem for path in RECIPES.glob("*.toml") if path.stem != "paper")


def build(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """A dataclass from a TOML table; lists become tuples. Raises UserError on unknown and missing keys."""
    fields = {one.name: one for one in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(fields))
    require(not unknown, f"{where}: unknown settings {unknown}; known are {sorted(fields)}")
    missing = [
        name
        for name, one in fields.items()
        if name not in values and one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
    ]
    require(not missing, f"{where}: settings missing: {missing}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def check_literals(record: Any, where: str) -> None:
    """Raises UserError when a field typed as Literal holds another value."""
    for name, hint in get_type_hints(type(record)).items():
        value = getattr(record, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise UserError(f"{where}: {name} is {value!r}, expected one of {', '.join(map(repr, get_args(hint)))}")


def require(condition: bool, message: str) -> None:
    """Raises UserError with this message unless the condition holds."""
    if not condition:
        raise UserError(message)


def _find(name_or_path: str) -> Path:
    for path in (Path(name_or_path), RECIPES / f"{name_or_path}.toml"):
        if path.is_file():
            return path
    raise UserError(f"recipe {name_or_path!r}: neither a file nor one of {', '.join(recipe_names())}")


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML ({error})") from None
    base = raw.pop("extends", None)
    return _merged(_read(path.parent / base), raw) if base else raw


def _merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping) and key != "data"
        merged[key] = _merged(merged[key], value) if both else value
    return merged
