"""Checks before the first job is submitted, and reports while jobs wait."""

import atexit
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from threading import Event
from types import SimpleNamespace

import pytest

from excise.errors import InputError
from excise.slurm import commands, start
from excise.slurm import watch as watching
from excise.slurm.job_request import JobRequest, request_of
from excise.slurm.start import (
    check_accounting,
    check_requests,
    job_prefix,
    results_prefix,
    too_large_retries,
    with_default_partition,
)
from excise.slurm.watch import ENDING, FIRST_REMINDER, LOST, NO_ANSWER, REMINDER, SUBMITTING, Watch

SINFO = """\
cpu*|1:00:00|(null)|4000
cpu*|1:00:00|(null)|8000+
gpu|2-00:00:00|gpu:a100:4(S:0-1)|512000
long|infinite|craynetwork:4|4000
"""
PARTITIONS = commands.parse_partitions(SINFO)


def test_partitions_from_the_lines_of_sinfo():
    assert {
        "cpu": commands.Partition(60, False, 8000, default=True),
        "gpu": commands.Partition(2880, True, 512000),
        "long": commands.Partition(None, False, 4000),
    } == PARTITIONS


@pytest.mark.parametrize(
    "text, minutes",
    [("30:00", 30), ("1:30:00", 90), ("1-01:00:00", 1500), ("infinite", None), ("n/a", None)],
)
def test_minutes_of_a_limit(text, minutes):
    assert commands.minutes_of(text) == minutes


def test_a_request_holds_the_evaluated_resources():
    resources = {"slurm_partition": "gpu", "slurm_account": 1234, "gpu": 1, "runtime": 30}
    request = request_of("unlearn", resources | {"mem_mb": "<TBD>"}, 12.0)
    assert request == JobRequest("unlearn", "gpu", "1234", ("--gpus=1",), 30, 0, 12.0)


def test_a_job_without_a_partition_is_checked_against_the_default_one():
    [request] = with_default_partition([JobRequest("unlearn", None, gpu=("--gpus=1",))], PARTITIONS)
    with pytest.raises(InputError, match="asks for a GPU, but partition cpu has none"):
        check_requests([request], PARTITIONS)
    named = JobRequest("plot", "long")
    assert with_default_partition([named], PARTITIONS) == [named]


def test_the_default_partition_may_come_from_the_environment(monkeypatch):
    none = {"x": commands.Partition(None)}
    assert with_default_partition([JobRequest("plot")], none) == [JobRequest("plot")]
    monkeypatch.setenv("SBATCH_PARTITION", "long")
    assert with_default_partition([JobRequest("plot")], PARTITIONS) == [JobRequest("plot", "long")]


def test_a_gpu_as_gres():
    request = request_of("unlearn", {"gpu": 0, "gres": "gpu:a100:1"}, None)
    assert request.gpu == ("--gres=gpu:a100:1",)


def test_a_gres_without_a_gpu_is_none():
    assert request_of("plot", {"gres": "lscratch:10"}, None).gpu == ()


def test_arguments_that_a_site_may_require_are_part_of_the_request():
    resources = {"qos": "long", "constraint": "", "slurm_extra": "--mail-user='a b' --nice=5"}
    request = request_of("plot", resources, None)
    assert request.extra == ("--qos=long", "--mail-user=a b", "--nice=5")


def test_requests_that_fit_pass():
    gpu = JobRequest("unlearn", "gpu", "mine", ("--gpus=1",), 60, 16000, 30.0)
    check_requests([gpu, JobRequest("plot", "cpu", "mine"), JobRequest("other")], PARTITIONS)


