"""What AKI overrides, imports or reads of transformers without a promise that it stays.

All of it is listed here, and nowhere else. Run first against a new release: what moved fails here, by name, instead of
somewhere deep in a generation. The last two tests keep the list whole.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel, ProcessorMixin, Trainer
from transformers.cache_utils import Cache
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching.continuous_api import (
    ContinuousBatchingManager,
    ContinuousBatchProcessor,
    OutputRouter,
)
from transformers.generation.continuous_batching.input_outputs import ContinuousBatchingIOs, PagedAttentionArgs
from transformers.generation.continuous_batching.requests import FutureRequestState, GenerationOutput, RequestState
from transformers.generation.continuous_batching.scheduler import SCHEDULER_MAPPING, FIFOScheduler, Scheduler
from transformers.image_processing_utils import BaseImageProcessor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from model import AkiConfig, AkiForConditionalGeneration, AkiImageProcessor, AkiProcessor
from model.continuous import PAGING, Packed, WholePrompts
from model.modeling_aki import AkiModel, AkiModelOutput, AkiOutput
from train.trainer import AkiTrainer

ROOT = Path(__file__).parents[1]
OURS = ("model", "train", "aki_eval", "benchmarks", "reports")
CLASSES = (AkiForConditionalGeneration, AkiModel, AkiConfig, AkiProcessor, AkiImageProcessor, AkiTrainer, WholePrompts)

PRIVATE_METHODS: dict[str, tuple[type, tuple[str, ...]]] = {
    "_prepare_model_inputs": (GenerationMixin, ("self", "inputs", "bos_token_id", "model_kwargs")),
    "_prepare_generated_length": (
        GenerationMixin,
        (
            "self",
            "generation_config",
            "has_default_max_length",
            "has_default_min_length",
            "model_input_name",
            "input_ids_length",
            "inputs_tensor",
        ),
    ),
    "_prepare_position_ids_for_generation": (GenerationMixin, ("self", "inputs_tensor", "model_kwargs")),
    "_validate_generation_mode": (
        GenerationMixin,
        ("self", "generation_mode", "generation_config", "generation_mode_kwargs"),
    ),
    "_get_candidate_generator": (
        GenerationMixin,
        (
            "self",
            "generation_config",
            "input_ids",
            "inputs_tensor",
            "logits_processor",
            "model_kwargs",
            "assistant_model",
            "target_tokenizer",
            "assistant_tokenizer",
        ),
    ),
    "_process_candidates": (
        Scheduler,
        ("self", "candidates", "token_budget", "cache_budget", "request_ids_to_remove_from_waiting"),
    ),
    "_init_weights": (PreTrainedModel, ("self", "module")),
    "_check_and_adjust_attn_implementation": (
        PreTrainedModel,
        ("self", "attn_implementation", "is_init_check", "allow_all_kernels"),
    ),
    "_get_grad_norm": (Trainer, ("self", "model", "grad_norm")),
    "_save": (Trainer, ("self", "output_dir", "state_dict")),
    "_save_checkpoint": (Trainer, ("self", "model", "trial")),
    "_save_rng_state": (Trainer, ("self", "output_dir")),
    "_load_from_checkpoint": (Trainer, ("self", "resume_from_checkpoint", "model")),
    "_load_optimizer_and_scheduler": (Trainer, ("self", "checkpoint")),
    "_save_optimizer_and_scheduler": (Trainer, ("self", "output_dir")),
}
"""Overridden: the whole list of parameters must be this one."""

CALLED: dict[str, tuple[type, tuple[str, ...]]] = {
    "_load_rng_state": (Trainer, ("self", "checkpoint")),
    "_prepare_inputs": (Trainer, ("self", "inputs")),
    "_create_batch_processor": (ContinuousBatchingManager, ("self",)),
    "_generation_step": (ContinuousBatchProcessor, ("self", "model")),
}
"""Called and not overridden: the whole list of parameters, too."""

PUBLIC_METHODS: dict[str, tuple[type, tuple[str, ...]]] = {
    "prepare_inputs_for_generation": (
        GenerationMixin,
        (
            "input_ids",
            "next_sequence_length",
            "cache",
            "attention_mask",
            "inputs_embeds",
            "is_first_iteration",
            "kwargs",
        ),
    ),
    "generate_batch": (GenerationMixin, ("inputs",)),
    "get_input_embeddings": (PreTrainedModel, ("self",)),
    "set_input_embeddings": (PreTrainedModel, ("self", "value")),
    "get_output_embeddings": (PreTrainedModel, ("self",)),
    "set_output_embeddings": (PreTrainedModel, ("self", "new_embeddings")),
    "save_pretrained": (PreTrainedModel, ("save_directory", "is_main_process", "push_to_hub", "kwargs")),
    "push_to_hub": (PreTrainedModel, ("repo_id", "token", "revision", "create_pr")),
    "from_dict": (PreTrainedConfig, ("config_dict", "kwargs")),
    "get_config_dict": (PreTrainedConfig, ("pretrained_model_name_or_path", "kwargs")),
    "apply_chat_template": (ProcessorMixin, ("self", "conversation", "chat_template", "kwargs")),
    "create_mm_token_type_ids": (ProcessorMixin, ("self", "input_ids")),
    "replace_image_token": (ProcessorMixin, ("self", "image_inputs", "image_idx", "kwargs")),
    "preprocess": (BaseImageProcessor, ("self", "images", "kwargs")),
    "fetch_images": (BaseImageProcessor, ("self", "image_url_or_urls")),
    "create_optimizer": (Trainer, ("self", "model")),
    "create_scheduler": (Trainer, ("self", "num_training_steps", "optimizer")),
    "get_train_dataloader": (Trainer, ("self",)),
    "get_batch_samples": (Trainer, ("self", "epoch_iterator", "num_batches", "device")),
    "compute_loss": (Trainer, ("self", "model", "inputs", "return_outputs", "num_items_in_batch")),
    "log": (Trainer, ("self", "logs", "start_time")),
    "autocast_smart_context_manager": (Trainer, ("self", "cache_enabled")),
    "floating_point_ops": (Trainer, ("self", "inputs")),
    "save_model": (Trainer, ("self", "output_dir", "_internal_call")),
}
"""Overridden: these parameters must be there, in this order; new ones may come between."""

LOADERS = {
    PreTrainedModel: ("pretrained_model_name_or_path", "model_args", "config", "ignore_mismatched_sizes"),
    ProcessorMixin: ("pretrained_model_name_or_path", "kwargs"),
}
"""`from_pretrained` of each, as in PUBLIC_METHODS."""

ATTRIBUTES = {
    PreTrainedModel: (
        "_tied_weights_keys",
        "_no_split_modules",
        "_supports_sdpa",
        "_supports_flex_attn",
        "_supports_attention_backend",
        "_supports_flash_attn",
        "_can_compile_fullgraph",
        "base_model_prefix",
        "config_class",
        "input_modalities",
        "main_input_name",
        "supports_gradient_checkpointing",
    ),
    PreTrainedConfig: ("model_type", "sub_configs"),
    BaseImageProcessor: ("model_input_names",),
}
"""Class attributes that we set for the library to read."""

READ = {"_attn_implementation"}
"""Private attributes of the library's objects that we read: of a configuration."""

