"""Rebuilt only when its inputs change: the promise of the project, on the real DAG."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from workflow.conftest import steps

pytestmark = pytest.mark.workflow

GA, NPO = "ga/lr0.0002", "npo/lr0.0002_beta0.1"
LIBRARY = "workflow_scripts/excise"
RESULTS = "experiments/smoke/results"

TABLES = {
    "Summarising the levels of unlearning",
    "Summarising every checkpoint",
    "Comparing every model with the oracles",
    "Comparing correlated with other facts",
    "Comparing methods at matched forgetting",
    "Summarising the quantization stress test",
    "Summarising hidden states: repr_layers",
    "Summarising hidden states: repr_results",
    "Summarising hidden states: repr_results_1",
    "Summarising the depth of erasure",
    "Summarising the relearning attack",
    "Summarising the updates",
    "Scoring the forecast",
    "Judging the claims",
}
UPDATES = {"Measuring the updates"}  # of all models in one job, which runs none of them
REPORT = {"Writing the report"}
GATES = "Checking the gates of base and oracles"
DIVERSITY = "Measuring diversity"
EXPORT = "Exporting the dataset"
PLOTS = {
    "Plotting forget_vs_retain",
    "Plotting retain_gap",
    "Plotting matched_retention",
    "Plotting quantize_recovery",
    "Plotting layerdrift_by_epoch",
    "Plotting layerdrift_by_method",
    "Plotting depth_by_layer",
    "Plotting relearning_curves",
}


def trajectory(name: str) -> set[str]:
    return {f"Unlearning: {name}", f"Evaluating {name}", f"Extracting hidden states: {name}"}


def quantized(*checkpoints: str) -> set[str]:
    return {f"Quantizing unlearn/{name}" for name in checkpoints}


def patched(*checkpoints: str) -> set[str]:
    return {f"Patching hidden states: unlearn/{name}" for name in checkpoints}


def relearned(*checkpoints: str) -> set[str]:
    return {f"Relearning: unlearn/{name}" for name in checkpoints}


# What unlearning and everything behind it is, on the smoke experiment.
BEHIND_UNLEARNING = (
    trajectory(GA)
    | trajectory(NPO)
    | quantized(f"{GA}/epoch_1", f"{NPO}/epoch_1", f"{NPO}/epoch_2")
    | patched(f"{GA}/epoch_1", f"{NPO}/epoch_1", f"{NPO}/epoch_2")
    | relearned(f"{GA}/epoch_1", f"{NPO}/epoch_1", f"{NPO}/epoch_2")
    | UPDATES
    | TABLES
    | PLOTS
    | REPORT
)


def test_a_run_makes_every_result(smoke):
    names = ("distance", "eval", "sweep", "retain_compare", "comparison", "quantize", "repr")
    for name in (*names, "depth", "relearn", "update", "forecast"):
        rows = json.loads((smoke / f"{RESULTS}/{name}_results.json").read_text())["rows"]
        assert rows, name
    assert (smoke / f"{RESULTS}/repr_results_1.json").is_file()
    assert (smoke / f"{RESULTS}/dataset/README.md").is_file()
    for name in ("data_report", "red_team_models", "diversity_report", "findings"):
        assert (smoke / f"{RESULTS}/{name}.json").is_file()
    assert (smoke / "experiments/smoke/data/wrong_details.jsonl").is_file()
    for plot in PLOTS:
        assert (smoke / f"{RESULTS}/{plot.split()[1]}.png").stat().st_size > 1000
    assert (smoke / f"{RESULTS}/report.html").stat().st_size > 4_000_000


def test_a_run_leaves_no_temporary_files(smoke):
    assert not [name for name in smoke.digests() if name.endswith(".part")]


def test_result_files_hold_no_absolute_paths(smoke):
    for path in (smoke / RESULTS).glob("*.json"):
        assert str(smoke.folder) not in path.read_text(), path


def test_a_second_run_does_nothing(smoke):
    before = smoke.digests()
    started = time.monotonic()
    assert "Nothing to be done" in smoke.run("all")
    assert time.monotonic() - started < 15
    assert smoke.digests() == before


def test_touching_files_does_nothing(smoke):
    for folder in ("workflow_scripts", "data", "experiments", "rules"):
        for path in (smoke / folder).rglob("*"):
            if path.is_file():
                path.touch()
    (smoke / "config.yaml").touch()
    assert smoke.plan("all") == set()


def test_editing_the_losses_reruns_unlearning_and_what_follows(smoke):
    with smoke.edited(f"{LIBRARY}/unlearning/losses.py", "import torch", "import torch  # edited"):
        planned = smoke.plan("all")
    assert planned - {"Scoring the forget answers before unlearning"} == BEHIND_UNLEARNING


def test_taking_an_edit_back_does_nothing(smoke):
    with smoke.edited(f"{LIBRARY}/unlearning/losses.py", "import torch", "import torch  # edited"):
        pass
    assert smoke.plan("all") == set()


def test_editing_a_program_reruns_its_stage_and_what_follows(smoke):
    with smoke.edited("workflow_scripts/represent.py", '"""', '"""Edited. '):
        planned = smoke.plan("all")
    looks = {"base, finetuned and oracles", GA, NPO}
    tables = {table for table in TABLES if "hidden states" in table} | {"Judging the claims"}
    plots = {plot for plot in PLOTS if "layerdrift" in plot}
    assert (
        planned == {f"Extracting hidden states: {name}" for name in looks} | tables | plots | REPORT
    )


@pytest.mark.parametrize(
    "file, old",
    [
        ("workflow_scripts/export_dataset.py", '"""'),
        (f"{LIBRARY}/benchmark/export.py", '"""'),
        (f"{LIBRARY}/benchmark/card.py", '"""'),
        (f"{LIBRARY}/benchmark/card.md", "# Excise"),
    ],
)
def test_editing_the_export_exports_again_and_reports_it(smoke, file, old):
    with smoke.edited(file, old, f"{old} Edited. "):
        assert smoke.plan("all") == {EXPORT} | REPORT


