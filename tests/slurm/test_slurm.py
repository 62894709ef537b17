"""The real DAG on a real SLURM: no job is lost, no run hangs, every mistake is one line."""

import os
import re
import signal
import subprocess
from collections import Counter
from itertools import combinations

import pytest
from one_machine import output, wait_for
from study import (
    RESULTS,
    Gate,
    Seen,
    gpu_jobs,
    job_processes,
    preempt,
    running,
    signal_program,
    work,
)

from workflow.conftest import steps

pytestmark = pytest.mark.slurm

GA, NPO = "ga/lr0.0002", "npo/lr0.0002_beta0.1"
TRAINED = [f"{RESULTS}/models/unlearn/{name}/training_log.json" for name in (GA, NPO)]
FINETUNED = f"{RESULTS}/models/finetuned/adapter_model.safetensors"
REFERENCE = f"{RESULTS}/models/finetuned_reference.json"
SUMMARY = f"{RESULTS}/eval_results.json"
GROUPS = ("benchmark", "baselines", "quantized", "tables")
# Rules, and groups of rules, that load a model.
ON_GPU = set(
    "finetune_lora train_retain_model reference_logprobs select_wrong_answers ask_about_names "
    "compare_gradients forecast_damage embed_texts unlearn evaluate_unlearned represent_unlearned "
    "depth relearn "
    "baselines quantized".split()
)