@pytest.mark.parametrize(
    "request_, reason",
    [
        (JobRequest("plot", "cpu", "CHANGE_ME"), "slurm_account of plot is CHANGE_ME"),
        (
            JobRequest("plot", "CHANGE_ME"),
            "slurm_partition of plot is CHANGE_ME; there are cpu, gpu, long$",
        ),
        (
            JobRequest("unlearn", "CHANGE_ME", gpu=("--gpus=1",)),
            "slurm_partition of unlearn is CHANGE_ME; partitions with GPUs: gpu$",
        ),
        (JobRequest("plot", "main"), "no partition 'main' here; there are cpu, gpu, long"),
        (
            JobRequest("unlearn", "cpu", gpu=("--gpus=1",)),
            "unlearn asks for a GPU, but partition cpu has none; partitions with GPUs: gpu",
        ),
        (JobRequest("plot", "cpu", minutes=90), "asks for 90 minutes, but partition cpu allows 60"),
        (JobRequest("plot", "cpu", memory_mb=9000), "largest node of partition cpu has 8000"),
        (
            JobRequest("group baselines", "cpu", minutes=240, jobs=8),
            "group baselines asks for 240 minutes, but partition cpu allows 60; "
            r"it runs 8 jobs: put fewer into a group \(groups, group-components\), or request less",
        ),
        (
            JobRequest("unlearn", "gpu", minutes=30, estimate=41.0),
            r"unlearn asks for 30 minutes \(runtime\), but is estimated to take 41",
        ),
    ],
)
def test_requests_that_do_not_fit_get_one_line(request_, reason):
    with pytest.raises(InputError, match=reason) as caught:
        check_requests([request_], PARTITIONS)
    assert "\n" not in str(caught.value)


LISTED = [
    JobRequest("unlearn", "cpu,gpu", gpu=("--gpus=1",)),
    JobRequest("plot", "cpu,long", minutes=90),
    JobRequest("plot", "long,cpu", memory_mb=8000),
]


@pytest.mark.parametrize("request_", LISTED)
def test_a_job_must_fit_into_one_partition_of_its_list(request_):
    """SLURM starts it there; a site may require that all fit (EnforcePartLimits=ALL)."""
    check_requests([request_], PARTITIONS)
    with pytest.raises(InputError, match=r" asks for .*, but "):
        check_requests([request_], PARTITIONS, every=True)


@pytest.mark.parametrize(
    "request_, reason",
    [
        (JobRequest("plot", "cpu,main"), "no partition 'main' here"),
        (JobRequest("plot", "cpu,CHANGE_ME"), "slurm_partition of plot is CHANGE_ME"),
        (
            JobRequest("unlearn", "cpu,gpu", gpu=("--gpus=1",), minutes=9000),
            "asks for a GPU, but partition cpu has none, and for 9000 minutes, but partition gpu "
            "allows 2880; partitions with GPUs: gpu",
        ),
    ],
)
def test_a_list_without_a_fitting_partition_gets_one_line(request_, reason):
    with pytest.raises(InputError, match=reason):
        check_requests([request_], PARTITIONS)


def test_hidden_partitions_can_be_used_and_are_not_listed():
    known = PARTITIONS | {"secret": commands.Partition(None, True, 4000, hidden=True)}
    check_requests([JobRequest("unlearn", "secret", gpu=("--gpus=1",))], known)
    with pytest.raises(InputError, match=r"there are cpu, gpu, long$"):
        check_requests([JobRequest("plot", "main")], known)


def test_every_partition_of_a_list_is_probed():
    settings = SimpleNamespace(qos=None, reservation=None)
    asked = start._probe_requests([JobRequest("plot", "cpu,long"), JobRequest("other")], settings)
    assert [one.partition for one in asked] == ["cpu", "long", None]


def test_a_partition_of_a_list_is_optional_unless_a_job_names_it_alone():
    settings = SimpleNamespace(qos=None, reservation=None)
    on_list = JobRequest("unlearn", "cpu,gpu", gpu=("--gpus=1",), extra=("--constraint=a100",))
    alone = JobRequest("plot", "cpu", "other, study")
    assert start._optional_partitions([on_list]) == {"cpu", "gpu"}
    assert start._optional_partitions([on_list, alone]) == {"gpu"}
    asked = {one.partition: one for one in start._probe_requests([alone, on_list], settings)}
    assert (asked["cpu"].rule, asked["cpu"].account, asked["cpu"].extra) == ("plot", "other", ())
    assert asked["gpu"].extra == ("--constraint=a100",)


def test_a_qos_may_allow_more_time_than_the_partition():
    """With SLURM's flag PartitionTimeLimit it does; sbatch checks it."""
    request = JobRequest("plot", "cpu", minutes=61, extra=("--qos=long",))
    check_requests([request], PARTITIONS)
    with pytest.raises(InputError, match="61 minutes, but partition cpu allows 60"):
        check_requests([JobRequest("plot", "cpu", minutes=61)], PARTITIONS)