FUNCTIONS = {
    # generate looks for this name on the model before it takes its own; ours has to take the same arguments
    "transformers.masking_utils.create_masks_for_generate": (
        "config",
        "inputs_embeds",
        "attention_mask",
        "cache",
        "position_ids",
    ),
    "transformers.masking_utils.and_masks": ("mask_functions",),
    "transformers.masking_utils.sliding_window_overlay": ("sliding_window",),
    "transformers.utils.deprecation.deprecate_kwarg": ("old_name", "version", "new_name"),
    "transformers.utils.cached_file": ("path_or_repo_id", "filename"),
    "transformers.initialization.normal_": ("tensor", "mean", "std"),
    "transformers.initialization.copy_": ("tensor", "other"),
    "transformers.utils.logging.get_logger": ("name",),
}


def parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def assert_in_order(wanted: Iterable[str], function: Callable[..., Any], name: str) -> None:
    found = iter(parameters(function))
    missing = [parameter for parameter in wanted if parameter not in found]  # an iterator: order counts
    assert not missing, f"{name}{inspect.signature(function)} lacks {missing}, or has them in another order"


@pytest.mark.parametrize("name", CALLED)
def test_private_method_that_we_call(name: str) -> None:
    owner, expected = CALLED[name]
    assert hasattr(owner, name), f"transformers has no {owner.__name__}.{name} any more"
    assert parameters(getattr(owner, name)) == expected


