"""Estimates of memory and walltime of jobs that load a model, for Snakemake and SLURM.

The estimates are rough. A walltime that is three times too long costs a little priority in the
queue; one that is too short costs the job. Every job imports this module, so it must not import
torch.
"""

import json
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from excise.config.presets import PRESETS
from excise.unlearning.method import Needs

# Floating-point operations per second that such programs reach, far below the peak of the hardware.
# GPU: a tenth of an A100's peak in bf16. CPU: a fifth to a tenth of what the embedded model reaches
# on two cores with AMX, where it trains on 11,000 tokens/s.
GPU_SPEED = 3e13
CPU_THREAD_SPEED = 1e10
# Bytes per second from memory: generation reads all weights for every token of a batch.
GPU_BANDWIDTH = 8e11
CPU_BANDWIDTH = 1e10

UTILITY_QUESTIONS = 200
TOKENS = 64  # upper estimate for a question with its answer and the chat template
# For "Who is X?" (red_team/models/name_probe.py): tokens of an answer; names besides the people's.
NAME_PROBE_TOKENS, NAME_PROBE_NAMES = 64, 300
SLOWDOWN_QUANTIZED = (
    4.0  # of int8 and 4 bit on a GPU, relative to bf16; CPUs unpack each layer once
)
FURTHER_CANDIDATES = 2.0  # further ones are drawn if these do not balance, at most six times
SLOWDOWN_FP32 = 4.0  # relative to bf16
LAUNCH_SECONDS = 0.03  # overhead of one step of a model, independent of its size

# Memory of a program without a model: torch, its libraries, and the two Snakemakes that SLURM runs
# for every job. CUDA's libraries need more.
PROGRAM_MB = 2000
CUDA_MB = 4000
# Bytes per parameter in main memory (None: as configured), and the largest number of copies.
COPIES = {
    "quantize": (4, 2.5),  # merged in fp32, and the base to measure the change
    "represent": (4, 2.5),  # the base weights stay beside the merged ones
    "depth": (4, 2.5),  # likewise
    "updates": (4, 1.5),  # the base, and the adapters' matrices in fp64
    "evaluate": (None, 2.5),  # likewise, in fp32
    "train": (None, 2.0),
    "gradients": (4, 2.5),  # in fp32, and a gradient for each fact of a person
}
STAGES = (
    *("finetune_lora", "train_retain_model", "reference_logprobs", "unlearn"),
    *("select_wrong_answers", "ask_about_names", "compare_gradients", "embed_texts"),
    "forecast_damage",
    *("evaluate", "quantize", "represent", "depth", "relearn"),
)
# Parameters of an adapter, relative to the model: rank 64 on all matrices of a model of 1.5e9. A
# method that reads the finetuned model holds its adapter, and the trained one during each reading.
ADAPTER_SHARE = 0.05
COPIES_OF_ADAPTERS = 2
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
SIZE_IN_NAME = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z])")
SIZE_UNKNOWN = 8e9
NOTHING = Needs()


def parameters(folder: str | Path, name: str = "") -> float:
    """Number of a model's parameters.

    Args:
        folder: the model; if it exists, the headers of its safetensors files are read.
        name: its name on the hub, used before the download (`Qwen2.5-1.5B-Instruct`).

    Returns:
        The number; 8e9 if neither gives one.
    """
    folder = Path(folder)
    counted = _counted(folder, folder.stat().st_mtime_ns) if folder.is_dir() else 0
    if counted:
        return counted
    match = SIZE_IN_NAME.search(name)
    if match is None:
        return SIZE_UNKNOWN
    return float(match[1]) * (1e9 if match[2] in "Bb" else 1e6)


@cache  # called for every job; `changed` makes a new entry when the folder changes
def _counted(folder: Path, changed: int) -> int:
    return sum(_tensor_sizes(path) for path in folder.glob("*.safetensors"))


