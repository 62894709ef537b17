"""docs/how-to/audit.md, to the letter: models of others on the real DAG, and nothing is trained."""

import json
import os
import re
import subprocess
import sys

import pytest

from excise.records import read_json
from how_to import ROOT, files

pytestmark = pytest.mark.workflow

PAGE = "docs/how-to/audit.md"
OVERLAY = "experiments/audit.yaml"
RESULTS = "experiments/audit/results"


@pytest.fixture(scope="module")
def audited(fresh, tmp_path_factory):
    """A workspace in which the page was followed up to its first run."""
    workspace = fresh.copy(tmp_path_factory.mktemp("audit") / "workspace")
    for path, text in files(PAGE).items():
        (workspace / path).parent.mkdir(exist_ok=True)
        (workspace / path).write_text(text)
    for script in ("make_adapter", "make_finetuned"):
        command = [sys.executable, f"theirs/{script}.py"]
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        subprocess.run(command, cwd=workspace.folder, env=environment, check=True, timeout=300)
    return workspace


def commands() -> list[list[str]]:
    """What the page's calls of Snakemake say after the overlay."""
    pattern = rf"^snakemake --cores 2 --configfile={OVERLAY} (.*)$"
    return [one.split() for one in re.findall(pattern, (ROOT / PAGE).read_text(), re.MULTILINE)]


def test_the_page_is_followed_and_trains_nothing(audited):
    dry, run, export = commands()
    planned = audited.plan(*dry[1:], config=OVERLAY)
    assert {"Evaluating audit/theirs", "Quantizing reference/their-finetuned"} <= planned
    assert not [job for job in planned if re.match("Finetuning|Training|Unlearning", job)]

    said = audited.run(*run, config=OVERLAY)
    assert "audit/theirs: compared with no oracle; left out: all distances from oracles" in said
    rows = read_json(audited / f"{RESULTS}/audit/eval_results.json")["rows"]
    methods = {row["model"]: row["method"] for row in rows}
    assert methods == {"base": None, "reference/their-finetuned": None, "audit/theirs": "theirs"}
    tables = {path.name for path in (audited / f"{RESULTS}/audit").glob("*.json")}
    listed = "eval retain_compare quantize repr".split()
    assert tables == {f"{name}_results.json" for name in listed} | {
        "repr_results_1.json",
        "repr_layers.json",
    }
    moved = read_json(audited / f"{RESULTS}/audit/repr_results.json")["rows"]
    drift = {row["model"]: row["value"] for row in moved if row["metric"] == "drift"}
    assert drift["reference/their-finetuned"] == 0 and drift["audit/theirs"] > 0
    for name in ("forget_vs_retain", "quantize_recovery", "layerdrift_by_method"):
        assert (audited / f"{RESULTS}/audit/{name}.png").stat().st_size > 1000
    assert not (audited / f"{RESULTS}/models").exists()

    audited.run(*export, config=OVERLAY)
    folder = audited / f"{RESULTS}/open_unlearning/audit/theirs"
    summary = read_json(folder / "TOFU_SUMMARY.json")
    left_out = read_json(folder / "LEFT_OUT.json")["left_out"]
    assert {"forget_truth_ratio", "forget_Q_A_Prob", "extraction_strength"} <= set(summary)
    assert {"forget_quality", "privleak", "forget_Q_A_gibberish"} <= set(left_out)
    assert "Nothing to be done" in audited.run(*run, config=OVERLAY)

    # Weights of the adapter are inputs: another file asks this model again, and no other.
    config = audited / "theirs/unlearned/adapter_config.json"
    config.write_text(json.dumps(read_json(config) | {"lora_alpha": 9}))
    again = audited.plan(*run, config=OVERLAY)
    models = {job for job in again if re.match("Evaluating|Quantizing|Extracting", job)}
    assert models == {
        "Evaluating audit/theirs",
        "Quantizing audit/theirs",
        "Extracting hidden states: audit/theirs",
    }