@pytest.mark.parametrize("name", PRIVATE_METHODS)
def test_overridden_private_method(name: str) -> None:
    owner, expected = PRIVATE_METHODS[name]
    assert hasattr(owner, name), f"transformers has no {owner.__name__}.{name} any more; nothing would call ours"
    assert parameters(getattr(owner, name)) == expected


@pytest.mark.parametrize("name", PUBLIC_METHODS)
def test_overridden_public_method(name: str) -> None:
    owner, expected = PUBLIC_METHODS[name]
    assert hasattr(owner, name), f"transformers has no {owner.__name__}.{name} any more; nothing would call ours"
    assert_in_order(expected, getattr(owner, name), f"{owner.__name__}.{name}")


@pytest.mark.parametrize("owner", LOADERS)
def test_loading(owner: type) -> None:
    assert_in_order(LOADERS[owner], owner.from_pretrained, f"{owner.__name__}.from_pretrained")


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in ATTRIBUTES.items() for name in names])
def test_class_attribute(owner: type, name: str) -> None:
    assert hasattr(owner, name), f"transformers has no {owner.__name__}.{name} any more; nothing would read ours"


def test_attributes_that_are_read() -> None:
    config = PreTrainedConfig()
    config._attn_implementation = "eager"
    assert config._attn_implementation == "eager"


@pytest.mark.parametrize("path", FUNCTIONS)
def test_function(path: str) -> None:
    module, name = path.rsplit(".", 1)
    assert hasattr(import_module(module), name), f"{path} is gone"
    assert_in_order(FUNCTIONS[path], getattr(import_module(module), name), path)


def test_our_masks_take_what_the_librarys_do() -> None:
    ours = parameters(AkiForConditionalGeneration.create_masks_for_generate)
    assert ours[:5] == FUNCTIONS["transformers.masking_utils.create_masks_for_generate"]
    assert "kwargs" in ours


def test_block_masks_are_made_as_we_ask_for_them() -> None:
    wanted = ("batch_size", "q_length", "kv_length", "q_offset", "kv_offset", "mask_function", "attention_mask")
    assert_in_order(wanted, ALL_MASK_ATTENTION_FUNCTIONS["flex_attention"], "flex_attention's mask")


def test_the_cache_tells_sizes_and_offsets() -> None:
    assert_in_order(("self", "layer_idx"), Cache.get_query_offset, "Cache.get_query_offset")
    assert_in_order(("self", "query_length", "layer_idx"), Cache.get_mask_sizes, "Cache.get_mask_sizes")
    assert_in_order(("self", "layer_idx"), Cache.get_seq_length, "Cache.get_seq_length")


@pytest.mark.parametrize("output", [AkiOutput, AkiModelOutput])
def test_outputs_call_the_cache_as_the_library_does(output: type) -> None:
    assert "cache" in output.__dataclass_fields__
    assert "past_key_values" not in output.__dataclass_fields__


