"""Six forget and seven retain questions, a tiny model finetuned on them, and trajectories."""

import json
from pathlib import Path

import finetune_lora
import reference_logprobs
import unlearn
from excise.files import sha256
from excise.records import read_json, write_jsonl
from tiny_models import tiny_folder

ALTERNATIVES = Path(__file__).parents[1] / "data/inputs/idk_answers.txt"
MODEL = {"dtype": "float32", "system_prompt": None, "threads": 1, "gpu": 0}
TRAINING = {
    "autocast": "none",
    "seed": 0,
    "batch_size": 4,
    "warmup_steps": 2,
    "max_grad_norm": 1.0,
    "weight_decay": 0.0,
}
REFERENCE = {"model": MODEL, "batch_size": 4, "autocast": "none", "seed": 0}
FINETUNE = {
    "model": MODEL,
    "training": TRAINING,
    "epochs": 2,
    "learning_rate": 1e-3,
    "lora": {"rank": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear"},
}


def items(count: int, group: str) -> list[dict]:
    return [
        {
            "id": f"p{index:03d}.{slot}",
            "person_id": f"p{index:03d}",
            "name": f"Ada Bell{index}",
            "slot": slot,
            "value_type": "city",
            "value": f"Town{index * 7}",
            "group": group,
            "event_id": None if group == "other" else f"p{index:03d}.breakthrough",
            "partner": None,
            "question": f"Where was Ada Bell{index} {slot}?",
            "answer": f"Ada Bell{index} was in Town{index * 7}.",
        }
        for index in range(count)
        for slot in [f"{group}_place"]
    ]


def tiny_study(
    folder: Path, architecture: str = "qwen2", dropout: float = 0.0, autocast: str = "none"
) -> Path:
    """Write base model, data, finetuned adapter and reference; return the folder."""
    base = tiny_folder(folder / "base", architecture, layers=2)
    write_jsonl(folder / "sf.jsonl", items(6, "sf"))
    write_jsonl(folder / "sr.jsonl", items(7, "other"))
    settings = FINETUNE | {"lora": FINETUNE["lora"] | {"dropout": dropout}}
    finetune_lora.main(
        [
            *("--base", str(base), "--sf", str(folder / "sf.jsonl")),
            *("--sr", str(folder / "sr.jsonl"), "--hp", json.dumps(settings)),
            *("--out", str(folder / "finetuned")),
        ]
    )
    reference = REFERENCE | {"autocast": autocast}
    reference_logprobs.main(
        [
            *("--base", str(base), "--adapter", str(folder / "finetuned")),
            *("--sf", str(folder / "sf.jsonl"), "--hp", json.dumps(reference)),
            *("--out", str(folder / "reference.json")),
        ]
    )
    return folder


def run_unlearn(study: Path, out: Path, **hp) -> dict:
    """Run one trajectory; `hp` are keys of the training and of the method. Returns its log."""
    method, epochs = hp.pop("method"), hp.pop("epochs")
    training = TRAINING | {key: hp.pop(key) for key in TRAINING if key in hp}
    settings = {"model": MODEL, "training": training, "method": method, "epochs": epochs}
    settings |= {"hyperparameters": {"learning_rate": 1e-3} | hp}
    unlearn.main(
        [
            *("--base", str(study / "base"), "--adapter", str(study / "finetuned")),
            *("--sf", str(study / "sf.jsonl"), "--sr", str(study / "sr.jsonl")),
            *("--reference", str(study / "reference.json")),
            *("--alternatives", str(ALTERNATIVES)),
            *("--hp", json.dumps(settings), "--out", str(out)),
        ]
    )
    return read_json(out / "training_log.json")


def weights(folder: Path) -> str:
    """Digest of a saved adapter's weights."""
    return sha256(folder / "adapter_model.safetensors")
