"""Loading and saving: strict about every tensor, at home with the published checkpoint, never without a model card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from huggingface_hub import HfApi

from .card import model_card
from .configuration_aki import AkiConfig
from .files import readable_as_umask_says
from .published.config import generation_settings
from .published.hub import published_folder, read_json
from .published.weights import Weights, load_published, weight_files

if TYPE_CHECKING:  # what the mix-in is mixed into
    from .modeling_base import AkiPreTrainedModel as _Mixed
else:
    _Mixed = object

_HUB = ("repo_id", "commit_message", "commit_description", "private", "revision", "create_pr", "tags")
"""Arguments of `save_pretrained` that belong to `push_to_hub`."""


class AkiLoading(_Mixed):
    """Mix-in for the model class, placed before the library's `PreTrainedModel`."""

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None,
        *args: Any,
        config: AkiConfig | None = None,
        output_loading_info: Literal[False] = False,
        **kwargs: Any,
    ) -> Self: ...

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None,
        *args: Any,
        config: AkiConfig | None = None,
        output_loading_info: Literal[True],
        **kwargs: Any,
    ) -> tuple[Self, dict[str, Any]]: ...

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None,
        *args: Any,
        config: AkiConfig | None = None,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Self | tuple[Self, dict[str, Any]]:
        """A folder or Hub id of ours, or one as AKI's authors publish it.

        Fields of `AkiConfig` may be overridden by keyword.

        Raises:
            ValueError: a weight file is damaged, or tensors are missing, unexpected or misshapen; they are named (the
                library itself would fill missing ones with random numbers and warn).
        """
        name = pretrained_model_name_or_path
        published = published_folder(name, **kwargs)
        if published is not None:
            own, kwargs["state_dict"] = load_published(published, cls)
            config = config or own
            overrides = {key: kwargs.pop(key) for key in list(kwargs) if key in AkiConfig.__annotations__}
            config = AkiConfig.from_dict(config.to_dict() | overrides)
            pretrained_model_name_or_path = None
        else:
            kwargs["use_safetensors"] = True  # never a pickle
        if published is None and name is not None and Path(name).is_dir() and "state_dict" not in kwargs:
            if config is None:
                AkiConfig.get_config_dict(name)  # another model's folder is an error of its own
            Weights(weight_files(Path(name)))  # damaged files are an error with their name
        model, report = super().from_pretrained(
            pretrained_model_name_or_path,
            *args,
            config=config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, with the other two kinds
            **kwargs,
        )
        _check(report, name)
        if published is not None:
            stop = read_json(published / "config.json").get("stop_token_ids")
            model.generation_config.update(**generation_settings(model.config, stop))
        return (model, report) if output_loading_info else model

    def save_pretrained(
        self, save_directory: str | Path, is_main_process: bool = True, push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """As the library's, with a model card where the folder has none."""
        card = Path(save_directory) / "README.md"
        if is_main_process and not card.exists():
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            model_card(self.config).save(card)
        hub = {key: kwargs.pop(key) for key in _HUB if key in kwargs}
        hub |= {key: kwargs[key] for key in ("token", "max_shard_size") if key in kwargs}  # both sides take these
        super().save_pretrained(save_directory, is_main_process=is_main_process, **kwargs)
        if is_main_process:
            readable_as_umask_says(Path(save_directory).glob("*.safetensors"))
        if push_to_hub and is_main_process:
            self.push_to_hub(**{"repo_id": Path(save_directory).name} | hub)

    def push_to_hub(self, repo_id: str, *args: Any, token: str | bool | None = None, **kwargs: Any) -> Any:
        """As the library's, which writes an empty card over ours; a repository that had no card gets ours after all."""
        had_card = HfApi(token=token).file_exists(repo_id, "README.md", revision=kwargs.get("revision"))
        done = super().push_to_hub(repo_id, *args, token=token, **kwargs)
        if not had_card and not kwargs.get("create_pr"):
            card = model_card(self.config)
            card.push_to_hub(repo_id, token=token, revision=kwargs.get("revision"))  # type: ignore[arg-type]  # bools too
        return done


def _check(report: dict[str, Any], name: Any) -> None:
    faults = {
        kind: sorted(map(str, report.get(f"{kind}_keys") or ())) for kind in ("missing", "unexpected", "mismatched")
    }
    if any(faults.values()):
        listed = "; ".join(f"{len(keys)} {kind}: {', '.join(keys)}" for kind, keys in faults.items() if keys)
        raise ValueError(f"the weights of {name} do not fit the model its config.json describes: {listed}")
