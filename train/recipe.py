"""Recipes: what is trained on what, in which order, with which settings.

A recipe is a TOML file. `extends` names another one that is read first, beside it or one that comes with the project;
tables are merged key by key. The tables `[pretrain]` and `[sft]` hold what all stages of a kind share (Table 3), each
`[[stage]]` what is its own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, FiniteFloat, model_serializer, model_validator

from benchmarks.checked import Checked
from benchmarks.errors import UserError
from model.kinds import KINDS, layer_range

from .data.captions import FOLDERS
from .data.collate import ImageOrder, Truncation
from .data.instructions import SETS
from .data.pictures import Augmentation

RECIPES = Path(__file__).parent / "recipes"
BASE = "paper"
"""What all of ours share; no recipe by itself."""

Kind = Literal["pretrain", "sft"]
Averaging = Literal["token", "micro_batch"]
Decay = Literal["standard", "original"]
Precision = Literal["bf16", "fp32"]
Logits = Literal["learned", "all"]
Backend = Literal["eager", "sdpa", "flex_attention"]

Count = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]
FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
"""A folder of the run is named like this; nothing in it leads out of there."""


class Validation(Checked):
    """Loss on samples that are never trained on, of each set of the stage (`data/held_out.py` says which)."""

    every: Count
    """Optimizer steps between two measurements. There is one before the first step and one after the last, too."""
    samples: Count = 256
    """Of each set, at most."""
    share: Annotated[FiniteFloat, Field(gt=0, le=0.5)] = 0.01
    """Of the pictures that are held out."""
    answers: NonNegativeInt = 2
    """Samples of each set that are answered for the log, greedily."""
    answer_tokens: Count = 48
    """At most, of such an answer."""


class Lora(Checked):
    """Adapters in the text backbone instead of training it whole (`lora.py`)."""

    rank: Count = 64
    alpha: Positive = 128.0
    """What adapters add is scaled by alpha / rank."""
    dropout: Beta = 0.0
    layers: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    """Linear layers by the last part of their names, `["qkv_proj", "o_proj"]`. None: all of the backbone's."""


class Ema(Checked):
    """Exponential averages of the trained weights."""

    decay: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.999
    export: bool = False
    """Whether they are the stage's model, in the place of the last weights."""


