"""Our sacct and sbatch in front of fake SLURM programs, as the plugin calls them."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from excise.slurm import client
from excise.slurm.start import end_submissions

NAME = "excise-run_1234"
QUERY = f"-X --noheader --format=JobIdRaw,State --starttime 2026-01-01 --name {NAME}".split()
BIN = Path(__file__).parents[2] / "profiles" / "slurm" / "bin"
SCRIPTS = Path(client.__file__).parents[2]
# Our sbatch with short pauses; its command line ends like that of the plugin.
QUICK_SBATCH = """
from excise.slurm import client
client.QUEUE_FULL_PAUSE_SECONDS = 0.1
raise SystemExit(client.sbatch(["--wrap=true"]))
"""


@pytest.fixture
def fake_slurm(tmp_path, monkeypatch):
    """Fake programs in the PATH, each a line of shell."""

    def install(**programs: str) -> None:
        for name, body in programs.items():
            file = tmp_path / name
            file.write_text(f"#!/bin/sh\n{body}\n")
            file.chmod(0o755)

    monkeypatch.setenv("PATH", os.pathsep.join([str(BIN), str(tmp_path), os.environ["PATH"]]))
    return install


def status(*arguments: str) -> str:
    done = subprocess.run(["sacct", *(arguments or QUERY)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_states_pass_as_sacct_gives_them(fake_slurm):
    fake_slurm(sacct="echo '7|RUNNING'; echo '8|COMPLETED'", squeue="exit 1")
    assert status() == "7|RUNNING\n8|COMPLETED\n"


def test_the_state_of_a_cancelled_job_does_not_depend_on_who_cancelled_it(fake_slurm):
    fake_slurm(sacct="echo '7|CANCELLED by 1000'")
    assert status() == "7|CANCELLED\n"


def test_squeue_is_asked_if_sacct_fails(fake_slurm):
    fake_slurm(
        sacct="echo 'Slurm accounting storage is disabled' >&2; exit 1",
        squeue="echo '7|RUNNING'; echo '8|COMPLETED'; echo '9|PREEMPTED'",
    )
    assert status() == "7|RUNNING\n8|COMPLETED\n9|FAILED\n"


def test_without_any_answer_the_query_succeeds_with_an_empty_one(fake_slurm):
    """F1: after a failed query the plugin forgets all its jobs."""
    fake_slurm(sacct="exit 1", squeue="exit 1")
    assert status() == ""


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL", "REQUEUED"])
@pytest.mark.parametrize(
    "queue, seen",
    [
        ("echo '7|PENDING'", "PENDING"),  # SLURM runs it again
        ("echo '7|RUNNING'", "RUNNING"),
        ("echo '7|PREEMPTED'", "FAILED"),  # SLURM does not run it again
        ("true", "FAILED"),
        ("exit 1", "PENDING"),  # no answer: the plugin asks again
    ],
)
def test_a_job_that_may_be_requeued_is_looked_up_in_the_queue(fake_slurm, state, queue, seen):
    fake_slurm(sacct=f"echo '7|{state}'", squeue=queue)
    assert status() == f"7|{seen}\n"


def test_jobs_in_hidden_partitions_are_looked_up_too(fake_slurm):
    """Without --all, squeue would not list a requeued job there."""
    fake_slurm(sacct="echo '7|PREEMPTED'", squeue='case "$*" in *--all*) echo "7|PENDING" ;; esac')
    assert status() == "7|PENDING\n"


def test_other_queries_go_to_the_real_sacct(fake_slurm):
    fake_slurm(sacct='echo "asked: $*"')
    assert status("-j", "7", "--format=Reason") == "asked: -j 7 --format=Reason\n"


def test_a_query_without_an_answer_is_stopped(fake_slurm, short_limits, capsys):
    """The plugin asks why a job failed and has no time limit for the answer."""
    fake_slurm(sacct="exec sleep 600")
    assert client.sacct(["-j", "7", "--format=Reason"]) == 1
    assert capsys.readouterr().err == "sacct: no answer within 1 s\n"


def test_without_a_real_sacct_other_queries_fail(fake_slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.pathsep.join([str(BIN), str(tmp_path)]))
    assert client.sacct(["-j", "7"]) == 1


def test_a_submission_waits_for_the_controller(fake_slurm, tmp_path):
    fake_slurm(
        sbatch=f"test -e {tmp_path}/up && echo 12 && exit\ntouch {tmp_path}/up\n"
        "echo 'sbatch: error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
        scontrol="exit 0",
        squeue="true",
    )
    done = subprocess.run(["sbatch", "--wrap=true"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "12\n")


def test_a_job_that_slurm_accepted_despite_an_error_is_not_submitted_again(fake_slurm, tmp_path):
    fake_slurm(
        sbatch=f"echo once >> {tmp_path}/tries\n"
        "echo 'sbatch: error: Batch job submission failed: Socket timed out' >&2; exit 1",
        scontrol='[ "$1" = ping ] || [ "$3" = 12 ] && echo "python -m snakemake --target b" || '
        'echo "python -m snakemake --target a"',
        squeue="echo 11; echo 12",
    )
    command = ["sbatch", "--job-name", NAME, "--wrap=python -m snakemake --target b"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "12\n")
    assert (tmp_path / "tries").read_text() == "once\n"


def test_a_job_of_an_earlier_attempt_with_the_same_work_is_found(fake_slurm, tmp_path):
    """Attempt 1 failed after 20 minutes without an answer, but SLURM had accepted its job."""
    script = "snakemake --target-jobs {} --allowed-rules unlearn --cores 1 --attempt {} --mode x"
    earlier = script.format("b:k=2 a:k=1", 1)
    fake_slurm(
        sbatch=f"echo once >> {tmp_path}/tries\n"
        "echo 'sbatch: error: Batch job submission failed: Socket timed out' >&2; exit 1",
        scontrol=f'[ "$3" = 12 ] && echo "{earlier}" || echo "{script.format("c:k=3", 1)}"',
        squeue="echo 11; echo 12",
    )
    command = ["sbatch", "--job-name", NAME, f"--wrap={script.format('a:k=1 b:k=2', 2)}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "12\n")
    assert client.target_jobs("python -c pass") == []


def test_only_the_last_line_of_sbatch_is_passed_on(fake_slurm):
    fake_slurm(sbatch="echo 'Project 1234: 500 hours left'; echo 77")
    done = subprocess.run(["sbatch", "--wrap=true"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "77\n")


def test_without_a_real_sbatch_ours_does_not_call_itself(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(client.BIN))
    assert client.sbatch(["--wrap=true"]) == 1
    assert "there is none on this machine" in capsys.readouterr().err


def hangs_once(folder: Path) -> str:
    """An sbatch that does not return the first time; the second time it does."""
    return (
        f"echo once >> {folder}/tries\n"
        f"test $(wc -l < {folder}/tries) = 2 && echo 12 && exit\nexec sleep 600"
    )


@pytest.fixture
def short_limits(monkeypatch):
    """Time limits of a second or less."""
    monkeypatch.setattr(client, "SUBMIT_SECONDS", 1)
    monkeypatch.setattr(client, "QUERY_SECONDS", 1)
    monkeypatch.setattr(client, "DETAIL_SECONDS", 1)
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0.1)


def test_an_sbatch_that_hangs_is_killed_and_repeated(fake_slurm, short_limits, tmp_path, capsys):
    fake_slurm(sbatch=hangs_once(tmp_path), scontrol="exit 0", squeue="true")
    assert client.sbatch(["--job-name", NAME, "--wrap=true"]) == 0
    assert capsys.readouterr().out == "12\n"


def test_an_sbatch_that_hangs_may_have_submitted_a_job(fake_slurm, short_limits, tmp_path, capsys):
    fake_slurm(sbatch=hangs_once(tmp_path), scontrol="echo python -m snakemake", squeue="echo 11")
    assert client.sbatch(["--job-name", NAME, "--wrap=python -m snakemake"]) == 0
    assert capsys.readouterr().out == "11\n"
    assert (tmp_path / "tries").read_text() == "once\n"


@pytest.mark.parametrize("queue", ["exit 1", "exec sleep 600"])
def test_nothing_is_submitted_again_while_the_queue_cannot_be_read(
    fake_slurm, short_limits, tmp_path, monkeypatch, queue
):
    monkeypatch.setattr(client, "MAX_WAIT_SECONDS", 3)
    fake_slurm(sbatch=hangs_once(tmp_path), scontrol="exit 0", squeue=queue)
    began = time.monotonic()
    assert client.sbatch(["--job-name", NAME, "--wrap=true"]) == 1
    assert time.monotonic() - began < 15
    assert (tmp_path / "tries").read_text() == "once\n"


def test_a_refused_submission_fails_at_once(fake_slurm):
    fake_slurm(sbatch="echo 'sbatch: error: invalid partition specified' >&2; exit 1")
    done = subprocess.run(["sbatch", "--wrap=true"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "invalid partition" in done.stderr


# --- limits on the number of jobs ---

LIMIT = (
    "sbatch: error: AssocMaxSubmitJobLimit\n"
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit "
    "limit, the size and/or time limits of the user)"
)
CLUSTER_FULL = (
    "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying.\n"
    "sbatch: error: Batch job submission failed: Resource temporarily unavailable"
)


@pytest.mark.parametrize("stderr", [LIMIT, CLUSTER_FULL, "QOSMaxSubmitJobPerUserLimit"])
def test_a_full_queue_is_recognised_by_the_message_of_sbatch(stderr):
    assert client.queue_is_full(stderr)


@pytest.mark.parametrize(
    "stderr",
    [
        "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, …)",
        "QOSMaxWallDurationPerJobLimit",
        "AssocMaxNodePerJobLimit",
    ],
)
def test_a_limit_that_does_not_depend_on_other_jobs_is_no_full_queue(stderr):
    assert not client.queue_is_full(stderr)


@pytest.fixture
def notices(short_limits, tmp_path, monkeypatch) -> Path:
    """The folder for the notices of waiting submissions; the limits are short."""
    folder = tmp_path / "notices"
    folder.mkdir()
    monkeypatch.setenv(client.QUEUE_FULL_FOLDER, str(folder))
    monkeypatch.setattr(client, "QUEUE_FULL_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(client, "MAX_WAIT_SECONDS", 0.3)
    return folder


def refuses(folder: Path, times: int, message: str = LIMIT) -> str:
    """An sbatch that refuses the first calls because the queue is full."""
    return (
        f"echo once >> {folder}/tries\n"
        f"test $(wc -l < {folder}/tries) -gt {times} && echo 12 && exit\n"
        f"echo '{message}' >&2; exit 1"
    )


@pytest.mark.parametrize("message", [LIMIT, CLUSTER_FULL])
def test_a_submission_waits_for_a_full_queue_while_the_user_has_jobs(
    fake_slurm, notices, tmp_path, capsys, message
):
    """Longer than MAX_WAIT_SECONDS."""
    fake_slurm(sbatch=refuses(tmp_path, 8, message), squeue="echo 11")
    assert client.sbatch(["--wrap=true"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("12\n", ""), "the plugin reads both"


def test_a_waiting_submission_writes_a_notice_and_ctrl_c_ends_it(fake_slurm, notices, tmp_path):
    """Ctrl-C also ends the real sbatch, which may itself be waiting."""
    fake_slurm(sbatch=f"test -e {tmp_path}/again && exec sleep 600\n" + refuses(tmp_path, 1000))
    fake_slurm(squeue=f"touch {tmp_path}/again; echo 11")
    with quick_sbatch() as waiting:
        wait_for(client.queue_full_message)
        assert client.queue_full_message() == " ".join(LIMIT.split())
        (real,) = wait_for(psutil.Process(waiting.pid).children)
        end_submissions()
        assert waiting.wait(timeout=10) != 0
        real.wait(timeout=10)


def test_a_waiting_submission_ends_when_its_snakemake_is_killed(fake_slurm, notices, tmp_path):
    """Otherwise it would submit a job that the next run submits too."""
    fake_slurm(sbatch=refuses(tmp_path, 1000), squeue="echo 11")
    with quick_sbatch(stdout=subprocess.PIPE) as waiting:
        wait_for(client.queue_full_message)
        waiting.stdout.close()
        assert waiting.wait(timeout=10) == 1
    assert client.queue_full_message() is None


@contextmanager
def quick_sbatch(**options):
    command = [sys.executable, "-c", QUICK_SBATCH, str(BIN / "sbatch")]
    with subprocess.Popen(command, cwd=SCRIPTS, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition):
    """The first true value of a condition."""
    deadline = time.monotonic() + 10
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("queue", ["true", "exit 1"])
def test_without_jobs_in_the_queue_a_submission_does_not_wait_long(
    fake_slurm, notices, tmp_path, capsys, queue
):
    fake_slurm(sbatch=refuses(tmp_path, 1000), squeue=queue)
    assert client.sbatch(["--wrap=true"]) == 1
    assert "AssocMaxSubmitJobLimit" in capsys.readouterr().err
    assert 1 < len((tmp_path / "tries").read_text().split()) < 10
    assert client.queue_full_message() is None


def test_a_submission_without_a_folder_for_notices_does_not_wait(fake_slurm, tmp_path, monkeypatch):
    """For example the probes at the start."""
    monkeypatch.delenv(client.QUEUE_FULL_FOLDER, raising=False)
    fake_slurm(sbatch=refuses(tmp_path, 1), squeue="echo 11")
    assert client.sbatch(["--wrap=true"]) == 1
    assert client.queue_full_message() is None