def test_without_gpu_partitions_the_message_lists_all_partitions():
    request = JobRequest("unlearn", "CHANGE_ME", gpu=("--gpus=1",))
    with pytest.raises(InputError, match=r"is CHANGE_ME; there are cpu$"):
        check_requests([request], {"cpu": commands.Partition(60)})


def attempts(rule: str, minutes: int, memory_mb: int = 0, jobs: int = 1) -> list[JobRequest]:
    """Three attempts whose requests grow as those of our rules."""
    return [
        JobRequest(rule, "cpu", minutes=minutes * n, memory_mb=memory_mb * n, jobs=jobs)
        for n in (1, 2, 3)
    ]


def test_a_retry_that_slurm_would_refuse_is_reported_once_per_rule():
    lines = too_large_retries(
        [attempts("plot", 25), attempts("summarize", 20), attempts("group tables", 40, jobs=2)],
        PARTITIONS,
    )
    assert [line.partition(":")[0] for line in lines] == [
        "attempt 3 of plot would ask for 75 minutes, but partition cpu allows 60",
        "attempt 2 of group tables would ask for 80 minutes, but partition cpu allows 60",
    ]
    assert "set-resources: min(" in lines[0]
    assert "it runs 2 jobs: put fewer" in lines[1]


def test_a_retry_with_more_memory_than_any_node_is_reported():
    (line,) = too_large_retries([attempts("plot", 1, memory_mb=3000)], PARTITIONS)
    assert line.startswith("attempt 3 of plot would ask for 9000 MB, but the largest node of")


SCRIPTS = Path(start.__file__).parents[2]
FOUR_JOBS = """
import json, sys
sys.path.insert(0, {scripts!r})
from excise.slurm.submission_check import validate_submission
from excise.slurm.job_request import submissions

rule all:
    input: "c", expand("{{i}}.b", i=range(3))

rule alone:
    output: "c"
    resources: runtime=lambda wildcards, attempt: 30 * attempt, mem_mb=100
    shell: "true"

rule grouped:
    output: "{{i}}.b"
    resources:
        runtime=lambda wildcards, attempt: 10 * attempt,
        mem_mb=lambda wildcards, attempt: 500 * attempt,
    shell: "true"

rule here:
    output: "d"
    localrule: True
    shell: "true"

onstart:
    for one in submissions(workflow.dag):
        amounts = [[its["runtime"], its["mem_mb"], its["_cores"]] for its in one.attempts]
        validate_submission(one.name, one.job, workflow.executor_settings)
        print("seen", json.dumps([one.name, one.jobs, amounts]))
    assert {{job.attempt for job in workflow.dag.needrun_jobs()}} == {{1}}
    sys.exit("enough")
"""


def seen_by_snakemake(folder: Path, *arguments: str) -> list:
    """Name, jobs and attempts of what a real Snakemake with the SLURM plugin would submit."""
    (folder / "Snakefile").write_text(FOUR_JOBS.format(scripts=str(SCRIPTS)))
    (folder / "sacct").write_text("#!/bin/sh\n")
    (folder / "sacct").chmod(0o755)
    plugin = "--executor slurm --jobs 9 --retries 2 --default-resources slurm_partition=cpu".split()
    command = [sys.executable, "-m", "snakemake", *plugin, *arguments, "--", "all", "d"]
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    seen = [json.loads(line.removeprefix("seen ")) for line in lines if line.startswith("seen ")]
    assert done.stderr.rstrip().endswith("enough"), done.stdout + done.stderr
    return sorted(seen)


def test_resources_of_retries_are_those_that_snakemake_will_evaluate(tmp_path):
    assert seen_by_snakemake(tmp_path) == [
        ["alone", 1, [[30, 100, 1], [60, 100, 1], [90, 100, 1]]],
        ["grouped", 1, [[10, 500, 1], [20, 1000, 1], [30, 1500, 1]]],
    ]