class Stage(Checked):
    """One stage of training. Defaults are those of Table 3 where both stages share them."""

    name: FolderName
    kind: Kind
    attention: str = "causal"
    """A kind of `model.kinds.KINDS`."""
    attention_layers: Mapping[str, str] | None = None
    """Layers of the text backbone with another kind, `{ "0-9" = "causal" }`. None: all have `attention`."""
    image_order: ImageOrder = "image_first"
    """Of this training alone (Eq. 4); how the model is asked afterwards is the processor's."""
    data: Mapping[str, Positive] = Field(min_length=1)
    """Caption or instruction sets and their probabilities, on any scale."""
    steps: Count
    batch_size: Count
    """Samples an optimizer step, over all processes and accumulation."""
    learning_rate: Positive
    min_learning_rate: NotNegative
    warmup_steps: NonNegativeInt
    weight_decay: NotNegative
    max_length: Count
    """Tokens, the image counted as one (Table 3)."""
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.999)
    epsilon: Positive = 1e-8
    max_grad_norm: NotNegative = 1.0
    """0: gradients are not clipped."""
    precision: Precision = "bf16"
    schedule_steps: Count | None = None
    """Horizon of the cosine; None: `steps`."""
    averaging: Averaging = "token"
    """token: every learned token of an optimizer step weighs the same. micro_batch: mean of micro-batch means."""
    decay: Decay = "standard"
    """standard: no decay of norms, biases, embeddings and latents. original: of everything but the embeddings."""
    truncation: Truncation = "open"
    augmentation: Augmentation = "none"
    pad_to_max_length: bool = False
    group_steps: NonNegativeInt = 1
    """Samples are sorted by length within so many optimizer steps, whose order is then shuffled. 1: no step's samples
    change. 0: not sorted."""
    allow_mutual_pretraining: bool = False
    streams: Count = 384
    """Shard streams of a caption stage, fewer where there are fewer shards; the number of processes must divide it."""
    shards: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    """Of a caption stage: addresses, patterns, folders and lists (`data/shards.py`), in the place of the data root's
    folder."""
    shuffle_block: Count = 128
    """Records of a shard that are shuffled among each other."""
    validation: Validation | None = None
    lora: Lora | None = None
    ema: Ema | None = None
    logits: Logits = "learned"
    """learned: of the positions whose next token is learned. all: of every position, with the same loss."""
    gradient_checkpointing: bool | None = None
    """Compute activations twice instead of keeping them; None, and unless the command line says: on GPUs."""
    attention_backend: Backend = "sdpa"
    """Of the text backbone."""
    compile: bool = False
    """Layers run as torch.compile makes them."""
    max_skipped: NonNegativeInt = 1000
    """So many unreadable records end the stage."""
    seed: NonNegativeInt = 42

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate {self.min_learning_rate} is not between 0 and learning_rate {self.learning_rate}"
            )
        if self.attention not in KINDS:
            raise ValueError(f"attention is {self.attention!r}, expected one of {', '.join(map(repr, KINDS))}")
        for layers, kind in (self.attention_layers or {}).items():
            layer_range(layers)
            if kind not in KINDS:
                raise ValueError(f"attention_layers names {kind!r}, expected one of {', '.join(map(repr, KINDS))}")
        self._check_data()
        if self.kind == "pretrain" and self.reads_question and not self.allow_mutual_pretraining:
            raise ValueError(
                f"attention = {self.attention!r} in pretraining would let the image tokens read the caption that is to "
                "be predicted from them, and the loss would measure copying; use 'causal' as the paper does, or set "
                "allow_mutual_pretraining = true to study the leak"
            )
        return self

    def _check_data(self) -> None:
        known = list(FOLDERS) if self.kind == "pretrain" else list(SETS)
        unknown = [name for name in self.data if name not in known]
        if unknown:
            raise ValueError(f"data names {unknown[0]!r}; sets of a {self.kind} stage are {', '.join(known)}")
        if self.kind == "pretrain" and len(self.data) != 1:
            raise ValueError(f"data names {len(self.data)} caption sets, expected one a stage; make a stage of each")
        if self.kind == "sft" and self.shards is not None:
            raise ValueError("shards is of caption stages; instruction sets lie below the data root")
        if piped := next((one for one in self.shards or () if one.startswith("pipe:")), None):
            raise ValueError(f"shards names {piped!r}: nothing is run to get data; expected addresses or folders")

    @property
    def reads_question(self) -> bool:
        """Whether pictures see the text behind them up to a question end."""
        used = {self.attention, *(self.attention_layers or {}).values()}
        return any(KINDS[kind].question_reaches_image for kind in used)


class ResamplerChoice(Checked):
    """Settings of the resampler, as AkiConfig names them. What is not said is AkiConfig's default."""

    resampler_depth: Count | None = None
    resampler_heads: Count | None = None
    resampler_dim_head: Count | None = None
    resampler_ff_mult: Count | None = None
    resampler_position_encoding: Literal["none", "sincos"] | None = None
    resampler_init: Literal["normal", "identity"] | None = None

    @model_serializer
    def settings(self) -> dict[str, Any]:
        """What was said, as keywords of AkiConfig."""
        return {name: value for name, value in self if value is not None}


class ModelChoice(Checked):
    """What the model is built of. The token that ends a question comes from the chat template of the text backbone."""

    vision: str = "google/siglip-so400m-patch14-384"
    text: str = "microsoft/Phi-3.5-mini-instruct"
    num_image_tokens: Count = 144
    resampler: ResamplerChoice = ResamplerChoice()


class Recipe(Checked):
    """A whole training: model and stages in order."""

    name: str
    title: str
    row: str | None = None
    """Row of Table 1 (`row_id` of the paper's table) that it reproduces."""
    model: ModelChoice
    stages: tuple[Stage, ...]

    @model_validator(mode="after")
    def _has_distinct_stages(self) -> Self:
        names = [stage.name for stage in self.stages]
        if not names:
            raise ValueError(f"recipe {self.name!r} has no [[stage]]")
        if len({name.casefold() for name in names}) != len(names):
            raise ValueError(f"recipe {self.name!r}: two stages have the same name: {names}")
        return self