EVALUATING = {
    f"Evaluating {name}"
    for name in ("base", "finetuned", "oracle/seed_0", "oracle/seed_1", GA, NPO)
}
QUANTIZING = {f"Quantizing {name}" for name in ("finetuned", "oracle/seed_0", "oracle/seed_1")}
QUANTIZING |= quantized(f"{GA}/epoch_1", f"{NPO}/epoch_1", f"{NPO}/epoch_2")
ASKING = {"Selecting the wrong answers", GATES, EXPORT} | EVALUATING | QUANTIZING
# Tables and plots that hold no answer of a model, but hidden states or weights, are left out.
UNANSWERED = ("hidden states", "depth", "updates")
OF_ANSWERS = {one for one in TABLES if not any(word in one for word in UNANSWERED)} | {
    plot for plot in PLOTS if "layerdrift" not in plot and "depth" not in plot
}


@pytest.mark.parametrize(
    "file", ["workflow_scripts/select_wrong_answers.py", f"{LIBRARY}/red_team/models/selection.py"]
)
def test_editing_the_choice_of_wrong_answers_asks_anew_and_trains_nothing(smoke, file):
    with smoke.edited(file, '"""', '"""Edited. '):
        assert smoke.plan("all") == ASKING | OF_ANSWERS | REPORT


def test_more_wrong_answers_are_chosen_without_training(smoke):
    planned = smoke.plan("all", "--config", "generation={wrong_answers: 6}")
    assert planned >= ASKING
    assert not [job for job in planned if "Finetuning" in job or job.startswith("Unlearning")]
    assert "Training the oracle with seed 0" not in planned


def test_a_gate_reruns_no_model(smoke):
    planned = smoke.plan("all", "--config", "red_team={models: {win_rate_tolerance: 0.1}}")
    assert planned == {GATES} | REPORT


def test_editing_a_metric_of_diversity_measures_it_again(smoke):
    with smoke.edited("workflow_scripts/excise/generation/diversity_rows.py", '"""', '"""Edited. '):
        assert smoke.plan("all") == {DIVERSITY, "Embedding the texts (offline)"} | REPORT


def test_a_judge_is_asked_only_where_it_is_enabled(smoke):
    override = ["red_team={judge: {enabled: true}}", "generation={llm: {model: m}}"]
    judging = "Judging the benchmark with a language model"
    assert judging in smoke.plan("all", "--config", *override)
    assert judging not in smoke.plan("all")


def test_editing_the_shape_of_results_reruns_tables_and_no_model(smoke):
    with smoke.edited(f"{LIBRARY}/schemas/result.schema.json", "{", "{ "):
        planned = smoke.plan("all")
    assert planned == TABLES | PLOTS | REPORT | {GATES, DIVERSITY}