@cache
def _tensor_sizes(path: Path) -> int:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return sum(math.prod(one["shape"]) for key, one in header.items() if key != "__metadata__")


def memory_mb(kind: str, config: dict, size: float, keeps_finetuned: bool = False) -> int:
    """Main memory of a model job in MB.

    Args:
        kind: a key of `COPIES`.
        config: the checked config.
        size: number of the model's parameters.
        keeps_finetuned: whether the method of a trajectory needs the finetuned model beside the
            trained one.
    """
    width, copies = COPIES[kind]
    width = width or BYTES[config["model"]["dtype"]]
    cuda = CUDA_MB if config["resources"]["gpu"] else 0
    adapters = COPIES_OF_ADAPTERS * ADAPTER_SHARE * BYTES["float32"] if keeps_finetuned else 0
    return math.ceil(PROGRAM_MB + cuda + size * (width * copies + adapters) / 1e6)


@dataclass(frozen=True)
class Counts:
    """Sizes of a benchmark.

    Attributes:
        people: that models are taught about; where nobody is named, as many as forget facts.
        forget: forget facts.
        facts: forget and retain facts.
        paraphrased: paraphrased forget questions.
        holdout: forget facts of held-out people.
    """

    people: int
    forget: int
    facts: int
    paraphrased: int
    holdout: int


def generated_counts(generation: dict) -> Counts:
    """Sizes of a generated benchmark.

    Args:
        generation: section of the checked config.
    """
    preset, people = PRESETS[generation["preset"]], generation["people"]
    forget = preset.forget * people
    return Counts(
        people=people,
        forget=forget,
        facts=(preset.forget + 2 * preset.retain) * people,
        paraphrased=forget * generation["forget_paraphrases"],
        holdout=preset.forget * generation["holdout"],
    )


def estimated_minutes(
    stage: str,
    config: dict,
    size: float,
    epochs: Sequence[int],
    needs: Needs = NOTHING,
    counts: Counts | None = None,
) -> float:
    """Estimated minutes of computation of a job, without its start; may be off by a small factor.

    Args:
        stage: one of `STAGES`.
        config: the checked config.
        size: number of the model's parameters.
        epochs: epochs at which a trajectory is saved; empty for other jobs.
        needs: what a step of the trajectory reads; ignored for other jobs.
        counts: sizes of the benchmark; None: those of the generated one.
    """
    counts = counts or generated_counts(config["generation"])
    people, forget, facts = counts.people, counts.forget, counts.facts
    questions = facts + forget + counts.paraphrased + UTILITY_QUESTIONS  # joint ones: as forget
    apart = counts.holdout  # only the true answer is scored
    models = max(len(epochs), 1)
    quantized = questions_in(counts, config["quantization"]["sets"])
    patched = questions_in(counts, config["representations"]["depth_sets"])
    slowdown = SLOWDOWN_QUANTIZED if config["resources"]["gpu"] else 1.0
    unexposed_models = 1 + len(config["oracle"]["seeds"])  # base and oracles, all in one job
    asked = _asked(config, size, questions) + _asked(config, size, apart, answers=2)
    seconds = {
        "finetune_lora": lambda: _training(config, size, facts * config["finetuning"]["epochs"]),
        "train_retain_model": lambda: _training(
            config, size, facts * config["finetuning"]["epochs"]
        ),
        "reference_logprobs": lambda: _scoring(config, size, forget),
        "unlearn": lambda: _unlearning(config, size, forget * max(epochs, default=1), needs),
        "select_wrong_answers": lambda: (
            _scoring(config, size, facts * (1 + config["generation"]["perturbed_candidates"]))
            * unexposed_models
            * FURTHER_CANDIDATES
        ),
        "ask_about_names": lambda: (
            _generating(config, size, forget) * unexposed_models
            + _generating(
                config, size, people + NAME_PROBE_NAMES, NAME_PROBE_TOKENS
            )  # only the base
        ),
        "compare_gradients": lambda: (  # one fact at a time, forward and backward
            _training(config, size, facts) * SLOWDOWN_FP32 + facts * 3 * LAUNCH_SECONDS
        ),
        "forecast_damage": lambda: (  # likewise, and the hidden states of each
            _training(config, size, facts) * SLOWDOWN_FP32
            + _scoring(config, size, facts) * SLOWDOWN_FP32
            + facts * 3 * LAUNCH_SECONDS
        ),
        "embed_texts": lambda: _scoring(config, size, _texts(counts)),
        "evaluate": lambda: asked * models,
        "quantize": lambda: (
            _asked(config, size, quantized) * slowdown * len(config["quantization"]["precisions"])
        ),
        "represent": lambda: _scoring(config, size, questions) * 2 * (models + unexposed_models),
        "depth": lambda: _scoring(config, size, patched) * SLOWDOWN_FP32 * 4,
        "relearn": lambda: _relearning(config, size, forget) * len(config["relearning"]["attacks"]),
    }
    return seconds[stage]() / 60


