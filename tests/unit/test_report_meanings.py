"""Every metric of every table has a meaning that the page shows on hover."""

import json
import re
from pathlib import Path

import pytest

import compare_methods
import compare_oracle
import compare_retain
import summarize_depth
import summarize_eval
import summarize_findings
import summarize_quantize
import summarize_relearn
import summarize_representations
from excise.evaluation.conventions import CONVENTIONS
from excise.evaluation.findings.claims import CLAIMS
from excise.evaluation.tables.updates import SHARES, update_rows
from excise.records import read_json, write_jsonl
from excise.report.definitions import metric_definitions
from excise.report.meanings import MEANINGS
from synthetic_records import BASELINES, RELEARNING, write_study

SOURCES = Path(__file__).parents[2] / "workflow_scripts/excise"
MODEL = "unlearn/ga/lr0.0002/epoch_5"
LEVELS = {"light": [MODEL.removeprefix("unlearn/")]}
EVERYTHING = {"sets": None, "generation": True, "full": []}
LITERAL = re.compile(r'"metric": "([a-z]\w*)"|fixed_row\("([a-z]\w*)"')


def known(metric: str) -> bool:
    return bool(MEANINGS.get(metric) or metric in metric_definitions())


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[dict]:
    """The rows of the tables that the summarize programs make of a made-up study."""
    folder = tmp_path_factory.mktemp("study")
    models = [*BASELINES, MODEL]
    write_study(folder, people=4, models=models)
    probed = {"slot": "venue", "set": "sf", "id": "p000.venue", "person_id": "p000"}
    for model in models:
        path = folder / "depth" / model / "probes.jsonl"
        write_jsonl(path, [probed | {"hit": [1], "control": [0.2]}])
    asked = {"confidence": 0.95, "levels": LEVELS, "sweep": EVERYTHING}
    evaluated = ["--eval-dir", str(folder / "eval")]
    for program, name, folders, hp in (
        (summarize_eval, "sweep_results", evaluated, asked),
        (compare_oracle, "distance_results", evaluated, asked),
        (compare_methods, "comparison_results", evaluated, asked | {"levels": None}),
        (compare_retain, "retain_compare_results", evaluated, asked),
        (
            *(summarize_quantize, "quantize_results"),
            [*evaluated, "--quantize-dir", str(folder / "quantize")],
            asked | {"precisions": ["int8"], "sets": None},
        ),
        (
            *(summarize_representations, "repr_layers", ["--repr-dir", str(folder / "repr")]),
            {"confidence": 0.95, "layer": "all"},
        ),
        (
            *(summarize_depth, "depth_results", ["--depth-dir", str(folder / "depth")]),
            {"confidence": 0.95, "levels": LEVELS, "knowledge_threshold": 0.05, "depth_sets": None},
        ),
        (
            *(summarize_relearn, "relearn_results"),
            [*evaluated, "--relearn-dir", str(folder / "relearn")],
            {"confidence": 0.95, "levels": LEVELS} | RELEARNING,
        ),
    ):
        named = [one for one in models if name != "relearn_results" or "/" in one]
        if name == "quantize_results":
            named = named[1:]  # the base is not quantized
        made = ["--models", *named, "--hp", json.dumps(hp), "--experiment", "test"]
        program.main([*folders, *made, "--config", "{}", "--out", str(folder / f"{name}.json")])
    hp = json.dumps({"confidence": 0.95, "middle_layer": 3, "levels": LEVELS})
    read = ["--tables", str(folder / "comparison_results.json"), "--hp", hp, "--config", "{}"]
    out = ["--experiment", "test", "--out", str(folder / "findings.json")]
    summarize_findings.main([*read, *out])
    return [row for path in folder.glob("*.json") for row in read_json(path)["rows"]]


def test_every_metric_of_the_made_up_tables_has_a_meaning(rows):
    metrics = {row["metric"] for row in rows}
    assert len(metrics) > 60
    assert sorted(one for one in metrics if not known(one)) == []


def test_every_figure_has_its_convention_beside_it(rows):
    """A finding says in `test` how it is computed."""
    assert (
        sorted({row["metric"] for row in rows if not (row.get("convention") or "test" in row)})
        == []
    )
    uds = next(row["convention"] for row in rows if row["metric"] == "uds")
    assert uds == CONVENTIONS["uds"]
    gap = next(row for row in rows if row.get("comparison") == "gap")
    assert gap["convention"] == metric_definitions()[gap["metric"]]["convention"]


def test_conventions_are_of_figures_with_a_meaning_and_short():
    claims = {claim.name for claim in CLAIMS}
    wanted = set(MEANINGS) - claims
    assert sorted(wanted ^ set(CONVENTIONS)) == []
    assert max(map(len, CONVENTIONS.values())) < 80


def test_every_metric_that_a_program_writes_by_its_name_has_a_meaning():
    folders = ("evaluation/tables", "red_team/models", "red_team/judge", "generation")
    texts = [path.read_text() for name in folders for path in (SOURCES / name).rglob("*.py")]
    named = {one or other for text in texts for one, other in LITERAL.findall(text)}
    assert {"area", "facts_named", "change_beyond_oracles"} <= named
    assert sorted(one for one in named if not known(one)) == []


def test_metrics_with_made_names_have_a_meaning():
    sums = ("base", "adapter", "update", "finetuned")
    kinds = [f"{side}{end}" for side in SHARES for end in ("", "_by_chance", "_of_adapter")]
    rows = update_rows({"model.layers.0.q_proj": dict.fromkeys((*sums, *kinds), 1.0)})
    names = {row["metric"] for row in rows} | {"spearman", "spearman_within_person", "auc_lost"}
    names |= {"codes_changed", "values_changed", "update_kept", "update_cosine", "chance_of_20"}
    names |= {"rougeL_over_0.6", "pass_rate", "recall", "false_positive_rate", "recall_excess"}
    names |= {"compression_ratio", "self_repetition_4", "distinct_1", "distinct_2", "self_bleu_4"}
    names |= {"mean_cosine", "vendi_score", "normalised_entropy", "pair_coverage"}
    assert sorted(one for one in names if not known(one)) == []


def test_a_meaning_is_short_and_ends_with_a_full_stop():
    for metric, meaning in MEANINGS.items():
        assert meaning.endswith("."), metric
        assert len(meaning) < 500, metric
    assert not set(MEANINGS) & set(metric_definitions())