def test_editing_the_check_of_the_config_does_nothing(smoke):
    with smoke.edited(f"{LIBRARY}/config/check.py", '"""', '"""Edited. '):
        assert smoke.plan("all") == set()


def test_adding_one_beta_runs_one_trajectory_and_its_evaluation(smoke):
    with smoke.edited("experiments/smoke.yaml", "beta: [0.1]", "beta: [0.1, 0.5]"):
        planned = smoke.plan("all")
    # Some tables keep their rows, but every header tells the whole grid.
    assert planned == trajectory("npo/lr0.0002_beta0.5") | UPDATES | TABLES | PLOTS | REPORT


def test_changing_the_epochs_of_a_trajectory_leaves_the_others_alone(smoke):
    old, new = "beta: [0.1], epochs: [1, 2]", "beta: [0.1], epochs: [1, 2, 3]"
    with smoke.edited("experiments/smoke.yaml", old, new):
        planned = smoke.plan("all")
    again = trajectory(NPO) | quantized(f"{NPO}/epoch_1", f"{NPO}/epoch_2")
    again |= patched(f"{NPO}/epoch_1", f"{NPO}/epoch_2")
    again |= relearned(f"{NPO}/epoch_1", f"{NPO}/epoch_2")
    assert planned == again | UPDATES | TABLES | PLOTS | REPORT


@pytest.mark.parametrize("left", [1, 2])
def test_an_epoch_that_is_left_out_trains_nothing(smoke, left):
    """Also the last one: the run of fewer epochs is a checkpoint of the longer one.

    Here the epoch stood for a level, and the sweep is limited. So what its trajectory is asked
    changes, and the trajectory is evaluated again.
    """
    old, new = "beta: [0.1], epochs: [1, 2]", f"beta: [0.1], epochs: [{left}]"
    text = (smoke / "experiments/smoke.yaml").read_text()
    shorter = text.replace(old, new).replace(f"{NPO}/epoch_{3 - left}", f"{GA}/epoch_1")
    (smoke / "experiments/shorter.yaml").write_text(shorter)
    planned = smoke.plan("all", config="experiments/shorter.yaml")
    assert planned == {f"Evaluating {NPO}"} | UPDATES | TABLES | PLOTS | REPORT
    output = smoke.run("--dry-run", "all", config="experiments/shorter.yaml")
    assert "today's config" not in output


@pytest.mark.parametrize("precisions", ["[nf4, int8]", "[int8]", "[nf4]"])
def test_a_precision_that_is_left_out_or_moved_quantizes_nothing(smoke, precisions):
    planned = smoke.plan("all", "--config", f"quantization={{precisions: {precisions}}}")
    tables = {"Summarising the quantization stress test", "Judging the claims"}
    assert planned == tables | {"Plotting quantize_recovery"} | REPORT


RELEARNING = relearned(f"{GA}/epoch_1", f"{NPO}/epoch_1", f"{NPO}/epoch_2")
RELEARNING |= {f"Relearning: oracle/seed_{seed}" for seed in (0, 1)}
BEHIND_RELEARNING = {"Summarising the relearning attack", "Plotting relearning_curves"} | REPORT
BEHIND_RELEARNING |= {"Judging the claims"}


@pytest.mark.parametrize("keys", ["seed: 1", "learning_rate: 1.0e-5", "share: 0.4"])
def test_a_key_of_the_relearning_attack_reruns_the_attack_alone(smoke, keys):
    planned = smoke.plan("all", "--config", f"relearning={{{keys}}}")
    assert planned == RELEARNING | BEHIND_RELEARNING


def test_another_attack_or_step_attacks_again(smoke):
    for keys in ("attacks: [forget_part, other]", "steps: [0, 1, 2]"):
        planned = smoke.plan("all", "--config", f"relearning={{{keys}}}")
        assert planned == RELEARNING | BEHIND_RELEARNING


def test_without_attacks_nothing_is_attacked(smoke):
    planned = smoke.plan("all", "--config", "relearning={attacks: []}")
    assert planned == REPORT | {"Judging the claims"}


@pytest.mark.parametrize(
    "override", ["resources={mem_mb: 3000, runtime: 5}", "pretraining={steps: 10}"]
)
def test_a_key_that_no_result_depends_on_reruns_nothing(smoke, override):
    assert smoke.plan("all", "--config", override) == set()


