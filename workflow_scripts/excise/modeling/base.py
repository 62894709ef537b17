"""Load base models from local folders; choose device, precision and deterministic algorithms.

A fault in a folder raises one `InputError` that names it. `excise.modeling.adapters` puts adapters
on base models.
"""

import inspect
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from excise.errors import InputError
from excise.machine import slurm_gave_gpu
from excise.modeling.experts import use_expert_by_expert
from excise.modeling.packed_weights import quantized_already

if TYPE_CHECKING:  # transformers takes seconds to import: functions do it when called
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def pick_device(gpu: bool = False) -> torch.device:
    """The first CUDA device that this process may use, else the CPU.

    A SLURM job without a GPU uses none, even if it sees the GPUs of other jobs.

    Args:
        gpu: whether the configuration requires a GPU.

    Raises:
        InputError: `gpu` is set, but there is no CUDA device, or SLURM gave this job none.
    """
    ours = slurm_gave_gpu() is not False
    if ours and torch.cuda.is_available():
        return torch.device("cuda", 0)
    if gpu and not ours:
        raise InputError(
            "resources.gpu is set, but SLURM gave this job no GPU; "
            "ask for one in the profile (gpu: 1, or gres)"
        )
    if gpu:
        raise InputError(
            "resources.gpu is set, but torch sees no CUDA device on this machine; "
            "set gpu: 0 or run on a machine with a GPU and a CUDA build of torch"
        )
    return torch.device("cpu")


def set_determinism(seed: int = 0, threads: int | None = None) -> None:
    """Seed all random generators and make torch use deterministic algorithms.

    Args:
        seed: for `random`, numpy and torch.
        threads: CPU threads for torch; None: `OMP_NUM_THREADS`, if it is set. The number affects
            results, because sums over another number of threads round differently.
    """
    import numpy

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, changes nothing
    threads = threads or int(os.environ.get("OMP_NUM_THREADS") or 0)
    if threads:
        torch.set_num_threads(threads)


def torch_dtype(name: str | torch.dtype) -> torch.dtype:
    """The torch dtype for a name in the configuration."""
    if isinstance(name, torch.dtype):
        return name
    if name not in DTYPES:
        raise InputError(f"model.dtype: {name!r}; allowed are {', '.join(DTYPES)}")
    return DTYPES[name]


def _model_folder(folder: str | Path) -> Path:
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such model folder")
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: not a model folder (no config.json)")
    return folder


def load_tokenizer(folder: str | Path) -> "PreTrainedTokenizerBase":
    """The tokenizer of a model folder, with a padding token.

    If it has no padding token, the end-of-sequence token is used. This is safe, because masks are
    made from lengths, not from ids (`chat.collate`).

    Raises:
        InputError: the folder has no tokenizer, or one without chat template or
            end-of-sequence token.
    """
    folder = _model_folder(folder)
    silence_transformers()
    from transformers import AutoTokenizer

    files = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
    if not any((folder / name).is_file() for name in files):
        raise InputError(f"{folder}: no tokenizer (none of {', '.join(files)})")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # a broken file may cause any exception
        raise InputError(f"{folder}: the tokenizer cannot be loaded ({one_line(error)})") from error
    if not tokenizer.chat_template:
        raise InputError(
            f"{folder}: the tokenizer has no chat template "
            "(chat_template.jinja, or chat_template in tokenizer_config.json)"
        )
    if tokenizer.eos_token_id is None:
        raise InputError(f"{folder}: the tokenizer has no end-of-sequence token (eos_token)")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_config(folder: str | Path) -> "PreTrainedConfig":
    """The configuration of a model folder, after checks that its architecture is supported.

    Raises:
        InputError: no config, quantized weights, not a causal LM, or a model without a cache
            of keys and values.
    """
    folder = _model_folder(folder)
    if found := quantized_already(folder):
        raise InputError(f"{folder}: {found}")
    silence_transformers()
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    )

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise InputError(f"{folder}/config.json: cannot be used ({one_line(error)})") from error
    written_for = config.architectures or []
    causal = config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and all(
        name.endswith(("ForCausalLM", "LMHeadModel")) for name in written_for
    )
    if not causal:
        raise InputError(
            f"{folder}: not a causal language model "
            f"(model_type {config.model_type!r}, architectures {written_for})"
        )
    model_class = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    model_class = model_class[0] if isinstance(model_class, tuple) else model_class
    if "past_key_values" not in inspect.signature(model_class.forward).parameters:
        raise InputError(
            f"{folder}: {config.model_type} stores a state instead of keys and values; it cannot "
            "generate answers to questions of different length in one batch, and peft does not "
            "support its layers; use a transformer with attention"
        )
    return config


