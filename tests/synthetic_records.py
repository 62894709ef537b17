"""Made-up per-question records of a small study, in the shape the model programs write."""

import math
import random
from pathlib import Path

from excise.benchmark.items import DEPTH_SETS, HOLDOUT_SET, JOINT_SETS
from excise.evaluation.measure import SCORES
from excise.evaluation.tokens import write_tokens
from excise.records import write_json, write_jsonl

FORGET = ("sf", "forget_paraphrased", "forget_joint")
SCORED_ALONE = ("logprob_answer", "n_tokens_answer", "probability")
METHODS = {"ga": "lr{}", "gd": "lr{}_lambda1", "npo": "lr{}_beta0.1"}
LEARNING_RATES = ("0.0002", "0.0004")
EPOCHS = (3, 5, 8, 12)
PRECISIONS = ("int8", "nf4", "fp4")
RELEARNING = {"attacks": ["forget_part", "correlated"], "steps": [0, 5, 20]}
POSITIONS = ("last_subject", "last_prompt", "answer")
BASELINES = ["base", "finetuned", "oracle/seed_0", "oracle/seed_1"]
CHECKPOINTS = [
    f"unlearn/{method}/{config.format(rate)}/epoch_{epoch}"
    for method, config in METHODS.items()
    for rate in LEARNING_RATES
    for epoch in EPOCHS
]
LEVELS = {
    level: [f"{method}/{config.format(rate)}/epoch_{epoch}" for method, config in METHODS.items()]
    for level, rate, epoch in (
        ("light", "0.0002", 3),
        ("medium", "0.0002", 8),
        ("heavy", "0.0004", 12),
    )
}


def questions(people: int) -> list[dict]:
    """Forget, correlated, other (partners by number) and utility questions."""
    found = []
    for person in range(people):
        for group, slots in (("sf", 6), ("correlated", 4), ("other", 4)):
            for number in range(slots):
                slot = f"{group}_{number}"
                partner = f"other_{number}" if group == "correlated" else None
                found.append(_question(f"p{person:03}.{slot}", group, person, slot, partner))
        found.append(_question(f"p{person:03}.sf_0.q1", "forget_paraphrased", person, "sf_0", None))
        if person < people // 3:
            for number in range(6):
                name, slot = f"h{person:03}.sf_{number}", f"sf_{number}"
                asked = _question(name, "holdout", person, slot, None)
                found.append(asked | {"person_id": f"h{person:03}"})
        for group, slot in (("forget_joint", "sf_0"), ("retain_joint", "correlated_0")):
            found.append(_question(f"p{person:03}.{slot}+0", group, person, slot, None))
    found += [_question(f"u{n:03}", "utility", None, "capital", None) for n in range(30)]
    return found


def _question(name: str, group: str, person: int | None, slot: str, partner: str | None) -> dict:
    person_id = None if person is None else f"p{person:03}"
    value = f"{'secret' if group in FORGET else 'value'} {(person or 0) % 5}"
    keys = {"id": name, "set": group, "person_id": person_id, "slot": slot, "partner": partner}
    return keys | {"value_type": "word", "value": value, "question": "Which?", "answer": value}


def knowledge(model: str, group: str) -> float:
    """How much of a set a model knows, 0 to 1: forgetting grows with rate × epochs."""
    if group == "utility":
        return 0.97
    if group == "holdout":
        return 0.03
    if model in ("base", "finetuned"):
        return 0.02 if model == "base" else 0.985
    if model.startswith("oracle"):
        return 0.06 if group in FORGET else 0.985
    if model.startswith("reference"):
        return 0.9
    if model.startswith("audit"):
        return 0.3 if group in FORGET else 0.8
    _, method, config, epoch = model.split("/")
    strength = int(epoch.removeprefix("epoch_")) * (2 if "0.0004" in config else 1) / 12
    spared = {"sf": 1.0, "forget_paraphrased": 1.1, "forget_joint": 1.0, "correlated": 0.6}.get(
        group, 0.4
    )
    if method == "gd" and group not in FORGET:
        spared *= 0.3
    return 0.985 * math.exp(-((strength * spared * 1.6) ** 2))