def test_another_confidence_reruns_tables_and_no_model(smoke):
    planned = smoke.plan("all", "--config", "evaluation={confidence: 0.9}")
    assert planned == TABLES | PLOTS | REPORT | {GATES}


def test_other_probes_are_asked_of_every_model_and_train_nothing(smoke):
    planned = smoke.plan("all", "--config", "evaluation={probes: [forget_reversed]}")
    assert {"Evaluating base", "Evaluating finetuned", f"Evaluating {GA}"} <= planned
    kinds = ("Finetuning", "Training", "Unlearning", "Quantizing", "Extracting", "Asking")
    assert not [job for job in planned if job.startswith(kinds)]


def test_a_threshold_of_the_red_team_reruns_it_and_trains_nothing(smoke):
    planned = smoke.plan("all", "--config", "red_team={style_auc: 0.7}")
    assert (
        planned == {"Attacking the benchmark", GATES, DIVERSITY, EXPORT} | TABLES | PLOTS | REPORT
    )


def test_two_changes_at_once_are_both_seen(smoke):
    """With `ancient` inputs, a red team that is out of date hides changes behind it."""
    override = "red_team={style_auc: 0.7}"
    with smoke.edited(f"{LIBRARY}/unlearning/losses.py", "import torch", "import torch  # edited"):
        planned = smoke.plan("all", "--config", override)
    assert BEHIND_UNLEARNING | {"Attacking the benchmark"} <= planned


def test_another_seed_of_the_data_reruns_everything(smoke):
    planned = smoke.plan("all", "--config", "generation={seed: 1}")
    assert {"Drawing the people", "Finetuning on all facts"} <= planned
    assert planned >= BEHIND_UNLEARNING


def test_results_are_targets_by_name(smoke):
    names = "eval_results sweep_results quantize_results repr_results repr_results_3".split()
    names += ["retain_compare_results", "comparison_results", "distance_results"]
    names += ["update_results", "forecast_results"]
    targets = [f"results/{name}.json" for name in names]
    targets += [f"results/layerdrift_by_{name}.png" for name in ("epoch", "method")]
    planned = smoke.plan(*targets, config=None)
    assert "Summarising hidden states: repr_results_3" in planned
    assert "Plotting layerdrift_by_epoch" in planned


def test_no_result_without_the_red_team(smoke):
    assert "Attacking the benchmark" in smoke.plan("results/eval_results.json", config=None)


REVISIONS = {
    "0.5B": "7ae557604adf67be50417f59c2c2f167def9a775",
    "1.5B": "989aa7980e4cf806f80c7fef2b1adb7bc71aa306",
}


@pytest.mark.parametrize(("size", "middle", "trajectories"), [("0.5B", 12, 6), ("1.5B", 14, 8)])
def test_the_qwen_experiments_are_planned(smoke, size, middle, trajectories):
    planned = smoke.plan("all", config=f"experiments/qwen2.5-{size.lower()}.yaml")
    assert f"Downloading Qwen/Qwen2.5-{size}-Instruct at {REVISIONS[size]}" in planned
    assert f"Summarising hidden states: repr_results_{middle}" in planned
    assert len([job for job in planned if job.startswith("Unlearning")]) == trajectories


def test_the_base_model_is_made_only_when_asked_for(smoke):
    assert smoke.plan("pretrain_base") == {"Pretraining the embedded base model"}
    with smoke.edited(f"{LIBRARY}/generation/pretraining.py", '"""', '"""Edited. '):
        assert smoke.plan("all") == set()


# --- content decides ---


DRIFT = f"{RESULTS}/repr_results.json"


def ran(said: str) -> set[str]:
    """The messages of the jobs that a run started."""
    return set(re.findall(r"^Job \d+: (.*)$", said, flags=re.MULTILINE))


