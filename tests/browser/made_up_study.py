"""A results folder of a made-up study, small and whole, with answers that try to break a page."""

import json
import shutil
from pathlib import Path

import compare_methods
import compare_retain
import summarize_depth
import summarize_eval
import summarize_findings
import summarize_quantize
import summarize_relearn
import summarize_representations
from excise.records import write_json, write_jsonl
from synthetic_records import BASELINES, PRECISIONS, write_study

GA = [f"unlearn/ga/lr0.0002/epoch_{epoch}" for epoch in (3, 12)]
NPO = [f"unlearn/npo/lr0.0002_beta0.1/epoch_{epoch}" for epoch in (3, 12)]
OTHERS = ["reference/their-start", "audit/theirs"]
LEVELS = {"light": [GA[0].removeprefix("unlearn/")], "heavy": [NPO[1].removeprefix("unlearn/")]}
HOSTILE = {
    "sf_0": "</script><script>window.broken = true</script><img src=x onerror='broken = true'>",
    "sf_1": "bell \x07, null \x00, escape \x1b[31m, tab \t and line \u2028 separators \u2029 end",
    "sf_2": "left \u202eright to left\u202c, \u0645\u0631\u062d\u0628\u0627 and \u200f marks",
    "sf_3": "endless " * 1250,  # 10,000 characters
    "sf_4": "",
    "sf_5": "<!-- ]]> {{ title }} ${title} &lt;b&gt; \\u003c 👩‍🔬 \ud83d".encode(
        "utf-8", "replace"
    ).decode(),
}
"""Slot → what the last checkpoint of GA says about the first person."""
NAME = "Ada <b>Bell</b> & \u202eSons"


def make_results(folder: Path) -> None:
    """Write records and tables into a results folder, as the rules name them."""
    models = BASELINES + GA + NPO
    write_study(folder, people=4, models=models + OTHERS)
    shutil.rmtree(folder / "relearn")
    header = ["--experiment", "made up", "--config", json.dumps(CONFIG)]
    evaluated = ["--eval-dir", str(folder / "eval")]
    sweep = {"sweep": {"sets": None, "generation": True, "full": []}}
    for program, name, folders, names, hp in (
        (summarize_eval, "sweep_results", evaluated, models + OTHERS, sweep | {"levels": None}),
        (compare_methods, "comparison_results", evaluated, models, sweep | {"levels": None}),
        (
            *(compare_retain, "retain_compare_results", evaluated, models + OTHERS),
            sweep | {"levels": LEVELS},
        ),
        (
            *(summarize_representations, "repr_layers", ["--repr-dir", str(folder / "repr")]),
            *(models, {"layer": "all"}),
        ),
        (
            *(summarize_quantize, "quantize_results"),
            ["--quantize-dir", str(folder / "quantize"), *evaluated],
            *(
                models,
                {"precisions": list(PRECISIONS), "sets": ["sf"]} | sweep | {"levels": LEVELS},
            ),
        ),
        (
            *(summarize_depth, "depth_results", ["--depth-dir", str(folder / "depth")], models),
            {"levels": LEVELS, "knowledge_threshold": 0.05, "depth_sets": None},
        ),
    ):
        settings = json.dumps({"confidence": 0.95} | hp)
        out = ["--hp", settings, *header, "--out", str(folder / f"{name}.json")]
        program.main([*folders, "--models", *names, *out])
    write_relearning(folder, header)
    tables = [folder / f"{name}.json" for name in ("comparison_results", "depth_results")]
    hp = json.dumps({"confidence": 0.95, "middle_layer": 3, "levels": LEVELS})
    judged = ["--tables", *map(str, tables), "--hp", hp, *header]
    summarize_findings.main([*judged, "--out", str(folder / "findings.json")])
    say_hostile_things(folder / "eval" / GA[1] / "items.jsonl")
    write_benchmark(folder)


