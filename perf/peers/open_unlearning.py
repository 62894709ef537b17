"""Configs for open-unlearning's own programs (d3d7cf9), and reading what they write.

Its code is fetched by the reader and not changed. Two packages that it imports and that this work
does not need, `lm_eval` and `deepspeed`, are replaced by empty ones. It has no LoRA, so it trains
the full model, and it starts from the merged finetuned model.
"""

import json
from pathlib import Path

from excise.records import read_json, write_json, write_jsonl

STUBS = {
    "lm_eval/__init__.py": "simple_evaluate = None\n",
    "lm_eval/models/__init__.py": "",
    "lm_eval/models/hf_vlms.py": "class HFLM:\n    pass\n",
    "lm_eval/tasks.py": "class TaskManager:\n    pass\n",
    "deepspeed/__init__.py": "",
}
BATCH = 32  # of its evaluation, configs/eval/tofu.yaml


def write_stubs(folder: Path) -> Path:
    """Write empty packages; return their folder, which goes on its module path."""
    for name, text in STUBS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def write_data(folder: Path, work: dict) -> dict[str, Path]:
    """Write the questions in TOFU's fields; return subset → file.

    A subset has one number of wrong answers, because its collator needs this.
    """
    rows: dict[str, list[dict]] = {"forget": work["forget"], "retain": work["retain"]}
    for subset, questions in subsets(work).items():
        for one in questions:
            row = {"id": one["id"], "question": one["question"], "answer": ""}
            if one["answers"]:
                answer, paraphrase, *wrong = one["answers"]
                row |= {"answer": answer, "paraphrased_answer": paraphrase}
                row |= {"perturbed_answer": wrong}
            rows.setdefault(f"asked_{subset}", []).append(row)
    files = {}
    for name, own in rows.items():
        files[name] = folder / f"{name}.jsonl"
        write_jsonl(files[name], own)
    return files


def subsets(work: dict) -> dict[str, list[dict]]:
    """Set and number of answers → its questions, in order."""
    found: dict[str, list[dict]] = {}
    for one in work["questions"]:
        found.setdefault(f"{one['set']}_{len(one['answers'])}", []).append(one)
    return found


def _model(folder: Path, attention: str) -> dict:
    path = {"pretrained_model_name_or_path": str(folder)}
    return {
        "model_args": path | {"torch_dtype": "float32", "attn_implementation": attention},
        "tokenizer_args": path,
        "template_args": {"apply_chat_template": True},
    }


def _dataset(file: Path, answer: str = "answer", **more) -> dict:
    return {
        "handler": "QADataset",
        "args": {
            "hf_args": {"path": "json", "data_files": str(file), "split": "train"},
            "question_key": "question",
            "answer_key": answer,
            "max_length": 512,
        }
        | more,
    }


def _collator(**more) -> dict:
    name = "DataCollatorForSupervisedDataset"
    return {name: {"handler": name, "args": {"padding_side": "right"} | more}}


def training_config(
    work: dict, files: dict[str, Path], trajectory: str, epochs: int, model: Path, out: Path
) -> dict:
    """The config of one training run: its NPO trainer, all weights, constant rate, fp32, AdamW."""
    settings = work["trajectories"][trajectory]
    hyperparameters, training = settings["hyperparameters"], settings["training"]
    return {
        "mode": "unlearn",
        "task_name": "peers",
        "model": _model(model, "eager"),  # on a CPU its backward is not slower than sdpa's
        "data": {
            "anchor": "forget",
            **{name: {name: _dataset(files[name])} for name in ("forget", "retain")},
        },
        "collator": _collator(),
        "trainer": {
            "handler": "NPO",
            "args": {
                "output_dir": str(out),
                "learning_rate": hyperparameters["learning_rate"],
                "num_train_epochs": epochs,
                "per_device_train_batch_size": training["batch_size"],
                "gradient_accumulation_steps": 1,
                "warmup_steps": training["warmup_steps"],
                "lr_scheduler_type": "constant_with_warmup",
                "max_grad_norm": training["max_grad_norm"] or 0.0,
                "weight_decay": training["weight_decay"],
                "optim": "adamw_torch",
                "seed": training["seed"],
                "use_cpu": True,
                "bf16": False,
                "report_to": "none",
                "save_strategy": "no",
                "do_train": True,
                "do_eval": False,
                "eval_strategy": "no",
                "remove_unused_columns": False,
                "disable_tqdm": True,
            },
            "method_args": {
                "beta": hyperparameters["beta"],
                "alpha": hyperparameters["retain_weight"],
                "gamma": 1.0,
                "retain_loss_type": "NLL",
            },
        },
        "hydra": _hydra(out),
    }