def test_what_comes_out_the_same_bytes_lets_nothing_behind_it_run(own):
    """A threshold of a check and the number of candidates: what is trained on stays as it is."""
    changes = ["validation={near_duplicate: 97}", "generation={perturbed_candidates: 11}"]
    before = own.digests()
    said = own.run("--config", *changes, "--", DRIFT)
    writing = {"Writing the questions", "Checking the records", "Attacking the benchmark"}
    assert ran(said) == writing | {"Summarising hidden states: repr_results"}
    assert "Same bytes as before, nothing to do: Finetuning on all facts" in said
    changed = {name for name, digest in own.digests().items() if before[name] != digest}
    names = ["data/generated/qa.jsonl", "data/perturbed_candidates.jsonl"]
    names += ["results/validation.json", "results/data_report.json", "results/repr_results.json"]
    assert changed <= {f"experiments/smoke/{name}" for name in names}
    assert "Nothing to be done" in own.run("--config", *changes, "--", DRIFT)


def test_a_changed_program_behind_a_spared_job_is_seen(own):
    """Jobs behind one that runs are not asked for reasons of their own before the run."""
    target = f"{RESULTS}/red_team/gradients.jsonl"
    edit(own / "workflow_scripts/compare_gradients.py")
    said = own.run("--config", "validation={near_duplicate: 97}", "--", target)
    assert ran(said) == {"Checking the records", "Comparing gradients"}
    assert "nothing to do: Finetuning" in said


# --- interrupted and failing jobs ---


SWEEP = f"{RESULTS}/sweep_results.json"