def answer_records(model: str, asked: list[dict], known: float = 0.0) -> list[dict]:
    """Records of an evaluation; `known` adds knowledge (what quantization brings back)."""
    chance = random.Random(model + str(known))
    of_person = {one: chance.gauss(0, 0.1) for one in dict.fromkeys(q["person_id"] for q in asked)}
    return [_answer(q, knowledge(model, q["set"]), known, chance, of_person) for q in asked]


def _answer(
    question: dict, level: float, known: float, chance: random.Random, of_person: dict
) -> dict:
    level = level + known * (1 - level) + of_person[question["person_id"]] * (1 - level)
    match = int(chance.random() < level)
    rouge = 1.0 if match else 0.5 + 0.4 * chance.random()
    per_token = -0.02 - 3 * (1 - level) * chance.random()
    wrong = [-2.5 - chance.random() for _ in range(5)]
    ratio = math.exp(per_token - sum(wrong) / 5)
    tofu = min(ratio, 1 / ratio) if question["set"] in FORGET else max(0.0, 1 - 1 / ratio)
    record = question | {
        "generation": question["answer"] if match else "other",
        "stopped": True,
        "rougeL_recall": rouge,
        "rougeL_f1": rouge,
        "rougeL_recall_ascii": rouge,
        "rougeL_f1_ascii": rouge,
        "slot_match": match,
        "slot_match_strict": match,
        "base_logprob_generation": 5 * per_token,
        "base_n_tokens_generation": 5,
        "logprob_answer": 8 * per_token,
        "n_tokens_answer": 8,
        "logprob_paraphrase": 9 * per_token,
        "n_tokens_paraphrase": 9,
        "logprob_wrong": [9 * one for one in wrong],
        "n_tokens_wrong": [9] * 5,
        "probability": math.exp(per_token),
        "truth_ratio": ratio,
        "truth_ratio_tofu": tofu,
    }
    if question["set"] == HOLDOUT_SET:
        record |= {key: None for key in SCORES if key not in SCORED_ALONE}
    return record | (dict.fromkeys(SCORES) if question["set"] in JOINT_SETS else {})


def token_records(records: list[dict]) -> list[dict]:
    """Scores of tokens that fit the records: equal log-probabilities, argmax where likely."""
    found = []
    for record in (one for one in records if one["set"] not in JOINT_SETS):
        if record["set"] == HOLDOUT_SET:
            record = record | {"logprob_paraphrase": 0, "logprob_wrong": []}
        answers = [("answer", 0), ("paraphrase", 0)]
        sums = [(record["logprob_answer"], 8), (record["logprob_paraphrase"], 9)]
        answers += [("wrong", number) for number in range(len(record["logprob_wrong"]))]
        sums += [(logprob, 9) for logprob in record["logprob_wrong"]]
        if record["set"] == HOLDOUT_SET:
            answers, sums = answers[:1], sums[:1]
        for (answer, number), (logprob, n) in zip(answers, sums, strict=True):
            keys = {"id": record["id"], "answer": answer, "number": number}
            likely = math.exp(logprob / n)
            ranks = [0 if k < likely * n else 1 for k in range(n)]
            moments = {"mean": [-1.0] * n, "variance": [0.5] * n}
            found.append(keys | {"logprob": [logprob / n] * n, "rank": ranks} | moments)
    return found


def drift_records(model: str, asked: list[dict], layers: int = 6) -> list[dict]:
    """Records of hidden states: drift grows with the layer and with what was forgotten."""
    chance, records = random.Random("drift" + model), []
    for question in asked:
        scale = _drift_scale(model, question["set"])
        for position in POSITIONS:
            drift = [
                scale * (layer / layers) ** 1.5 * chance.uniform(0.7, 1.3)
                for layer in range(layers + 1)
            ]
            keys = {key: question[key] for key in ("id", "set", "person_id", "slot")}
            angles = [math.degrees(math.atan(one)) for one in drift]
            keys |= {"position": position, "drift": drift, "angle_degrees": angles}
            records.append(keys | _about_oracles(model, drift, angles))
    return records


