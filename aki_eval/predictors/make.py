"""From the text behind `--model` to a predictor."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from benchmarks import plugins
from benchmarks.errors import UserError
from model.kinds import KINDS, OURS, Kind

from .base import Predictor
from .given import Answers, GivenPredictor

if TYPE_CHECKING:
    from .aki import AkiPredictor

Engine = Literal["generate", "continuous"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
GENERATE: Engine = "generate"

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")

WANTED = ["*.json", "*.safetensors", "tokenizer.model", "*.jinja", "*.txt"]
"""What is downloaded of a repository: no pickles, which would be refused anyway, and no code."""


def make_predictor(
    model: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    base_url: str | None = None,
    concurrency: int = 16,
    offline: bool = False,
    attention: str | None = None,
    image_order: str | None = None,
    attention_layers: str | None = None,
    engine: str = GENERATE,
) -> Predictor:
    """A predictor by its name; weights are loaded later.

    A checkpoint folder or Hub id, `vlmevalkit:NAME`, `openai:NAME`, the `NAME:REST` of an installed plug-in, or the
    PREDICTOR of a `FILE.py`.

    Args:
        model: its name.
        device: of AKI's checkpoints; auto: the first GPU, else the CPU.
        dtype: of AKI's checkpoints; auto: as stored on a GPU, float32 on a CPU.
        base_url: of the server, for `openai:NAME`.
        concurrency: requests at once, for `openai:NAME`.
        offline: checkpoints come from this machine alone.
        attention: a kind of `model.kinds`, or of a file (`FILE.py:NAME`), instead of the one the checkpoint was trained
            with.
        attention_layers: kinds of single layers, as in "0-9=causal".
        image_order: of picture and text in prompts, instead of the processor's.
        engine: of AKI's checkpoints, `generate` or `continuous`.

    Raises:
        UserError: there is no such model, or it takes no such setting.
    """
    if engine not in ENGINES:
        raise UserError(f"--engine: {engine!r}, expected one of {', '.join(ENGINES)}")
    kind, separator, name = model.partition(":")
    if base_url is not None and not (separator and kind == "openai"):
        raise UserError(f"--base-url: only openai:NAME is asked at a server; --model is {model!r}")
    if separator and kind in ("openai", "vlmevalkit") and not name.strip():
        raise UserError(f"--model: {model!r} names no model; expected {kind}:NAME")
    if separator and kind in ("openai", "vlmevalkit"):
        options = {"--attention": attention, "--attention-layers": attention_layers, "--image-order": image_order}
        options |= {"--engine": None if engine == GENERATE else engine}
        for option, value in options.items():
            if value is not None:
                raise UserError(f"{option} {value}: only a checkpoint of AKI can be told so, {model} decides it itself")
    if separator and kind == "openai":
        from .endpoint import EndpointPredictor

        return EndpointPredictor(name, base_url=base_url, concurrency=concurrency)
    if separator and kind == "vlmevalkit":
        from ..vlmevalkit.predictor import KitPredictor

        return KitPredictor(name)
    plugin = plugged_in(model)
    if plugin is not None:
        if engine != GENERATE:
            raise UserError(f"--engine {engine}: only a checkpoint of AKI can be told so, {model} decides it itself")
        return plugin
    kind_of_predictor = _predictor_by(engine)

    if attention is not None:
        attention = find_mask(attention)
    if attention_layers is not None:
        attention_layers = find_layers(attention_layers)
    return kind_of_predictor(
        find_checkpoint(model, offline),
        name=Path(model).name,
        device=device,
        dtype=dtype,
        attention=attention,
        image_order=image_order,
        attention_layers=attention_layers,
    )


def _predictor_by(engine: str) -> type[AkiPredictor]:
    """Raises UserError where the engine is not to be had."""
    from .aki import AkiPredictor

    if engine == GENERATE:
        return AkiPredictor
    from .continuous import ContinuousAkiPredictor, missing

    if reason := missing():
        raise UserError(f"--engine {engine}: {reason}; leave it out")
    return ContinuousAkiPredictor


def plugged_in(model: str) -> Predictor | None:
    """The predictor of a plug-in: of `NAME:REST`, what NAME makes of REST; of `FILE.py[:NAME]`, its PREDICTOR or NAME.

    What makes predictors is called, with REST where there is one; anything with `predict(prompts)` is one.

    Raises:
        UserError: it cannot be used.
    """
    if plugins.names_file(model):
        module, name = plugins.load_file(model, "--model")
        return _as_plugin(plugins.attribute(module, name or "PREDICTOR", "--model"), (), f"--model {model}")
    kind, separator, rest = model.partition(":")
    found = plugins.installed(plugins.PREDICTORS).get(kind) if kind and "/" not in kind else None
    return _as_plugin(found.value, (rest,) if separator else (), f"--model {model}") if found else None


def _as_plugin(value: Any, arguments: tuple[str, ...], where: str) -> Predictor:
    if isinstance(value, type) or not isinstance(value, Answers):
        if not callable(value):
            raise UserError(
                f"{where} is a {type(value).__name__}; expected something with predict(prompts), or its maker"
            )
        try:
            value = value(*arguments)
        except UserError:
            raise
        except Exception as error:  # somebody else's code
            raise UserError(f"{where} makes no predictor: {type(error).__name__}: {error}") from error
    if not isinstance(value, Predictor | Answers):
        raise UserError(f"{where} makes a {type(value).__name__}, which has no predict(prompts)")
    return as_predictor(value)


def find_mask(text: str) -> str:
    """The name of a kind of attention: as given, or of the kind in a file, which is known by it from then on.

    Raises:
        UserError: the file holds no such kind, a plug-in does not load, or the kind's predicate cannot be one.
    """
    if not plugins.names_file(text):
        try:
            if text in KINDS:  # looks into the installed packages
                _tried(text, KINDS[text])
        except ValueError as error:
            raise UserError(f"--attention: {error}") from error
        return text
    module, name = plugins.load_file(text, "--attention")
    if name is None:
        raise UserError(f"--attention: {text} names no kind; expected FILE.py:NAME")
    kind = plugins.attribute(module, name, "--attention")
    if not isinstance(kind, Kind):
        raise UserError(f"--attention: {text} is a {type(kind).__name__}, expected a model.kinds.Kind")
    known = name.lower()
    if known in KINDS and KINDS[known] is not kind:
        raise UserError(f"--attention: a kind named {known!r} is there already; give {text} another name")
    try:
        _tried(known, kind)
    except ValueError as error:
        raise UserError(f"--attention {text}: {error}") from error
    KINDS[known] = kind
    return known


def find_layers(text: str) -> str:
    """`0-9=KIND,...` with the name of each kind that is in a file (`find_mask`); the rest as it is."""
    parts = [part.partition("=") for part in text.split(",")]
    named = [(layers, equals, find_mask(kind) if plugins.names_file(kind) else kind) for layers, equals, kind in parts]
    return ",".join("".join(part) for part in named)


def _tried(name: str, kind: Kind) -> None:
    if name not in OURS:
        from model.drawn import check_kind

        check_kind(name, kind)


def as_predictor(model: object, **options: Any) -> Predictor:
    """A predictor for whatever a caller of the library holds.

    A text or path (`make_predictor`, which gets the options), a pair of a loaded model and its processor, a predictor,
    or any object with `predict(prompts)`.

    Raises:
        UserError: it is none of these, or there is no such model.
    """
    if isinstance(model, str | Path):
        return make_predictor(str(model), **options)
    if isinstance(model, tuple):
        if len(model) != 2:
            raise UserError(f"model: a tuple of {len(model)}, expected (model, processor)")
        from .loaded import from_loaded

        return from_loaded(*model)
    if isinstance(model, Predictor):
        return model
    if not isinstance(model, Answers):
        raise UserError(
            f"model: a {type(model).__name__}; expected a path, a Hub id, vlmevalkit:NAME, openai:NAME, "
            "(model, processor), or an object with predict(prompts)"
        )
    return GivenPredictor(model)


def find_checkpoint(model: str, offline: bool) -> Path:
    """The folder of a checkpoint: as given, or downloaded from the Hub.

    Raises:
        UserError: there is none.
    """
    folder = Path(model)
    if not model.strip():
        raise UserError("--model is empty; expected a checkpoint folder, a Hub id, vlmevalkit:NAME or openai:NAME")
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(f"--model: {folder} holds no config.json; expected a checkpoint folder")
        return folder
    if folder.is_absolute() or model.startswith(".") or not HUB_ID.fullmatch(model):
        raise UserError(
            f"--model: no folder {model}; expected a checkpoint folder, a Hub id, vlmevalkit:NAME or openai:NAME"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, local_files_only=offline, allow_patterns=WANTED))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--model: no folder {model}, and it cannot be had from the Hugging Face Hub ({reason})"
        ) from error
