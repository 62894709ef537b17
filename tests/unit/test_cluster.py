"""What is checked before the first job is submitted, and what is said while jobs wait."""

import pytest

from excise import cluster, slurm
from excise.cluster import Request, check_accounting, check_requests, job_prefix, request_of
from excise.errors import InputError
from excise.watch import FIRST_REMINDER, LOST, REMINDER, SILENCE, Watch

SINFO = """\
cpu|1:00:00|(null)|4000
cpu|1:00:00|(null)|8000+
gpu|2-00:00:00|gpu:a100:4(S:0-1)|512000
long|infinite|craynetwork:4|4000
"""
PARTITIONS = slurm.parse_partitions(SINFO)


def test_partitions_from_the_lines_of_sinfo():
    assert {
        "cpu": slurm.Partition(60, False, 8000),
        "gpu": slurm.Partition(2880, True, 512000),
        "long": slurm.Partition(None, False, 4000),
    } == PARTITIONS


@pytest.mark.parametrize(
    "text, minutes",
    [("30:00", 30), ("1:30:00", 90), ("1-01:00:00", 1500), ("infinite", None), ("n/a", None)],
)
def test_minutes_of_a_limit(text, minutes):
    assert slurm.minutes_of(text) == minutes


def test_a_request_holds_what_is_settled():
    resources = {"slurm_partition": "gpu", "slurm_account": 1234, "gpu": 1, "runtime": 30}
    request = request_of("unlearn", resources | {"mem_mb": "<TBD>"}, 12.0)
    assert request == Request("unlearn", "gpu", "1234", ("--gpus=1",), 30, 0, 12.0)


def test_a_gpu_as_gres():
    request = request_of("unlearn", {"gpu": 0, "gres": "gpu:a100:1"}, None)
    assert request.gpu == ("--gres=gpu:a100:1",)


def test_requests_that_fit_pass():
    gpu = Request("unlearn", "gpu", "mine", ("--gpus=1",), 60, 16000, 30.0)
    check_requests([gpu, Request("plot", "cpu", "mine"), Request("other")], PARTITIONS)


@pytest.mark.parametrize(
    "request_, reason",
    [
        (Request("plot", "cpu", "CHANGE_ME"), "slurm_account of plot is CHANGE_ME"),
        (Request("plot", "CHANGE_ME"), "slurm_partition of plot is CHANGE_ME.* cpu, gpu, long"),
        (Request("plot", "main"), "no partition 'main' here; there are cpu, gpu, long"),
        (
            Request("unlearn", "cpu", gpu=("--gpus=1",)),
            "unlearn asks for a GPU, but partition cpu has none; partitions with GPUs: gpu",
        ),
        (Request("plot", "cpu", minutes=90), "asks for 90 minutes, but partition cpu allows 60"),
        (Request("plot", "cpu", memory_mb=9000), "largest node of partition cpu has 8000"),
        (
            Request("unlearn", "gpu", minutes=30, estimate=41.0),
            r"unlearn asks for 30 minutes \(runtime\), but is estimated to take 41",
        ),
    ],
)
def test_requests_that_do_not_get_one_line(request_, reason):
    with pytest.raises(InputError, match=reason) as caught:
        check_requests([request_], PARTITIONS)
    assert "\n" not in str(caught.value)


def test_accounting_on_is_fine():
    settings = {"AccountingStorageType": "accounting_storage/slurmdbd", "MinJobAge": "2 sec"}
    assert check_accounting(settings, [Request("plot", account="mine")]) is None


def test_an_account_where_there_are_none_is_a_mistake():
    settings = {"AccountingStorageType": "accounting_storage/none", "MinJobAge": "300 sec"}
    assert check_accounting(settings, [Request("plot")]) is None
    with pytest.raises(InputError, match="slurm_account is mine, but this cluster keeps no acc"):
        check_accounting(settings, [Request("plot", account="mine")])


def test_a_forgetful_controller_without_accounting_is_warned_of():
    settings = {"AccountingStorageType": "(null)", "MinJobAge": "60 sec"}
    assert "MinJobAge; 240 is needed" in check_accounting(settings, [Request("plot")])


def test_the_prefix_names_experiment_and_folder(tmp_path):
    prefix = job_prefix("qwen2.5-1.5b with a very long name", tmp_path)
    assert prefix.startswith("excise-qwen2-5-1-5b-with-a-")
    assert prefix != job_prefix("qwen2.5-1.5b with a very long name", tmp_path / "other")
    assert len(prefix) <= 50


def jobs(*states: tuple[str, str, str]) -> list[slurm.Job]:
    return [slurm.Job(job, "name", state, reason) for job, state, reason in states]


def test_jobs_of_an_earlier_run_stop_this_one():
    left = jobs(("7", "RUNNING", ""), ("8", "PENDING", "Priority"))
    with pytest.raises(InputError, match=r"2 jobs of an earlier run .*: scancel 7 8$"):
        cluster.check_no_orphans("excise-x_", lambda prefix: left)


def test_jobs_that_are_just_ending_are_waited_for():
    queue = [jobs(("7", "COMPLETING", "")), []]
    cluster.check_no_orphans("excise-x_", lambda prefix: queue.pop(0))
    assert queue == []


def test_no_word_while_jobs_run():
    watch = Watch(answered=0, ran=0)
    queue = jobs(("7", "RUNNING", ""), ("8", "PENDING", "Priority"))
    for now in range(0, 10 * REMINDER, 60):
        assert watch.look(queue, {"7", "8"}, now) == []


def test_a_job_that_will_never_start_is_named_once():
    watch = Watch(answered=0, ran=0)
    queue = jobs(("7", "RUNNING", ""), ("8", "PENDING", "JobHeldUser"))
    (line,) = watch.look(queue, {"7", "8"}, 1)
    assert line.startswith("job 8 will not start by itself: PENDING, JobHeldUser")
    assert watch.look(queue, {"7", "8"}, 2) == []


def test_waiting_is_mentioned_from_time_to_time():
    watch = Watch(answered=0, ran=0)
    queue = jobs(("7", "PENDING", "Priority"), ("8", "PENDING", "Resources"))
    said = {now: watch.look(queue, {"7", "8"}, now) for now in range(0, 2 * REMINDER, 60)}
    times = [now for now, lines in said.items() if lines]
    assert times == [FIRST_REMINDER, FIRST_REMINDER + REMINDER]
    assert said[times[0]] == [
        "all 2 jobs wait in the queue, for 10 minutes: Priority 1, Resources 1"
    ]


def test_a_silent_slurm_is_mentioned():
    watch = Watch(answered=0, ran=0)
    assert watch.look(None, {"7"}, SILENCE - 1) == []
    assert "SLURM has not answered for 5 minutes" in watch.look(None, {"7"}, SILENCE)[0]


def test_a_job_that_slurm_no_longer_knows_is_mentioned():
    watch = Watch(answered=0, ran=0)
    assert watch.look([], {"7"}, 0) == []
    assert watch.look([], {"7"}, LOST) == []
    (line,) = watch.look([], {"7"}, LOST + 1)
    assert "no longer has job 7" in line
    assert watch.look([], set(), LOST + 2) == []