def refusal(finished) -> str:
    """The one line with which a refused run ends."""
    output_text = finished.stdout + finished.stderr
    assert finished.returncode != 0, output_text
    errors = [line for line in output_text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, output_text
    assert "has been submitted with SLURM jobid" not in output_text
    return errors[0]


# --- one study with many faults ---


def test_the_study_succeeds(study):
    assert study.faults.errors == [], study.faults.timeline.read_text()
    assert study.exit_status == 0, study.output[-5000:]
    assert study.faults.todo == {}, "some fault was never made"
    names = ("distance", "eval", "sweep", "retain_compare", "comparison", "quantize", "repr")
    for name in (*names, "depth", "relearn", "update", "forecast"):
        assert (study.workspace / f"{RESULTS}/{name}_results.json").is_file()


def test_a_second_run_does_nothing(study):
    assert "Nothing to be done" in study.workspace.run("all")


def test_jobs_run_in_their_partition(study):
    placed = {(rule_or_group(job["Comment"]), job["Partition"]) for job in study.jobs}
    assert {rule for rule, partition in placed if partition == "gpu"} == ON_GPU
    elsewhere = [(rule, partition) for rule, partition in placed if partition != "gpu"]
    assert {rule for rule, _ in elsewhere} >= {"benchmark", "tables", "summarize_eval"}
    assert not [one for one in elsewhere if one[0] in ON_GPU or one[1] != "cpu"]


def rule_or_group(comment: str) -> str:
    """`rule_unlearn_wildcards_ga` → `unlearn`; `rule_tables_compare_retain` → `tables`."""
    name = re.sub("_wildcards_.*|^rule_", "", comment)
    group = name.split("_")[0]
    return group if group in GROUPS else name


def test_no_two_jobs_share_a_gpu(study):
    """A job may be seen before or after it has its GPU, but not in all looks."""
    looks = [gpu_jobs(jobs, "RUNNING") for _, jobs in study.faults.seen]
    held = [[job.gpu for job in jobs if job.gpu] for jobs in looks]
    assert [gpus for gpus in held if len(set(gpus)) < len(gpus)] == []
    assert max(map(len, held)) == 2, "both GPUs were never used at once"
    had_one = {job.id for jobs in looks for job in jobs if job.gpu}
    assert {job.id for jobs in looks for job in jobs} == had_one, "a GPU job without a GPU"


def test_short_jobs_share_slurm_jobs(study):
    """A group takes the jobs that are ready at its submission, so their number may vary."""
    assert 1 <= len(study.attempts("rule_quantized")) < 4
    assert 1 <= len(study.attempts("rule_baselines")) < 8


def test_jobs_of_a_group_run_one_after_the_other(study):
    """These nodes do not bind jobs to their CPUs. Two Snakemakes report each job: the one that runs
    the group, and the one that it starts for the job."""
    logs = (study.workspace / "logs/slurm").rglob("*baselines*/**/*.log")
    found = [steps(file.read_text()) for file in logs]
    assert max(map(len, found)) > 4, "no SLURM job ran several of our jobs"
    for one in found:
        one_by_one = ["begins", "begins", "finished", "finished"] * len(one)
        assert one == one_by_one[: len(one)]


def test_a_job_with_too_little_memory_is_submitted_again_with_more(study):
    first, *_, last = study.attempts("rule_reference_logprobs")
    assert first["ReqMem"] == "400M" and first["State"] in ("FAILED", "OUT_OF_MEMORY")
    assert last["ReqMem"] in ("1600M", "3600M") and last["State"] == "COMPLETED"


def test_a_hanging_job_is_submitted_again_with_more_time(study):
    first, *_, last = study.attempts("rule_train_retain_model_wildcards_1")
    assert (first["TimelimitRaw"], first["State"]) == ("2", "TIMEOUT")
    assert (last["TimelimitRaw"], last["State"]) == ("30", "COMPLETED")


def test_a_requeued_job_runs_again_and_is_submitted_once(study):
    (job,) = study.attempts("rule_unlearn_wildcards_ga")
    assert job["State"] == "COMPLETED"
    looks = [one for _, jobs in study.faults.seen for one in jobs if one.id == job["JobIDRaw"]]
    assert max(one.restarts for one in looks) >= 1


def test_the_jobs_of_a_dead_node_run_again_and_are_submitted_once(study):
    (job,) = study.attempts("rule_benchmark")
    assert job["State"] == "COMPLETED"
    assert "None assigned" not in study.output


def test_a_preempted_job_runs_again_and_is_submitted_once(study):
    """The profile as shipped: SLURM requeues it."""
    (job,) = study.attempts("rule_generate_facts")
    runs = output("sacct", "-X", "-D", "-n", "-P", "-o", "State", "-j", job["JobIDRaw"]).split()
    assert (runs[0], runs[-1]) == ("PREEMPTED", "COMPLETED")


def test_no_job_is_submitted_twice_when_accounting_does_not_answer(study):
    without_accounting = study.faults.outages["slurmdbd"]
    assert without_accounting and all(without_accounting), "sacct was asked, and always failed"
    evaluated = study.attempts("rule_evaluate_unlearned_wildcards_ga")
    assert [job["State"] for job in evaluated] == ["COMPLETED"]


def test_a_job_that_starts_without_a_controller_is_done_in_the_end(study):
    """It may fail first: its `srun` gives up after ten seconds. Running jobs continue."""
    assert study.faults.outages["slurmctld"], "sacct was asked without a controller"
    job = study.faults.began_without_controller
    (state,) = {one["State"] for one in study.jobs if one["JobIDRaw"] == job}
    (log,) = (study.workspace / "logs/slurm").rglob(f"{job}.log")
    assert (state == "FAILED") == ("Unable to confirm allocation" in log.read_text())
    wanted = work([job])[job]
    again = [one for one in study.jobs if work([one["JobIDRaw"]])[one["JobIDRaw"]] & wanted]
    assert again[-1]["State"] == "COMPLETED"


def test_a_failed_job_is_submitted_again_only_after_it_has_ended(study):
    """No two jobs ever did the same work at the same time."""
    done = work(job["JobIDRaw"] for job in study.jobs)
    assert all(done.values())
    for earlier, later in combinations(study.jobs, 2):
        if done[earlier["JobIDRaw"]] & done[later["JobIDRaw"]]:
            assert earlier["State"] != "COMPLETED"
            assert earlier["End"] <= later["Submit"], (earlier, later)
    last = {one: job["State"] for job in study.jobs for one in done[job["JobIDRaw"]]}
    assert set(last.values()) == {"COMPLETED"}


def test_logs_give_node_gpu_and_versions(study):
    logs = study.workspace / "experiments/smoke/logs"
    first = (logs / f"unlearn/{NPO}.log").read_text().splitlines()[0]
    assert re.match(r"node gpu1, SLURM job \d+, GPU [01] \(no driver\), python 3", first), first
    assert "torch " in first and "hub offline" in first
    data = (logs / "generate_facts.log").read_text().splitlines()[0]
    assert re.match(r"node cpu[12], SLURM job \d+, no GPU, ", data), data
    for path in (study.workspace / RESULTS).glob("*.json"):
        assert "SLURM" not in path.read_text(), path


# --- jobs that SLURM ends ---


@pytest.mark.extended
def test_cancelled_and_preempted_jobs_are_submitted_again(own):
    """F2, F3: a job cancelled by hand; one preempted on a site that does not requeue."""
    own.set_profile({"slurm-requeue: true": "slurm-no-requeue: true", "gpu\n    gpu: 1": "cpu"})
    with own.running("--forcerun", "unlearn", "--", *TRAINED) as process:
        first, second = held(own, "rule_unlearn_wildcards_ga", "rule_unlearn_wildcards_npo")
        output("scancel", first.id)
        preempt(second)
        assert process.wait(timeout=600) == 0, own.output()
    # Two may be preempted: the first job may already run again on the node of the urgent job.
    ends = Counter(state_of(job) for job in submitted(own))
    assert set(ends) == {"CANCELLED", "COMPLETED", "PREEMPTED"}
    assert (ends["CANCELLED"], ends["COMPLETED"]) == (1, 2)


def held(workspace, *starts: str) -> list[Seen]:
    """The first running job of each rule, with its program stopped, so that it cannot end."""
    found: dict[str, Seen] = {}

    def look() -> bool:
        ids = workspace.queued()
        for job in [job for job in Seen.all() if job.id in ids and job.state == "RUNNING"]:
            for start in [start for start in starts if job.what.startswith(start)]:
                if signal_program(job.id, workspace.folder, signal.SIGSTOP):
                    found[start] = job
        return len(found) == len(starts)

    wait_for(look, 300, f"programs of {starts}")
    return [found[start] for start in starts]


def submitted(workspace) -> list[str]:
    """Ids of the jobs that the Snakemake in the background submitted."""
    return re.findall(r"submitted with SLURM jobid (\d+)", workspace.output())


def state_of(job: str) -> str:
    return output("sacct", "-X", "-n", "-P", "-o", "State", "-j", job).split()[0]


@pytest.mark.extended
def test_a_job_of_a_dead_node_is_submitted_again_where_slurm_does_not_requeue(own, machine):
    """F4: the node's name must not become `None assigned`, with which every submission fails."""
    own.set_profile({"slurm-requeue: true": "slurm-no-requeue: true"})
    with own.running("--forcerun", "summarize_eval", "--", SUMMARY) as process:
        (job,) = held(own, "rule_summarize_eval")
        machine.kill_node(job.node)
        # SLURM itself would notice it half a minute later, as in the study.
        output("scontrol", "update", f"NodeName={job.node}", "State=DOWN", "Reason=dead")
        assert process.wait(timeout=300) == 0, own.output()
    assert [state_of(job) for job in submitted(own)] == ["NODE_FAIL", "COMPLETED"]


@pytest.mark.extended
def test_a_dead_slurmd_and_failing_status_checks_cost_no_attempt(own, machine):
    """Only the slurmd dies, and the job ends without it. F1 at its cause: the plugin drops all jobs
    of a status check without an answer.
    """
    summarize = ["--forcerun", "summarize_eval", "--", SUMMARY]
    with own.without_sacct() as asked, own.running(*summarize) as process:
        (job,) = held(own, "rule_summarize_eval")
        machine.kill_slurmd(job.node)
        signal_program(job.id, own.folder, signal.SIGCONT)
        wait_for(lambda: not processes(job, own), 60, "the job's end")
        machine.start_slurmd(job.node)
        # A check has five queries: the sixth query asks about a job that the plugin has dropped.
        wait_for(lambda: len(asked.read_text().split()) > 5, 120, "two status checks")
        own.mend_sacct()
        assert process.wait(timeout=300) == 0, own.output()
    assert [state_of(job) for job in submitted(own)] == ["COMPLETED"]


def processes(job: Seen, workspace) -> set[int]:
    """Ids of a job's processes, on any node."""
    return {pid for pid, its_job, _ in job_processes(workspace.folder) if its_job == job.id}


@pytest.mark.extended
def test_a_node_without_a_network_continues_and_no_job_is_lost(own, machine):
    """SLURM runs the job again elsewhere, while the old one still writes the same files."""
    with own.running("--forcerun", "summarize_eval", "--", SUMMARY) as process:
        (job,) = held(own, "rule_summarize_eval")
        old = processes(job, own)
        machine.kill_slurmd(job.node)
        output("scontrol", "update", f"NodeName={job.node}", "State=DOWN", "Reason=cut off")
        wait_for(lambda: job.id in running(), 120, "the job again, elsewhere")
        assert signal_program(job.id, own.folder, signal.SIGCONT), "the old one still runs"
        wait_for(lambda: not old & processes(job, own), 120, "the end of the old one")
        machine.start_slurmd(job.node)
        assert process.wait(timeout=300) == 0, own.output()
    assert [state_of(job) for job in submitted(own)] == ["COMPLETED"]
    runs = output("sacct", "-X", "-D", "-n", "-P", "-o", "State,NodeList", "-j", job.id).split()
    assert runs[0] == f"NODE_FAIL|{job.node}"
    assert runs[-1].startswith("COMPLETED|") and not runs[-1].endswith(job.node)
    assert "Nothing to be done" in own.run("all")


@pytest.mark.extended
@pytest.mark.parametrize("stopped", [["slurmctld"], ["slurmctld", "slurmdbd"]], ids="+".join)
def test_a_submission_waits_for_stopped_daemons_and_is_made_once(own, machine, tmp_path, stopped):
    gate = Gate(tmp_path / "gate")
    with own.running("--forcerun", "summarize_eval", "--", SUMMARY, PATH=gate.path()) as process:
        wait_for(gate.has_waiting_submission, 120, "a submission")
        for daemon in stopped:
            machine.stop_daemon(daemon)
        gate.open()
        wait_for(lambda: gate.ends() == ["1"], 180, "an sbatch that finds no controller")
        for daemon in reversed(stopped):
            machine.start_daemon(daemon)
        assert process.wait(timeout=300) == 0, own.output()
    assert gate.ends() == ["1", "0"], "the real sbatch was called too often"
    (job,) = submitted(own)
    wait_for(lambda: state_of(job) == "COMPLETED", 60, "accounting up to date")


@pytest.mark.extended
def test_a_limit_of_submissions_costs_no_attempt(own, machine, tmp_path):
    """AssocMaxSubmitJobLimit: after three rejections the second job would have failed."""
    gate = Gate(tmp_path / "gate")
    trained = ["--retries", "0", "--forcerun", "unlearn", "--", *TRAINED]
    with machine.submit_limit(1), own.running(*trained, PATH=gate.path()) as process:
        gate.open()
        assert process.wait(timeout=300) == 0, own.output()
    assert gate.ends().count("0") == 2 and "1" in gate.ends()
    assert [state_of(job) for job in submitted(own)] == ["COMPLETED"] * 2


# --- Snakemake that ends before its jobs ---


@pytest.fixture
def full(own):
    """Another user's job holds both GPUs, so our jobs wait."""
    command = ["sbatch", "--parsable", "-p", "gpu", "--gpus=2", "-t", "60", "-o", "/dev/null"]
    job = output(*command, "--wrap", "sleep 3600").strip()
    wait_for(lambda: job in running(), 120, "both GPUs taken")
    return job


@pytest.mark.extended
def test_a_submission_that_waits_for_a_full_queue_is_reported_and_ctrl_c_ends_it(
    own, full, machine, tmp_path
):
    gate = Gate(tmp_path / "gate")
    trained = ["--forcerun", "unlearn", "--", *TRAINED]
    # The job of `full` has another account, to which this limit does not apply.
    with machine.submit_limit(1), own.running(*trained, PATH=gate.path()) as process:
        gate.open()
        line = "1 jobs wait for submission: SLURM accepts no more for now (sbatch: error: Assoc"
        wait_for(lambda: line in own.output(), 180, "a message")
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=240) != 0
    assert gate.ends().count("0") == 1
    wait_for(lambda: not own.queued(), 120, "our jobs gone")
    assert full in running()


