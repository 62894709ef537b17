"""The positive control is planned as `make entangled` and the overlay say; nothing runs."""

import shutil
import subprocess

import pytest

pytestmark = pytest.mark.workflow

OVERLAY = "experiments/entangled.yaml"


def test_a_dose_is_planned_in_a_folder_of_its_own(fresh):
    folder = "experiments/entangled/dose_0.5"
    names = ("data", "results", "logs", "benchmarks")
    folders = ", ".join(f"{name}: {folder}/{name}" for name in names)
    planned = fresh.plan(
        *("--config", "generation={entanglement: 0.5}", f"pathvars={{{folders}}}"),
        *("--", f"{folder}/results/retain_compare_results.json"),
        config=OVERLAY,
    )
    assert {"Drawing the people", "Comparing correlated with other facts"} <= planned
    assert len([job for job in planned if job.startswith("Unlearning")]) == 3


def test_make_runs_every_dose_and_compares_them(fresh):
    if shutil.which("make") is None:
        pytest.skip("no make")
    done = subprocess.run(
        ["make", "--dry-run", "-o", ".venv/installed", "entangled"],
        cwd=fresh.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "for dose in 0 0.5 1;" in done.stdout
    assert "dose_0.5 experiments/entangled/dose_1 " in done.stdout
    assert "entanglement_response.json" in done.stdout