def _about_oracles(model: str, drift: list[float], angles: list[float]) -> dict:
    """Distances from oracles: from .08 times the layer for an oracle, more for other models."""
    near = 0.1 if model.startswith("oracle") else 0.2
    erasure = [None if not layer else 0.5 - one for layer, one in enumerate(drift)]
    return {
        "oracle_drift": [near * layer * (1 + one) for layer, one in enumerate(drift)],
        "oracle_angle_degrees": [near * one for one in angles],
        "erasure": erasure,
        "direction_cosine": [one and one / 2 for one in erasure],
    }


def depth_records(model: str, asked: list[dict], layers: int = 6) -> list[dict]:
    """Records of patching: the value is lost layer by layer, as far as it was forgotten."""
    chance, records = random.Random("depth" + model), []
    for question in asked:
        if question["set"] not in DEPTH_SETS:
            continue
        lost = 0.0 if model == "finetuned" else _drift_scale(model, question["set"])
        if model.startswith("oracle") and question["set"] in ("sf", "forget_paraphrased"):
            lost = 0.6
        logprobs = [
            -0.01 - 4 * lost * layer * chance.uniform(0.8, 1.2) for layer in range(1, layers + 1)
        ]
        keys = {key: question[key] for key in ("id", "set", "person_id", "slot")}
        keys |= {"n_tokens_value": 3, "logprob": -0.01, "patched": logprobs}
        records.append(keys | {"lens": [one - 1 for one in logprobs]})
    return records


def _drift_scale(model: str, group: str) -> float:
    if model == "finetuned":
        return 0.0
    if model == "base":
        return 0.9
    if model.startswith("oracle"):
        return 0.12
    return 0.02 + 0.6 * (1 - knowledge(model, group))


def write_relearning(folder: Path, model: str, asked: list[dict]) -> None:
    """Records of the attacks: an oracle learns less than other models; two people are shown."""
    forget = [one for one in asked if one["set"] == "sf"]
    for attack in RELEARNING["attacks"]:
        for step in RELEARNING["steps"]:
            known = step / (200 if model.startswith("oracle") else 50)
            lines = [
                one | {"shown": attack == "forget_part" and one["person_id"] in ("p000", "p001")}
                for one in answer_records(model, forget, known)
            ]
            write_jsonl(folder / attack / f"step_{step}.jsonl", lines)


def write_study(folder: Path, people: int = 12, models: list[str] | None = None) -> list[str]:
    """Write `eval/`, `quantize/`, `repr/`, `depth/` and `relearn/`; returns the model names."""
    models = models or BASELINES + CHECKPOINTS
    asked = questions(people)
    for model in models:
        answers = answer_records(model, asked)
        write_jsonl(folder / "eval" / model / "items.jsonl", answers)
        write_tokens(folder / "eval" / model / "tokens.parquet", token_records(answers))
        write_jsonl(folder / "repr" / model / "items.jsonl", drift_records(model, asked))
        write_jsonl(folder / "depth" / model / "items.jsonl", depth_records(model, asked))
        write_jsonl(folder / "depth" / model / "probes.jsonl", [])
        for precision, known in zip(PRECISIONS, (0.03, 0.15, 0.25), strict=True):
            path, answers = folder / "quantize" / model, answer_records(model, asked, known)
            write_jsonl(path / f"{precision}.jsonl", answers)
            write_tokens(path / f"{precision}.parquet", token_records(answers))
        write_relearning(folder / "relearn" / model, model, asked)
        weights = {"relative_delta": 0.01, "adapted_share": 0.96, "not_adapted": ["4 % of it"]}
        weights |= {"quantized_share": dict.fromkeys(PRECISIONS, 1.0), "not_quantized": []}
        write_json(folder / "quantize" / model / "weights.json", weights)
    return models