@pytest.mark.extended
def test_ctrl_c_cancels_our_jobs_and_no_others(own, full):
    with own.running("--forcerun", "unlearn", "--", *TRAINED) as process:
        wait_for(lambda: len(own.queued()) == 2, 300, "two jobs in the queue")
        os.kill(process.pid, signal.SIGINT)
        try:
            assert process.wait(timeout=240) != 0
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGUSR1)  # prints the stacks: excise/slurm/sigint.py
            wait_for(lambda: "most recent call first" in own.output(), 10, "its stack")
            pytest.fail(own.output())
    wait_for(lambda: not own.queued(), 120, "our jobs gone")
    assert full in running()


@pytest.mark.extended
def test_jobs_of_a_killed_snakemake_are_found_before_the_first_submission(own, full):
    with own.running("--forcerun", "unlearn", "--", *TRAINED) as process:
        wait_for(lambda: len(own.queued()) == 2, 300, "two jobs in the queue")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    left = own.queued()
    assert len(left) == 2

    own.run("--unlock")
    line = refusal(own.snakemake("--forcerun", "unlearn", "--", *TRAINED))
    assert "2 jobs of an earlier run of this experiment are still in SLURM's queue" in line
    assert sorted(own.queued()) == sorted(left)
    output(*line.rpartition(": ")[2].split())
    wait_for(lambda: not own.queued(), 120, "our jobs gone")
    output("scancel", full)
    own.run("--forcerun", "unlearn", "--", *TRAINED)