def outputs_of_ga(workspace) -> list:
    folder = workspace / f"{RESULTS}/models/unlearn/{GA}"
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_killed_run_continues_to_the_same_bytes(own):
    expected = own.digests()
    log = own / f"experiments/smoke/logs/unlearn/{GA}.log"
    log.unlink()
    edit(own / f"{LIBRARY}/unlearning/losses.py")
    command = own.command(SWEEP)
    running = subprocess.Popen(command, cwd=own.folder, start_new_session=True)
    wait_for(log.exists)
    time.sleep(1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert own.digests() != expected

    own.run("--unlock")
    # One core instead of two: nor do results depend on what runs side by side.
    own.run(SWEEP, "--cores", "1")
    assert own.digests() == expected
    assert own.plan("all") == set()


def test_a_program_ends_with_its_killed_snakemake(own):
    log = own / f"experiments/smoke/logs/unlearn/{GA}.log"
    log.unlink()
    edit(own / f"{LIBRARY}/unlearning/losses.py")
    running = subprocess.Popen(own.command(SWEEP), cwd=own.folder, start_new_session=True)
    wait_for(lambda: log.exists() and programs_in(own))
    running.kill()  # itself alone, not what it started
    running.wait()
    wait_for(lambda: not programs_in(own), seconds=60)
    assert outputs_of_ga(own) == []


def programs_in(workspace) -> list[str]:
    """Processes of the workflow's programs that run in a workspace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == workspace.folder:
                found += [process.name] * (
                    b"workflow_scripts/" in (process / "cmdline").read_bytes()
                )
    return found


def edit(file) -> None:
    """An edit that changes no result."""
    file.write_text(file.read_text() + "# edited\n")


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


HALF_DONE = """
import pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1]) / "epoch_1"
out.mkdir(parents=True, exist_ok=True)
(out / "adapter_model.safetensors").write_text("half")
sys.exit("error: no space left")
"""


def test_a_failing_job_leaves_nothing_that_passes_for_whole(own):
    expected = own.digests()
    program = own / "workflow_scripts/unlearn.py"
    whole = program.read_text()
    program.write_text(HALF_DONE)
    failed = own.snakemake(SWEEP)
    assert failed.returncode != 0
    assert "error: no space left" in failed.stdout + failed.stderr
    assert outputs_of_ga(own) == []

    program.write_text(whole)
    own.run(SWEEP)
    assert own.digests() == expected
    assert own.plan("all") == set()


# --- bad input ---


BAD_CONFIGS = {
    "a misspelt key": (
        "finetuning={epoch: 3}",
        "--config: finetuning.epoch: unknown key; did you mean epochs?",
    ),
    "a value out of range": ("lora={rank: 0}", "--config: lora.rank: found 0; allowed:"),
    "the wrong type": ("oracle=three", "--config: oracle: found text 'three'; allowed: a mapping"),
    "an empty grid": (
        "unlearning={trajectories: []}",
        "--config: unlearning.trajectories: found []; allowed:",
    ),
    "fewer candidates than wrong answers": (
        "generation={perturbed_candidates: 6, wrong_answers: 7}",
        "generation.perturbed_candidates: found 6; allowed: at least the 7 of "
        "generation.wrong_answers",
    ),
    "a judge without a model": (
        "red_team={judge: {enabled: true}}",
        "generation.llm.model: missing; needed: a model's name",
    ),
    "an epoch beyond the last": (
        "evaluation={checkpoints: {heavy: [ga/lr0.0002/epoch_9]}}",
        "evaluation.checkpoints.heavy[0]: found 'ga/lr0.0002/epoch_9'; "
        "ga/lr0.0002 is saved at epochs 1, 2",
    ),
    "LoRA targets that match nothing": (
        "lora={target_modules: [query]}",
        "lora.target_modules: 'query' matches no module",
    ),
    "no such model": ("model={path: nowhere}", "model.path: nowhere: no such folder"),
    "a layer beyond the last": (
        "representations={middle_layer: 99}",
        "representations.middle_layer: found 99; allowed: 0 to 3",
    ),
    "a file where results should go": (
        "pathvars={results: in-the-way}",
        "is a file; a folder is needed",
    ),
}


def refusal(finished) -> str:
    """The one line that a refused run ends with; nothing was planned."""
    assert finished.returncode != 0
    errors = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, finished.stderr
    assert finished.stderr.rstrip().endswith(errors[0])
    assert "Job stats" not in finished.stdout + finished.stderr
    return errors[0]


@pytest.mark.parametrize("override, reason", BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_a_bad_config_gets_one_line_before_any_work(smoke, override, reason):
    (smoke / "in-the-way").touch()
    assert reason in refusal(smoke.snakemake("all", "--config", override))


def test_a_config_that_is_not_yaml_gets_its_line(smoke):
    with smoke.edited("config.yaml", "lora:", "lora: ["):
        assert re.search(
            r"error: config.yaml:\d+: not a config in YAML", refusal(smoke.snakemake())
        )


@pytest.mark.parametrize(
    "missing, reason",
    [
        ("tokenizer.json", "no tokenizer"),
        ("chat_template.jinja", "no chat template"),
        ("model.safetensors", "no weights"),
    ],
)
def test_a_broken_model_folder_gets_one_line_before_any_work(smoke, missing, reason):
    file = smoke / "data/inputs/base/tiny-qwen2" / missing
    away = file.rename(file.with_suffix(".away"))
    try:
        assert reason in refusal(smoke.snakemake("all"))
    finally:
        away.rename(file)


BAD_LINES = {
    "not JSON": (lambda line: line[:-5], "not JSON"),
    "a missing field": (
        lambda line: re.sub(r'"answer": "[^"]*", ', "", line, count=1),
        "'answer' is a required property",
    ),
    "an id twice": (
        lambda line: re.sub(r'"id": "[^"]*"', '"id": "p000.FIRST"', line, count=1),
        "repeats",
    ),
    "a wrong answer that is right": (
        lambda line: line.replace(
            json.dumps(json.loads(line)["wrong_answers"][0]["value"], ensure_ascii=False),
            json.dumps(json.loads(line)["value"], ensure_ascii=False),
        ),
        "is already the right answer",
    ),
}


@pytest.mark.parametrize("damage, reason", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_data_line_is_named_and_stops_the_run(smoke, tmp_path, damage, reason):
    own = smoke.copy(tmp_path / "own")
    file = own / "experiments/smoke/data/generated/qa.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    first_id = json.loads(lines[0])["id"]
    lines[2] = damage(lines[2]).replace("p000.FIRST", first_id)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    stopped = own.snakemake("all")
    output = stopped.stdout + stopped.stderr
    assert stopped.returncode != 0
    assert re.search(rf"error: .*generated/qa\.jsonl:3: .*{reason}", output), output
    assert "Attacking the benchmark" not in output


@pytest.mark.parametrize("replaced", [[], ["--resources", "group_serial=2"]])
def test_model_jobs_of_a_group_take_turns(own, replaced):
    """In a Snakemake that is started inside of a job, which is told nothing of limits. (That of the
    SLURM plugin is told `--jobs 1` besides.)"""
    targets = [f"{RESULTS}/eval/{name}/items.jsonl" for name in ("base", "finetuned")]
    inside = ["--mode", "remote", "--nolock", "--force", "--cores", "2", *replaced]
    said = own.run(*inside, "--set-resources", "evaluate:group_serial=1", "--", *targets)
    assert steps(said) == ["begins", "finished"] * 2, said