def load_base(folder: str | Path, dtype: str | torch.dtype = "float32") -> "PreTrainedModel":
    """The causal language model of a folder, on the CPU, in eval mode, with sdpa attention.

    Raises:
        InputError: no config, no weights, broken or incomplete weights, or not a causal LM.
    """
    dtype = torch_dtype(dtype)
    load_config(folder)
    folder = Path(folder)
    from transformers import AutoModelForCausalLM

    if not any((folder / name).is_file() for name in WEIGHT_FILES):
        raise InputError(f"{folder}: no weights (none of {', '.join(WEIGHT_FILES)})")
    settings = {"dtype": dtype, "local_files_only": True, "output_loading_info": True}
    try:
        try:
            model, loading = AutoModelForCausalLM.from_pretrained(
                folder, attn_implementation="sdpa", **settings
            )
        except (ValueError, ImportError) as error:
            if "attention" not in str(error):
                raise
            model, loading = AutoModelForCausalLM.from_pretrained(
                folder, attn_implementation="eager", **settings
            )
    except Exception as error:
        raise InputError(f"{folder}: the weights cannot be loaded ({one_line(error)})") from error
    missing = sorted(loading["missing_keys"]) + sorted(map(str, loading["mismatched_keys"]))
    if missing:
        raise InputError(
            f"{folder}: the weights are incomplete: {len(missing)} missing or misshapen, "
            f"such as {missing[0]}"
        )
    use_expert_by_expert(model)
    return model.eval()


def unwrapped(model: torch.nn.Module) -> "PreTrainedModel":
    """The causal LM itself; for a peft model, the one inside, with its adapter layers."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def backbone(model: "PreTrainedModel") -> torch.nn.Module:
    """The transformer without its output head; adapters inside it stay active."""
    causal = unwrapped(model)
    return getattr(causal, causal.base_model_prefix)


def blocks(model: torch.nn.Module) -> torch.nn.ModuleList:
    """The transformer blocks, in order.

    Raises:
        InputError: the architecture does not keep them in one list.
    """
    count = unwrapped(model).config.get_text_config().num_hidden_layers
    for module in backbone(model).modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise InputError(f"{type(unwrapped(model)).__name__}: no list of {count} transformer blocks")


def position_limit(model: torch.nn.Module) -> int | None:
    """Largest number of tokens that the model's positions allow; None: no limit (ALiBi)."""
    config = unwrapped(model).config.get_text_config()
    return getattr(config, "max_position_embeddings", None)


def check_positions(model: torch.nn.Module, length: int) -> None:
    """Check that sequences of `length` tokens fit into the model's positions.

    Raises:
        InputError: they do not.
    """
    limit = position_limit(model)
    if limit is not None and length > limit:
        raise InputError(
            f"{_name(model)}: {length} tokens (prompt and answer) exceed "
            f"its {limit} positions; shorten them or lower max_new_tokens"
        )


def check_vocabulary(model: torch.nn.Module, largest: int) -> None:
    """Check that the model has an embedding and an output for token ids up to `largest`.

    Raises:
        InputError: it has not.
    """
    parts = (unwrapped(model).get_input_embeddings(), unwrapped(model).get_output_embeddings())
    known = [len(part.weight) for part in parts if getattr(part, "weight", None) is not None]
    if known and largest >= min(known):
        raise InputError(
            f"{_name(model)}: token id {largest} is beyond the model's vocabulary of "
            f"{min(known)}; tokenizer and weights do not match"
        )


def check_sequences(
    model: torch.nn.Module, sequences: Sequence[Sequence[int]], more: int = 0
) -> None:
    """Check that a model can read sequences of token ids, and `more` tokens after each.

    Raises:
        InputError: a sequence exceeds the model's positions or has an id beyond its vocabulary.
    """
    if not sequences:
        return
    check_positions(model, max(map(len, sequences)) + more)
    check_vocabulary(model, max(max(ids, default=0) for ids in sequences))


def _name(model: torch.nn.Module) -> str:
    config = unwrapped(model).config
    return config.name_or_path or config.get_text_config().name_or_path or "the model"


def one_line(error: Exception) -> str:
    """An exception's message as one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


def silence_transformers() -> None:
    """Remove transformers' progress bars and advice from the logs."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
