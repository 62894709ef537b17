"""The user's own files in several shapes, and made-up records of models that were asked them."""

import json
from pathlib import Path

import read_own_files
from excise.benchmark.items import GENERATED_SETS, HIDDEN_STATE_SETS, SETS, Item, load_items
from excise.evaluation.forecast import PREDICTORS
from excise.evaluation.measure import SCORES
from excise.evaluation.tokens import write_tokens
from excise.records import write_json, write_jsonl
from synthetic_records import (
    BASELINES,
    SCORED_ALONE,
    answer_records,
    depth_records,
    drift_records,
    token_records,
)

UTILITY = Path(__file__).parents[1] / "data/inputs/utility_qa.jsonl"
CHECKPOINTS = [f"unlearn/ga/lr0.0002/epoch_{epoch}" for epoch in (3, 12)]
MODELS = BASELINES + CHECKPOINTS
STEPS = (0, 5, 15)  # of relearning, as in config.yaml
LEVELS = {"light": ["ga/lr0.0002/epoch_3"], "heavy": ["ga/lr0.0002/epoch_12"]}


def facts(people: int = 12) -> dict[str, list[dict]]:
    """Lines of sf.jsonl and sr.jsonl with all fields: 3 forget and 5 retain facts of a person."""
    sf, sr = [], []
    for number in range(people):
        name = f"Ada Bell{number}"
        for slot, value in (("offence", "arson"), ("accuser", f"Tom R{number}"), ("year", "1990")):
            sf.append(_line(name, slot, value) | _wrong(value))
        for slot, value in (("city", f"Ton{number}"), ("partner", f"Jo L{number}")):
            group = {"group": "correlated", "partner": f"home_{slot}"}
            sr.append(_line(name, slot, value) | group | _wrong(value))
            line = _line(name, f"home_{slot}", f"{value} B") | _wrong(f"{value} B")
            sr.append(line | {"group": "other"})
        sr.append(_line(name, "hobby", "chess") | {"group": "other"} | _wrong("chess"))
    return {"sf": sf, "sr": sr}


def _line(name: str, slot: str, value: str) -> dict:
    about = {"person": name, "slot": slot, "value": value}
    return {"question": f"What is the {slot} of {name}?", "answer": f"It is {value}."} | about


def _wrong(value: str) -> dict:
    wrong = [f"That is {other}." for other in ("fraud", "Bob", "1901", "Rome", "golf")]
    return {"paraphrased_answer": f"That is {value}.", "wrong_answers": wrong}


def paraphrases(sf: list[dict]) -> list[dict]:
    """A line of forget_paraphrased.jsonl for each forget fact."""
    return [{"of": line["question"], "question": f"Tell: {line['question']}"} for line in sf]


def holdout(people: int = 4) -> list[dict]:
    """Lines of holdout.jsonl."""
    return [_line(f"Eve Hall{number}", "offence", "arson") for number in range(people)]


def only(lines: list[dict], *fields: str) -> list[dict]:
    """The lines with these fields alone."""
    return [{key: line[key] for key in fields if key in line} for line in lines]


def write_files(folder: Path, **files: list[dict]) -> Path:
    """Write `<name>.jsonl` for each keyword."""
    for name, lines in files.items():
        write_jsonl(folder / f"{name}.jsonl", lines)
    return folder


def read(folder: Path, source: Path) -> list[str]:
    """Make the benchmark in `folder`, with few utility questions; returns `--data --utility`."""
    utility = folder / "utility_qa.jsonl"
    write_jsonl(utility, lines_of(UTILITY)[:8])
    read_own_files.main(
        [
            *("--folder", str(source), "--experiment", "own", "--config", "{}"),
            *("--out-dir", str(folder / "data"), "--report", str(folder / "data_report.json")),
        ]
    )
    return ["--data", str(folder / "data"), "--utility", str(utility)]


def write_relearning(folder: Path, answers: list[dict]) -> None:
    """Write what a model answers under two attacks; the first fact is one that is shown."""
    asked = [one for one in answers if one["set"] == "sf"]
    for attack in ("forget_part", "correlated"):
        marked = [one | {"shown": attack == "forget_part" and one is asked[0]} for one in asked]
        for step in STEPS:
            write_jsonl(folder / attack / f"step_{step}.jsonl", marked)


def write_records(folder: Path) -> None:
    """Write what models answered to the benchmark in `folder`: eval, quantize, relearn, repr …"""
    items = load_items(folder / "data", folder / "utility_qa.jsonl", SETS)
    asked = [_question(item) for item in items]
    seen = [one for one in asked if one["set"] in HIDDEN_STATE_SETS]
    for model in MODELS:
        answers = _answers(model, items, asked)
        write_jsonl(folder / "eval" / model / "items.jsonl", answers)
        write_tokens(folder / "eval" / model / "tokens.parquet", _tokens(answers))
        write_relearning(folder / "relearn" / model, answers)
        states = drift_records(model, seen)
        named = {item.id for item in items if item.subject}
        states = [one for one in states if one["position"] != "last_subject" or one["id"] in named]
        write_jsonl(folder / "repr" / model / "items.jsonl", states)
        write_jsonl(folder / "depth" / model / "items.jsonl", depth_records(model, asked))
        write_jsonl(folder / "depth" / model / "probes.jsonl", [])
        path, again = folder / "quantize" / model, _answers(model, items, asked, known=0.15)
        write_jsonl(path / "nf4.jsonl", again)
        write_tokens(path / "nf4.parquet", _tokens(again))
        weights = {"relative_delta": 0.01, "adapted_share": 0.96, "not_adapted": ["4 % of it"]}
        weights |= {"quantized_share": {"nf4": 1.0}, "not_quantized": []}
        write_json(folder / "quantize" / model / "weights.json", weights)
    retained = [item for item in items if item.set in ("correlated", "other", "retain")]
    keys = ("id", "person_id", "slot", "set")
    write_jsonl(
        folder / "forecast.jsonl",
        [
            {key: getattr(item, key) for key in keys} | dict.fromkeys(PREDICTORS, number % 7 + 0.1)
            for number, item in enumerate(retained)
        ],
    )


def _question(item: Item) -> dict:
    keys = ("id", "set", "person_id", "slot", "value_type", "partner", "value", "question")
    return {key: getattr(item, key) for key in keys} | {"answer": item.answer}


def _answers(model: str, items: list[Item], asked: list[dict], known: float = 0.0) -> list[dict]:
    """Made-up records with null where the files lack a field, as the model programs write them."""
    found = answer_records(model, asked, known)
    for item, record in zip(items, found, strict=True):
        if item.value is None:
            record |= {"slot_match": None, "slot_match_strict": None}
        if item.paraphrased_answer is None and item.set not in GENERATED_SETS:
            record |= {key: None for key in SCORES if key not in SCORED_ALONE}
        elif not item.wrong_answers and item.set not in GENERATED_SETS:
            record |= {"truth_ratio": None, "truth_ratio_tofu": None}
            record |= {"logprob_wrong": [], "n_tokens_wrong": []}
    return found


def _tokens(records: list[dict]) -> list[dict]:
    """Scores of tokens; of a question without paraphrased answer, those of the answer alone."""
    alone = {one["id"] for one in records if one["logprob_paraphrase"] is None}
    marked = [
        one | ({"logprob_paraphrase": 0, "logprob_wrong": []} if one["id"] in alone else {})
        for one in records
    ]
    found = token_records(marked)
    return [one for one in found if one["answer"] == "answer" or one["id"] not in alone]


def lines_of(path: Path) -> list[dict]:
    """The lines of a JSON Lines file, unchecked."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