def test_walltimes_of_a_group_add_up_if_its_jobs_run_one_after_the_other(tmp_path):
    """As in the profile: only `group_serial` keeps jobs without a GPU from running in parallel."""
    groups = "--groups grouped=g --group-components g=3".split()
    turns = (
        "--set-resources grouped:group_serial=1 --resources group_serial=1 "
        "--set-resource-scopes group_serial=local"
    )
    assert seen_by_snakemake(tmp_path, *groups, *turns.split()) == [
        ["alone", 1, [[30, 100, 1], [60, 100, 1], [90, 100, 1]]],
        ["group g", 3, [[30, 500, 1], [60, 1000, 1], [90, 1500, 1]]],
        ["grouped", 1, [[10, 500, 1]]],
    ]
    side_by_side = seen_by_snakemake(tmp_path, *groups)
    assert side_by_side[1] == ["group g", 3, [[10, 1500, 3], [20, 3000, 3], [30, 4500, 3]]]


def test_jobs_and_groups_of_a_real_snakemake_are_checked(tmp_path):
    forbidden = "--set-resources grouped:slurm_extra='--gpus=2'".split()
    with pytest.raises(AssertionError, match="slurm_extra of grouped is '--gpus=2': --gpus is not"):
        seen_by_snakemake(tmp_path, *forbidden)


def test_accounting_on_is_fine():
    settings = {"AccountingStorageType": "accounting_storage/slurmdbd", "MinJobAge": "2 sec"}
    assert check_accounting(settings, [JobRequest("plot", account="mine")]) is None


def test_an_account_on_a_cluster_without_accounts_is_a_mistake():
    settings = {"AccountingStorageType": "accounting_storage/none", "MinJobAge": "300 sec"}
    assert check_accounting(settings, [JobRequest("plot")]) is None
    with pytest.raises(InputError, match="slurm_account is mine, but this cluster keeps no acc"):
        check_accounting(settings, [JobRequest("plot", account="mine")])


def test_there_is_a_warning_if_the_controller_forgets_jobs_soon():
    settings = {"AccountingStorageType": "(null)", "MinJobAge": "60 sec"}
    assert "MinJobAge; 240 is needed" in check_accounting(settings, [JobRequest("plot")])


def test_the_prefix_names_experiment_and_folder(tmp_path):
    prefix = job_prefix("qwen2.5-1.5b with a very long name", tmp_path)
    assert prefix.startswith("excise-")
    assert prefix.endswith("-qwen2-5-1-5b-with-a")
    assert prefix != job_prefix("qwen2.5-1.5b with a very long name", tmp_path / "other")
    assert len(prefix) <= 50


def test_jobs_of_a_renamed_experiment_are_found(tmp_path):
    """Jobs with the same results folder write the same files."""
    assert job_prefix("before", tmp_path).startswith(results_prefix(tmp_path))
    assert job_prefix("after", tmp_path / ".").startswith(results_prefix(tmp_path))
    assert not job_prefix("before", tmp_path / "other").startswith(results_prefix(tmp_path))


