"""Run `check_model` once per model and settings, before the first job, and store its verdict.

The program takes seconds, because it imports torch. The verdict is stored under a digest of
everything that the program reads. The Snakefile imports this module, so it must not import torch.
"""

import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path

from excise.errors import InputError
from excise.files import atomic_path
from excise.workflow.imports import import_closure
from excise.workflow.preflight import model_files

PACKAGES = ("torch", "transformers", "peft", "tokenizers")
SECONDS = 900


def check_once(
    folder: str | Path,
    settings: dict,
    program: str | Path,
    memory: str | Path,
    warn: Callable[[str], None],
) -> None:
    """Run `check_model` on a model, unless a verdict is stored.

    If this Python lacks the packages (jobs have their own environments), there is no check. Then
    each job itself reports what does not work.

    Args:
        folder: the model.
        settings: value of the program's `--hp`.
        program: path of the program.
        memory: folder of the verdicts.
        warn: called with a message if the program ended without a verdict.

    Raises:
        InputError: the model does not work with the settings; the message is the program's.
    """
    if any(util.find_spec(package) is None for package in PACKAGES):
        return
    verdict = Path(memory) / _digest(folder, settings, program)
    if not verdict.is_file():
        arguments = ["--base", str(folder), "--hp", json.dumps(settings, sort_keys=True)]
        environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        try:
            done = subprocess.run(
                [sys.executable, str(program), *arguments],
                capture_output=True,
                text=True,
                timeout=SECONDS,
                env=environment,
            )
        except subprocess.TimeoutExpired:
            warn(
                f"{folder}: could not be checked before the first job (not finished in {SECONDS} s)"
            )
            return
        last_line = done.stderr.strip().rpartition("\n")[2]
        fault = last_line.removeprefix("error: ") if last_line.startswith("error: ") else ""
        if done.returncode and not fault:
            reason = last_line or done.returncode
            warn(f"{folder}: could not be checked before the first job ({reason})")
            return
        with atomic_path(verdict) as temporary:
            temporary.write_text(fault, encoding="utf-8")
    _raise(verdict)


def known_fault(
    folder: str | Path, settings: dict, program: str | Path, memory: str | Path
) -> str | None:
    """The fault that an earlier run found; None if there is none. Runs nothing."""
    faults = [path for path in Path(memory).glob("*") if path.stat().st_size]
    verdict = Path(memory) / _digest(folder, settings, program) if faults else None
    return verdict.read_text(encoding="utf-8") if verdict in faults else None


def _raise(verdict: Path) -> None:
    if fault := verdict.read_text(encoding="utf-8"):
        raise InputError(fault)


def _digest(folder: str | Path, settings: dict, program: str | Path) -> str:
    """Digest of the model's small files, weight headers, settings, packages and our code."""
    digest = hashlib.sha256()
    for path in [str(program), *import_closure(program)]:
        digest.update(Path(path).read_bytes())
    for path in map(Path, model_files(folder)):
        digest.update(f"{path.name} {path.stat().st_size}".encode())
        digest.update(_header(path) if path.suffix == ".safetensors" else path.read_bytes())
    versions = {package: metadata.version(package) for package in PACKAGES}
    digest.update(json.dumps([str(folder), settings, versions], sort_keys=True).encode())
    return digest.hexdigest()


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return file.read(length)