# --- sites ---


@pytest.mark.extended
def test_a_cluster_without_accounting(own, machine):
    """F1 in its worst form: sacct exists and always fails."""
    machine.set_accounting(False)
    try:
        line = refusal(own.snakemake("--forcerun", "reference_logprobs", "--", REFERENCE))
        assert "slurm_account is study, but this cluster keeps no accounts" in line
        own.set_profile({"  slurm_account: study\n": ""})
        own.run("--forcerun", "reference_logprobs", "--", REFERENCE)
    finally:
        machine.set_accounting(True)


@pytest.mark.extended
def test_a_cluster_that_accepts_only_gres(own):
    """With a list of partitions; one of them has GPUs."""
    own.set_profile({"gpu\n    gpu: 1\n": "cpu,gpu\n    gpu: 0\n    gres: gpu:1\n"})
    own.run("--forcerun", "reference_logprobs", "--", REFERENCE)
    first = (own / "experiments/smoke/logs/reference_logprobs.log").read_text().splitlines()[0]
    assert re.search(r", GPU [01] \(no driver\), ", first), first


def test_a_job_does_not_compute_on_the_cpu_when_a_gpu_was_asked_for(own):
    done = own.snakemake("--retries", "0", "--config", "resources={gpu: 1}", "--", FINETUNED)
    assert done.returncode != 0
    log = (own / "experiments/smoke/logs/finetune_lora.log").read_text()
    assert "error: resources.gpu is set, but torch sees no CUDA device" in log