class RecipeFile(Checked):
    """A recipe as TOML holds it, what it extends merged in."""

    name: str | None = None
    title: str | None = None
    row: str | None = None
    model: Mapping[str, Any] = Field(default_factory=dict)
    pretrain: Mapping[str, Any] = Field(default_factory=dict)
    sft: Mapping[str, Any] = Field(default_factory=dict)
    stage: Sequence[Mapping[str, Any]] = ()


def load_recipe(name_or_path: str) -> Recipe:
    """A recipe by name (`mma`) or path.

    Raises:
        UserError: a missing file, not TOML, an unknown or missing key, a value of the wrong type or out of range; one
            line that names file, table and key.
    """
    path = _find(name_or_path)
    read = _read(path, ())
    file = RecipeFile.of(read.content, lambda key: f"{read.home(key) or path}")
    for table in ("pretrain", "sft"):
        unknown = sorted(set(getattr(file, table)) - (Stage.model_fields.keys() - {"name", "kind"}))
        if unknown:
            raise UserError(
                f"{read.home(table, unknown[0])}: [{table}]: {unknown[0]} is no setting that stages of a kind share"
            )
    content = {
        "name": file.name or path.stem,
        "title": file.title or file.name or path.stem,
        "row": file.row,
        "model": ModelChoice.of(file.model, lambda key: f"{read.home('model', key) or path}: [model]"),
        "stages": tuple(_stage(one, file, read, path) for one in file.stage),
    }
    return Recipe.of(content, str(path))


def _stage(own: Mapping[str, Any], file: RecipeFile, read: Read, path: Path) -> Stage:
    """A stage with what stages of its kind share."""
    kind = own.get("kind")
    shared = {"pretrain": file.pretrain, "sft": file.sft}.get(kind, {}) if isinstance(kind, str) else {}

    def where(key: str) -> str:
        if key in shared and key not in own:
            return f"{read.home(str(kind), key) or path}: [{kind}]"
        return f"{read.home('stage') or path}: [[stage]] {own.get('name')!r}"

    return Stage.of({**shared, **own}, where)


def recipe_names() -> list[str]:
    """The recipes that come with the project, the shared base left out."""
    return sorted(path.stem for path in RECIPES.glob("*.toml") if path.stem != BASE)


class Read(NamedTuple):
    """The merged content of a file and those it extends, and the file that each table and key came from."""

    content: dict[str, Any]
    homes: Mapping[tuple[str, ...], Path]

    def home(self, *place: str) -> Path | None:
        """The file of a key, or of the table around it."""
        return next((self.homes[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self.homes), None)


def _find(name_or_path: str) -> Path:
    for path in (Path(name_or_path), RECIPES / f"{name_or_path}.toml"):
        if path.is_file():
            return path
    raise UserError(f"recipe {name_or_path!r}: neither a file nor one of {', '.join(recipe_names())}")


def _read(path: Path, above: tuple[Path, ...]) -> Read:
    """Args: above: the files that led here by `extends`."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not TOML ({error!s:.300})") from None
    base = content.pop("extends", None)
    own = Read(content, dict.fromkeys(_places(content), path))
    if base is None:
        return own
    chain = (*above, path.resolve())
    below = _read(_extended(base, path, chain), chain)
    return Read(_merged(below.content, content), {**below.homes, **own.homes})


def _extended(base: Any, path: Path, chain: tuple[Path, ...]) -> Path:
    """The file that `extends` means: beside the one that says so, else one of ours."""
    if not isinstance(base, str):
        raise UserError(f"{path}: extends is {base!r}, expected the name of a recipe file")
    found = [one for one in (path.parent / base, RECIPES / base, RECIPES / f"{base}.toml") if one.is_file()]
    new = [one for one in found if one.resolve() not in chain]
    if new:
        return new[0]
    if found:
        raise UserError(f"{path}: extends = {base!r} goes in a circle: {' -> '.join(one.name for one in chain)}")
    raise UserError(
        f"{path}: extends = {base!r}: neither a file in {path.parent} nor one of {BASE}, {', '.join(recipe_names())}"
    )


def _places(content: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The keys of a file, and the keys of its tables."""
    inner = [(table, key) for table, keys in content.items() if isinstance(keys, Mapping) for key in keys]
    return [*((key,) for key in content), *inner]


def _merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping) and key != "data"
        merged[key] = _merged(merged[key], value) if both else value
    return merged
