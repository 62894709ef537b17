"""Describe the machine for the log of a program: node, SLURM job, GPU, driver, package versions.

The description is only for logs: results do not contain the machine.
"""

import json
import os
import platform
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from excise.provenance import DRAFT

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "numpy", "snakemake")
# Packages that affect numbers, by the module that a program imports.
NUMERIC_PACKAGES = {
    "torch": "torch",
    "transformers": "transformers",
    "tokenizers": "tokenizers",
    "peft": "peft",
    "bitsandbytes": "bitsandbytes",
    "safetensors": "safetensors",
    "numpy": "numpy",
    "scipy": "scipy",
    "pandas": "pandas",
    "rouge_score": "rouge-score",
    "rapidfuzz": "rapidfuzz",
    "matplotlib": "matplotlib",
    "seaborn": "seaborn",
}

# SLURM sets these for a job with a GPU.
GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def slurm_gave_gpu() -> bool | None:
    """Whether the current SLURM job has a GPU; None outside of SLURM."""
    if "SLURM_JOB_ID" not in os.environ:
        return None
    return any(os.environ.get(name) for name in GPU_VARIABLES)


def description() -> str:
    """One line: machine and package versions of the program."""
    node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    job = os.environ.get("SLURM_JOB_ID")
    parts = [f"node {node}", f"SLURM job {job}"] if job else [f"node {node}"]
    parts += [gpu_description(), f"python {platform.python_version()}", *_versions()]
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        parts.append("hub offline")
    return ", ".join(parts)


def gpu_description() -> str:
    """Name and driver of the GPUs that this process may use."""
    if slurm_gave_gpu() is False:
        return "no GPU"
    visible = next((os.environ[name] for name in GPU_VARIABLES if os.environ.get(name)), None)
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    query += [f"--id={visible}"] if visible else []
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        done = None
    if done is None or done.returncode:
        return f"GPU {visible} (no driver)" if visible else "no GPU"
    names = [" driver ".join(line.split(", ")) for line in done.stdout.strip().splitlines()]
    return f"GPU {visible or 'all'}: {' | '.join(names)}"


def _versions() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def used_versions() -> dict[str, str]:
    """Versions of Python and of the loaded packages in `NUMERIC_PACKAGES`."""
    found = {"python": platform.python_version()}
    for module, package in NUMERIC_PACKAGES.items():
        if module in sys.modules:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                continue
    return found


def record_versions() -> None:
    """Add the versions to the unfinished record of the job, if a job runs this program."""
    place = os.environ.get(DRAFT)
    if place and Path(place).is_file():
        draft = json.loads(Path(place).read_text(encoding="utf-8"))
        text = json.dumps(draft | {"versions": used_versions()})
        Path(place).write_text(text, encoding="utf-8")