def test_the_queue_and_the_nodes_of_a_site(tmp_path, monkeypatch):
    """Without --exact, sinfo merges nodes of 4 and 8 GB into one line: 4000+. Without --all, sinfo
    and squeue omit hidden partitions."""
    programs = {
        "squeue": 'case "$*" in *--all*) ;; *) exit 1 ;; esac; '
        "echo '7|excise-x_1|RUNNING|None|gpu[1-2]'; echo '8|excise-x_1|PENDING|Priority|'"
        "; echo '9|mine|RUNNING|None|cpu1'; echo '10|excise-x_1|COMPLETED|None|cpu1'",
        "sinfo": 'case "$*" in *--all*) echo "secret|1:00|(null)|4000" ;; esac; '
        'case "$*" in *--exact*) printf "cpu*|1:00|(null)|4000\\ncpu*|1:00|(null)|8000\\n";;'
        ' *) echo "cpu|1:00|(null)|4000+";; esac',
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    running, pending = commands.jobs_named("excise-x")
    assert (running.id, running.state, running.nodes) == ("7", "RUNNING", "gpu[1-2]")
    assert (pending.id, pending.reason, pending.nodes) == ("8", "Priority", "")
    cpu, secret = (commands.partitions()[name] for name in ("cpu", "secret"))
    assert (cpu.memory_mb, cpu.hidden, secret.hidden) == (8000, False, True)


def jobs(*states: tuple[str, str, str]) -> list[commands.Job]:
    return [commands.Job(job, "name", state, reason) for job, state, reason in states]


def test_jobs_of_an_earlier_run_stop_this_one():
    left = jobs(("7", "RUNNING", ""), ("8", "PENDING", "Priority"))
    with pytest.raises(InputError, match=r"2 jobs of an earlier run .*: scancel 7 8$"):
        start.check_no_orphans("excise-x_", lambda prefix: left)


def test_the_start_waits_for_jobs_that_are_ending():
    queue = [jobs(("7", "COMPLETING", "")), []]
    start.check_no_orphans("excise-x_", lambda prefix: queue.pop(0))
    assert queue == []


def test_no_message_while_jobs_run():
    watch = Watch(last_answer=0, last_run=0)
    queue = jobs(("7", "RUNNING", ""), ("8", "PENDING", "Priority"))
    for now in range(0, 10 * REMINDER, 60):
        assert watch.messages(queue, {"7", "8"}, now) == []


def test_a_job_that_will_not_start_is_reported_once():
    watch = Watch(last_answer=0, last_run=0)
    queue = jobs(("7", "RUNNING", ""), ("8", "PENDING", "JobHeldUser"))
    (line,) = watch.messages(queue, {"7", "8"}, 1)
    assert line.startswith("job 8 will not start without your help: PENDING, JobHeldUser")
    assert watch.messages(queue, {"7", "8"}, 2) == []


def test_waiting_is_reported_hourly():
    watch = Watch(last_answer=0, last_run=0)
    queue = jobs(("7", "PENDING", "Priority"), ("8", "PENDING", "Resources"))
    messages = {now: watch.messages(queue, {"7", "8"}, now) for now in range(0, 2 * REMINDER, 60)}
    times = [now for now, lines in messages.items() if lines]
    assert times == [FIRST_REMINDER, FIRST_REMINDER + REMINDER]
    assert messages[times[0]] == [
        "no job has run for 10 minutes; waiting jobs by reason: Priority 1, Resources 1"
    ]


def test_a_job_that_is_ending_does_not_count_as_running():
    watch = Watch(last_answer=0, last_run=0)
    queue = jobs(("7", "COMPLETING", "None"), ("8", "PENDING", "Resources"))
    for now in range(0, FIRST_REMINDER, 60):
        assert watch.messages(queue, {"7", "8"}, now) == []
    (line,) = watch.messages(queue, {"7", "8"}, FIRST_REMINDER)
    assert line == "no job has run for 10 minutes; waiting jobs by reason: Resources 1"


def test_a_node_that_is_starting_up_counts_as_running():
    watch = Watch(last_answer=0, last_run=0)
    queue = jobs(("7", "CONFIGURING", "None"), ("8", "PENDING", "Resources"))
    assert [
        line for now in range(0, REMINDER, 60) for line in watch.messages(queue, {"7"}, now)
    ] == []


def test_a_job_that_never_ends_is_reported_once_with_its_node():
    watch = Watch(last_answer=0, last_run=0)
    queue = [commands.Job("7", "name", "COMPLETING", "None", "gpu12")]
    messages = {now: watch.messages(queue, {"7"}, now) for now in range(0, 3 * ENDING, 60)}
    assert {now: lines for now, lines in messages.items() if lines} == {
        ENDING + 60: [
            "job 7 has been ending for 11 minutes: its node may be gone (scontrol show node gpu12)"
        ]
    }


def test_jobs_that_end_in_time_are_not_reported():
    watch = Watch(last_answer=0, last_run=0)
    for now in range(0, 3 * ENDING, 60):
        queue = jobs((str(now // ENDING), "COMPLETING", "None"))
        assert watch.messages(queue, set(), now) == []


def test_a_slurm_that_does_not_answer_is_reported():
    watch = Watch(last_answer=0, last_run=0)
    assert watch.messages(None, {"7"}, NO_ANSWER - 1) == []
    assert "SLURM has not answered for 5 minutes" in watch.messages(None, {"7"}, NO_ANSWER)[0]


def test_a_job_that_slurm_no_longer_knows_is_reported():
    watch = Watch(last_answer=0, last_run=0)
    assert watch.messages([], {"7"}, 0) == []
    assert watch.messages([], {"7"}, LOST) == []
    (line,) = watch.messages([], {"7"}, LOST + 1)
    assert "no longer knows job 7" in line
    assert watch.messages([], set(), LOST + 2) == []


def test_a_submission_that_waits_for_a_full_queue_is_reported_hourly():
    watch = Watch(last_answer=0, last_run=0)
    queue = jobs(("7", "RUNNING", ""))
    waiting = {"unlearn (3)": 0.0, "evaluate (4)": 5.0}
    limit = "sbatch: error: AssocMaxSubmitJobLimit"
    messages = {
        now: watch.messages(queue, {"7"}, now, waiting, queue_full=limit)
        for now in range(0, 2 * REMINDER, 60)
    }
    assert [now for now, lines in messages.items() if lines] == [0, REMINDER]
    assert messages[0][0].startswith(
        f"2 jobs wait for submission: SLURM accepts no more for now ({limit})"
    )
    assert watch.messages(queue, {"7"}, 2 * REMINDER + 60, {}, queue_full=limit) == []


def test_a_job_that_the_plugin_has_forgotten_is_reported(monkeypatch):
    """The watch uses the job list of the tracker, not of the plugin."""
    messages = Queue()

    def report(line: str) -> None:
        messages.put(line)
        Event().wait()  # stops the thread, which would otherwise run until the tests end

    monkeypatch.setattr(watching, "SECONDS_BETWEEN", 0.01)
    monkeypatch.setattr(watching, "LOST", -1)
    monkeypatch.setattr(commands, "jobs_named", lambda name: [])
    executor = SimpleNamespace(run_uuid="excise-x_1", active_jobs=[])
    tracker = SimpleNamespace(ids=lambda: {"7"}, pending_submissions=dict, unanswered_since=None)
    watching.watch(executor, tracker, report)
    assert "no longer knows job 7" in messages.get(timeout=10)


def test_a_job_that_does_not_get_into_the_queue_is_reported_hourly():
    """SLURM answers, but sbatch hangs."""
    watch = Watch(last_answer=0, last_run=0)
    waiting = {"unlearn (7)": 0.0, "evaluate (9)": 500.0}
    messages = {now: watch.messages([], set(), now, waiting) for now in range(0, 2 * REMINDER, 60)}
    times = [now for now, lines in messages.items() if lines]
    assert times == [SUBMITTING + 60, SUBMITTING + 60 + REMINDER]
    assert messages[times[0]][0].startswith(
        "1 jobs could not be submitted for 11 minutes, for example unlearn (7), although"
    )


def test_status_checks_that_fail_for_long_are_reported():
    watch = Watch(last_answer=0, last_run=0)
    queue = jobs(("7", "RUNNING", ""))
    assert watch.messages(queue, {"7"}, NO_ANSWER - 1, unanswered_since=0) == []
    (line,) = watch.messages(queue, {"7"}, NO_ANSWER, unanswered_since=0)
    assert line.startswith("the status checks have failed for 5 minutes")
    assert watch.messages(queue, {"7"}, NO_ANSWER + 60, unanswered_since=0) == []


def test_an_interrupted_run_cancels_also_jobs_that_the_plugin_does_not_list(tmp_path, monkeypatch):
    """These are jobs that the plugin checks or submits at that moment."""
    (tmp_path / "squeue").write_text("#!/bin/sh\necho '7|excise-x_1|RUNNING|None|cpu1'\n")
    (tmp_path / "scancel").write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/cancelled\n')
    for name in ("squeue", "scancel"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    waiting = ThreadPoolExecutor(1)
    held = threading.Event()
    waiting.submit(held.wait)
    later = waiting.submit(list)
    executor = SimpleNamespace(run_uuid="excise-x_1", _job_submission_executor=waiting)
    start.cancel_by_name(executor)
    atexit.unregister(start.cancel)
    executor.cancel_jobs([])
    assert (tmp_path / "cancelled").read_text() == "--name=excise-x_1\n"
    assert later.cancelled(), "the waiting submission is dropped"
    held.set()