# --- mistakes ---


MISTAKES = {
    "account left at CHANGE_ME": (
        {"slurm_account: study": "slurm_account: CHANGE_ME"},
        r"slurm_account of \w+ is CHANGE_ME",
    ),
    "partition left at CHANGE_ME": (
        {"  slurm_partition: cpu": "  slurm_partition: CHANGE_ME"},
        r"slurm_partition of \w+ is CHANGE_ME; there are cpu, elsewhere, gpu, urgent$",
    ),
    "GPU rules on a partition without GPUs": (
        {"    slurm_partition: gpu\n": "    slurm_partition: cpu\n"},
        r"\w+ asks for a GPU, but partition cpu has none; partitions with GPUs: gpu$",
    ),
    "no such partition": (
        {"slurm_partition: cpu": "slurm_partition: main"},
        r"no partition 'main' here; there are cpu, elsewhere, gpu, urgent$",
    ),
    "an option of sbatch that is the plugin's": (
        {"    gpu: 1\n": "    gpu: 1\n    slurm_extra: \"'--gpus=2'\"\n"},
        r"slurm_extra of \w+ is '--gpus=2': --gpus is not allowed in it, set gpu instead",
    ),
    "more time than the partition allows": (
        {"    gpu: 1\n": "    gpu: 1\n    runtime: 1000\n"},
        r"asks for 1000 minutes, but partition gpu allows 600",
    ),
}


@pytest.mark.parametrize("changes, reason", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_profile_gets_one_line(own, changes, reason):
    own.set_profile(changes)
    assert re.search(reason, refusal(own.snakemake("--forceall", "all")))


def test_a_walltime_below_the_estimate_gets_one_line(own):
    own.set_profile({"    gpu: 1\n": "    gpu: 1\n    runtime: 5\n"})
    override = ["--config", "finetuning={epochs: 9000}"]
    line = refusal(own.snakemake("all", *override))
    assert re.search(r"asks for 5 minutes \(runtime\), but is estimated to take \d+", line)


def test_a_folder_that_nodes_do_not_see_gets_one_line(own, machine):
    own.set_profile({"  slurm_partition: cpu": "  slurm_partition: elsewhere"})
    hidden = machine.hidden / "results"
    before = {job.id for job in Seen.all()}
    line = refusal(own.snakemake("all", "--config", f"pathvars={{results: {hidden}}}"))
    assert f"{hidden}: a node of partition elsewhere does not see this folder" in line
    new = [job for job in Seen.all() if job.id not in before]
    assert sorted(job.partition for job in new) == ["elsewhere", "gpu"], "one probe each, no more"
