"""The shipped profiles fit the rules and avoid known faults of the plugin."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = {
    file.stem: file.read_text() for file in (ROOT / "rules").glob("*.smk") if file.stem != "common"
}
IN_A_LOOP = {"summarize_{table}": ["summarize_eval", "summarize_sweep", "summarize_audit"]} | {
    f"{name}{{suffix}}": [name, f"{name}_audit"]
    for name in (
        *("compare_oracle", "compare_retain"),
        *("summarize_quantize", "summarize_representations"),
    )
}
SLURM = yaml.safe_load((ROOT / "profiles/slurm/profile.yaml").read_text())


def rules() -> dict[str, str]:
    """Text of every rule, by name."""
    found = {}
    for text in RULES.values():
        for part in re.split(r"^ *rule\b", text, flags=re.MULTILINE)[1:]:
            name = re.match(r" (\w+):", part) or re.search(r'rule_name\("(\w+)"', part)
            names = [name[1]] if name else IN_A_LOOP[re.search(r'f"(\w+\{\w+\})"', part)[1]]
            found |= dict.fromkeys(names, part)
    return found


def gpu_rules() -> set[str]:
    return {name for name, text in rules().items() if 'gpu=config["resources"]["gpu"]' in text}


def test_every_rule_that_may_use_a_gpu_has_a_partition_for_it():
    assert set(SLURM["set-resources"]) == gpu_rules()


def test_three_values_are_left_to_the_user():
    text = (ROOT / "profiles/slurm/profile.yaml").read_text()
    assert re.findall(r"^ *(\w+): CHANGE_ME", text, flags=re.MULTILINE) == [
        "slurm_account",
        "slurm_partition",
        "slurm_partition",
    ]
    assert {site["slurm_partition"] for site in SLURM["set-resources"].values()} == {"CHANGE_ME"}


def test_groups_name_rules_that_exist_and_none_that_trains():
    groups = SLURM["groups"]
    assert set(groups) <= set(rules())
    assert set(SLURM["group-components"]) <= set(groups.values())
    assert not {"finetune_lora", "train_retain_model", "unlearn"} & set(groups)


def test_rules_that_may_run_on_the_submitting_machine_are_in_no_group():
    """Snakemake submits a group even if its rules are local."""
    local = {name for name, text in rules().items() if "localrule:" in text}
    assert "generate_qa" in local
    assert not local & set(SLURM["groups"])


def test_model_jobs_of_a_group_run_one_after_the_other():
    assert {site["group_serial"] for site in SLURM["set-resources"].values()} == {1}
    text = (ROOT / "Snakefile").read_text()
    assert 'workflow.register_resource("group_serial", 1)' in text
    assert re.search(
        r'resource_scopes:\n    group_serial="local",', text
    )  # not one in the whole run


def test_a_group_requests_only_one_partition():
    for group in set(SLURM["groups"].values()):
        members = {name for name, its in SLURM["groups"].items() if its == group}
        assert len({name in gpu_rules() for name in members}) == 1, group


@pytest.mark.parametrize("name", rules())
def test_a_rule_requests_more_resources_at_each_attempt(name):
    resources = re.search(r"resources:\n((?: {8,}\w+=.*\n)+)", rules()[name])[1]
    keys = dict(re.findall(r"(\w+)=(.*),\n", resources))
    assert set(keys) == {"mem_mb", "runtime", "gpu"}
    assert re.match(r"(per_attempt|memory)\(", keys["mem_mb"])
    assert re.match(r"(per_attempt|walltime)\(", keys["runtime"])


def test_known_faults_of_the_plugin_are_avoided():
    assert "slurm-array-jobs" not in SLURM  # F5: the plugin confuses the states of array tasks
    assert "slurm-partition-config" not in SLURM  # F8: the plugin makes a wrong file
    assert SLURM["slurm-requeue"] is True  # F3, F4: SLURM runs jobs again that it has stopped
    assert SLURM["slurm-status-command"] == "sacct"  # F1: squeue would bypass our wrapper
    assert SLURM["retries"] >= 1
    for name, text in rules().items():
        assert "retries:" not in text, f"{name}: F6: retried inside of the too small allocation"
        assert "slurm_" not in text, f"{name}: site names belong in the profile"


def test_only_the_submitting_machine_uses_the_hub():
    text = rules()["download_model"]
    assert "localrule: True" in text
    assert [name for name, text in rules().items() if "env -u HF_HUB_OFFLINE" in text] == [
        "download_model"
    ]


def test_status_programs_exist_and_are_executable():
    for name in ("sacct", "sbatch"):
        assert (ROOT / "profiles/slurm/bin" / name).stat().st_mode & 0o111 == 0o111


def test_a_workstation_runs_one_gpu_job_at_a_time():
    default = yaml.safe_load((ROOT / "profiles/default/profile.yaml").read_text())
    assert default["resources"] == {"gpu": 1}