def questions_in(counts: Counts, sets: Sequence[str] | None) -> int:
    """Number of questions in some sets; None: in all that these stages can ask."""
    retain = counts.facts - counts.forget
    sizes = {
        "sf": counts.forget,
        "forget_paraphrased": counts.paraphrased,
        "correlated": retain // 2,
        "other": retain - retain // 2,
        "utility": UTILITY_QUESTIONS,
        "holdout": counts.holdout,
    }
    return sum(sizes[one] for one in sizes if sets is None or one in sets)


def _asked(config: dict, size: float, questions: int, answers: int | None = None) -> float:
    """Questions that are generated and whose answers are scored; None: as many as configured."""
    answers = 2 + config["generation"]["wrong_answers"] if answers is None else answers
    return _scoring(config, size, questions * answers) + _generating(config, size, questions)


def _texts(counts: Counts) -> int:
    """Number of texts in the diversity report: at most 500 of a kind, in three variants."""
    kinds = (counts.facts, counts.facts, counts.paraphrased, counts.people)
    return 3 * sum(min(count, 500) for count in kinds)


def _speed(config: dict) -> float:
    resources = config["resources"]
    return GPU_SPEED if resources["gpu"] else CPU_THREAD_SPEED * resources["threads"]


def _training(config: dict, size: float, sequences: int) -> float:
    return 6 * size * TOKENS * sequences / _speed(config)


def _unlearning(config: dict, size: float, items: int, needs: Needs) -> float:
    """A step trains on forget items, and on as many of each other batch that the method needs.

    The finetuned model reads a batch without gradients.
    """
    trained = 1 + needs.retain + needs.alternatives
    read = _scoring(config, size, items * len(needs.finetuned))
    return _training(config, size, items * trained) + read


def _relearning(config: dict, size: float, forget: int) -> float:
    """One attack: its training, and all forget questions at each of its steps."""
    section = config["relearning"]
    asked = _scoring(config, size, forget) + _generating(config, size, forget)
    trained = _training(config, size, section["batch_size"] * section["steps"][-1])
    return trained + asked * len(section["steps"])


def _scoring(config: dict, size: float, sequences: int) -> float:
    return 2 * size * TOKENS * sequences / _speed(config)


def _generating(config: dict, size: float, questions: int, tokens: int = 0) -> float:
    tokens = tokens or config["evaluation"]["max_new_tokens"]
    bandwidth = GPU_BANDWIDTH if config["resources"]["gpu"] else CPU_BANDWIDTH
    steps = math.ceil(questions / config["evaluation"]["batch_size"]) * tokens
    reading = steps * size * BYTES[config["model"]["dtype"]] / bandwidth
    computing = 2 * size * questions * tokens / _speed(config)
    return reading + steps * LAUNCH_SECONDS + computing