def write_relearning(folder: Path, header: list[str]) -> None:
    """The attack forget_part shows the facts of p000; after ten steps, GA knows all again.

    NPO says hostile things about p000 then.
    """
    attacked = ["oracle/seed_0", "oracle/seed_1", GA[0], NPO[1]]
    for model in attacked:
        path = folder / "eval" / model / "items.jsonl"
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        lines = [one | {"shown": one["person_id"] == "p000"} for one in lines if one["set"] == "sf"]
        for step in (0, 10):
            asked = folder / "relearn" / model / "forget_part" / f"step_{step}.jsonl"
            write_jsonl(asked, [one | _said_after(model, step, one) for one in lines])
    hp = {"confidence": 0.95, "levels": LEVELS, "attacks": ["forget_part"], "steps": [0, 10]}
    folders = ["--relearn-dir", str(folder / "relearn"), "--eval-dir", str(folder / "eval")]
    out = ["--hp", json.dumps(hp), *header, "--out", str(folder / "relearn_results.json")]
    summarize_relearn.main([*folders, "--models", *attacked, *out])


def _said_after(model: str, step: int, asked: dict) -> dict:
    if step and model == GA[0]:
        return {"slot_match": 1, "generation": asked["value"]}
    if step and model == NPO[1] and asked["person_id"] == "p000":
        return {"slot_match": 0, "generation": HOSTILE[asked["slot"]]}
    return {}


CONFIG = {
    "model": {"path": "data/inputs/base/tiny-qwen2"},
    "oracle": {"seeds": [0, 1]},
    "generation": {"backend": "offline", "seed": 0},
    "audit": {
        "models": [
            {"name": "theirs", "compare": {"finetuned": "their-start", "oracle": ["oracle/seed_0"]}}
        ],
        "references": [{"name": "their-start"}],
    },
}


def say_hostile_things(records: Path) -> None:
    lines = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if line["id"].startswith("p000.") and line["set"] == "sf":
            line |= {"generation": HOSTILE[line["slot"]], "slot_match": 0}
    write_jsonl(records, lines)


def write_benchmark(folder: Path) -> None:
    """The report on the data, the card and the people."""
    checks = [
        {"check": "names", "severity": "hard", "passed": True, "findings": 0, "n": 4},
        {"check": "style", "severity": "report", "passed": False, "findings": 2, "n": 9},
    ]
    checks[1]["examples"] = ["</script><b>bold</b>"]
    row = {"check": "style", "severity": "report", "n": 9}
    measures = [
        row | {"metric": "findings", "value": 2, "threshold": None},
        row | {"metric": "auc_function_words_sf", "value": 0.71, "threshold": 0.65},
    ]
    report = {"checks": checks, "rows": measures, "validation": {"people": 4, "sf": 24, "sr": 32}}
    write_json(folder / "data_report.json", report)
    (folder / "dataset/data").mkdir(parents=True)
    (folder / "dataset/README.md").write_text("# Card\n</script><script>broken = true</script>\n")
    people = [
        {"person_id": f"p{n:03}", "name": NAME if n == 0 else f"Person {n}", "text": "Born."}
        for n in range(4)
    ]
    write_jsonl(folder / "dataset/data/profiles.jsonl", people)


def copy_named(folder: Path, copy: Path, name: str, tables: list[str]) -> None:
    """A second study: the same tables under another name, and no records."""
    copy.mkdir()
    for table in tables:
        content = json.loads((folder / f"{table}.json").read_text())
        (copy / f"{table}.json").write_text(json.dumps(content | {"experiment": name}))
    if "findings" in tables:
        shutil.copytree(folder / "dataset", copy / "dataset")


def keep_others(folder: Path, copy: Path) -> None:
    """A study that trains nothing: the base and the models of others, tables in `audit`."""
    kept = ["base", *OTHERS]
    for model in kept:
        shutil.copytree(folder / "eval" / model, copy / "eval" / model)
    (copy / "audit").mkdir()
    for table in ("sweep_results", "retain_compare_results"):
        content = json.loads((folder / f"{table}.json").read_text())
        content["rows"] = [row for row in content["rows"] if row["model"] in kept]
        name = table.replace("sweep", "eval")
        (copy / "audit" / f"{name}.json").write_text(json.dumps(content | {"experiment": "audit"}))