def overridden(cls: type) -> set[str]:
    """Names that a class of ours defines and a class of transformers among its bases does too."""
    ours = [base for base in cls.__mro__ if base.__module__.split(".")[0] in OURS]
    theirs = [base for base in cls.__mro__ if base.__module__.startswith("transformers.")]
    names = {name for base in ours for name in vars(base) if not name.startswith("__") and name != "_abc_impl"}
    return {name for name in names if any(name in vars(base) for base in theirs)}


CONTINUOUS: dict[type, tuple[str, ...]] = {
    ContinuousBatchingManager: ("add_request", "input_queue", "output_router"),
    ContinuousBatchProcessor: ("prepare_next_batch", "update_batch", "reset", "inputs_and_outputs"),
    ContinuousBatchingIOs: ("requests_in_batch", "compute_stream"),
    FutureRequestState: ("state", "query_length"),
    RequestState: ("request_id", "position_offset", "remaining_prefill_tokens", "status"),
    GenerationOutput: ("request_id", "generated_tokens", "error"),
    OutputRouter: ("output_queue",),
}
"""What `model.continuous` calls and reads of continuous batching: methods, and names that the class sets."""


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in CONTINUOUS.items() for name in names])
def test_continuous_batching(owner: type, name: str) -> None:
    set_in_init = any(
        isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr == name
        for node in ast.walk(ast.parse(inspect.getsource(owner)))
    )
    assert hasattr(owner, name) or name in getattr(owner, "__dataclass_fields__", ()) or set_in_init, (
        f"{owner.__name__} has no {name} any more"
    )


def test_continuous_batching_takes_our_settings_and_calls_the_model_as_we_answer() -> None:
    settings = ("page_size", "num_blocks", "max_batch_tokens", "max_requests_per_batch", "max_blocks_per_request")
    switches = ("allow_block_sharing", "use_async_batching", "use_cuda_graph", "auto_switch_to_flash")
    assert {*settings, *switches, "scheduler_type", "safety_margin", "seed"} <= set(
        ContinuousBatchingConfig.__dataclass_fields__
    )
    assert_in_order(("self", "input_ids", "request_id", "max_new_tokens"), ContinuousBatchingManager.add_request, "")
    wanted = {"input_ids", "attention_mask", "cache", *PAGING}
    assert wanted <= set(PagedAttentionArgs.__annotations__)
    assert SCHEDULER_MAPPING["fifo"] is FIFOScheduler
    assert issubclass(SCHEDULER_MAPPING["aki_whole_prompts"], Scheduler)
    source = inspect.getsource(import_module("transformers.generation.continuous_batching.model_runner"))
    for name in ("_supports_logits_to_keep", "logits_to_keep"):  # asked of the model, and handed to it
        assert name in source
    assert {"_supports_flash_attn", "_supports_logits_to_keep", "_get_logits_processor"} <= set(dir(Packed))
    assert_in_order(
        ("self", "generation_config", "input_ids_seq_length", "device"), GenerationMixin._get_logits_processor, ""
    )


def test_no_override_is_missing_from_the_lists() -> None:
    listed = PRIVATE_METHODS.keys() | PUBLIC_METHODS.keys() | {"from_pretrained"}
    listed |= {name for names in ATTRIBUTES.values() for name in names}
    assert set().union(*map(overridden, CLASSES)) == listed


def test_no_private_attribute_is_missing_from_the_lists() -> None:
    """Names with a leading underscore that our sources read and nowhere define: they belong to a library."""
    others = {"_create_default_https_context", "_replace", "_rank"}  # of ssl, of named tuples, of lmms-eval
    used, defined = set(), set()
    for file in (file for folder in OURS for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                defined.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                defined.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                defined.add(node.attr)
            elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
                used.add(node.attr)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("transformers"):
                used |= {alias.name for alias in node.names if alias.name.startswith("_")}
    assert used - defined - others == READ | CALLED.keys()