def evaluation_config(work: dict, files: dict[str, Path], model: Path, out: Path) -> dict:
    """The config of one evaluation: its TOFU metrics, on every set.

    Probability of the answer, ROUGE of a generation, and the truth ratio, which needs the
    probabilities of the paraphrase and of each wrong answer. Joint questions have ROUGE alone.
    """
    metrics: dict[str, dict] = {}
    for subset, questions in subsets(work).items():
        file = files[f"asked_{subset}"]

        def probability(answer: str, file: Path = file) -> dict:
            return {
                "handler": "probability",
                "batch_size": BATCH,
                "datasets": {"asked": _dataset(file, answer)},
                "collators": _collator(index="index"),
            }

        metrics[f"{subset}_Q_A_ROUGE"] = {
            "handler": "rouge",
            "rouge_type": "rougeL_recall",
            "batch_size": BATCH,
            "datasets": {"asked": _dataset(file, predict_with_generate=True)},
            "collators": _collator(index="index", padding_side="left"),
            "generation_args": {
                "do_sample": False,
                "top_p": None,
                "temperature": None,
                "max_new_tokens": work["max_new_tokens"],
                "use_cache": True,
            },
        }
        if not questions[0]["answers"]:
            continue
        metrics[f"{subset}_Q_A_Prob"] = probability("answer")
        metrics[f"{subset}_Truth_Ratio"] = {
            "handler": "truth_ratio",
            "aggregator": "closer_to_1_better" if "sf" in subset else "true_better",
            "pre_compute": {
                f"{subset}_Q_A_PARA_Prob": probability("paraphrased_answer")
                | {"access_key": "correct"},
                f"{subset}_Q_A_PERT_Prob": probability("perturbed_answer")
                | {"access_key": "wrong"},
            },
        }
    return {
        "mode": "eval",
        "task_name": "peers",
        "seed": 0,
        "model": _model(model, "sdpa"),
        "eval": {
            "tofu": {
                "handler": "TOFUEvaluator",
                "output_dir": str(out),
                "metrics": metrics,
                "overwrite": True,
                "batch_size": BATCH,
            }
        },
        "hydra": _hydra(out),
    }


def _hydra(out: Path) -> dict:
    return {"run": {"dir": str(out)}, "output_subdir": None}


def write_config(path: Path, config: dict) -> Path:
    """Write a config as JSON, which is YAML too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, config)
    return path


def read_said(work: dict, out: Path, tokens: dict[str, list[int]]) -> dict[str, dict]:
    """What a model said: item id → `text` and `logprobs`.

    It writes mean losses, so sums need the numbers of tokens.

    Args:
        work: the work.
        out: folder of an evaluation.
        tokens: item id → number of tokens of each of its answers.
    """
    logs = read_json(out / "TOFU_EVAL.json")
    said = {}
    for subset, questions in subsets(work).items():
        results = {
            name: logs[key]["value_by_index"]
            for name in ("ROUGE", "Prob", "PARA_Prob", "PERT_Prob")
            if (key := f"{subset}_Q_A_{name}") in logs
        }
        for index, one in enumerate(questions):
            means = []
            if one["answers"]:
                for name in ("Prob", "PARA_Prob", "PERT_Prob"):
                    loss = results[name][str(index)]["avg_loss"]
                    means += loss if isinstance(loss, list) else [loss]
            said[one["id"]] = {
                "text": results["ROUGE"][str(index)]["generation"],
                "logprobs": [
                    -mean * count for mean, count in zip(means, tokens[one["id"]], strict=True)
                ],
            }
    return said


def finished_steps(log: Path) -> int:
    """Optimizer steps of a training run, by its `trainer_state.json`."""
    return json.loads((log / "trainer_state.json").read_text(encoding="utf-8"))["global_step"]
