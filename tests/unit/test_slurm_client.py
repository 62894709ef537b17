"""sacct and sbatch as the plugin sees them, before programs that play SLURM."""

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
# Ours, less patient; its command line ends as the plugin's does.
QUICK_SBATCH = """
from excise.slurm import client
client.ROOM_PAUSE_SECONDS = 0.1
raise SystemExit(client.sbatch(["--wrap=true"]))
"""


@pytest.fixture
def played(tmp_path, monkeypatch):
    """Programs of our own in the PATH, each a line of shell."""

    def play(**programs: str) -> None:
        for name, body in programs.items():
            file = tmp_path / name
            file.write_text(f"#!/bin/sh\n{body}\n")
            file.chmod(0o755)

    monkeypatch.setenv("PATH", os.pathsep.join([str(BIN), str(tmp_path), os.environ["PATH"]]))
    return play


def status(*arguments: str) -> str:
    done = subprocess.run(["sacct", *(arguments or QUERY)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_states_pass_as_sacct_gives_them(played):
    played(sacct="echo '7|RUNNING'; echo '8|COMPLETED'", squeue="exit 1")
    assert status() == "7|RUNNING\n8|COMPLETED\n"


def test_a_cancelled_job_is_one_whoever_cancelled_it(played):
    played(sacct="echo '7|CANCELLED by 1000'")
    assert status() == "7|CANCELLED\n"


def test_squeue_answers_where_sacct_does_not(played):
    played(
        sacct="echo 'Slurm accounting storage is disabled' >&2; exit 1",
        squeue="echo '7|RUNNING'; echo '8|COMPLETED'; echo '9|PREEMPTED'",
    )
    assert status() == "7|RUNNING\n8|COMPLETED\n9|FAILED\n"


def test_no_answer_is_an_empty_one_and_never_a_failure(played):
    """F1: on a failed query the plugin forgets all its jobs."""
    played(sacct="exit 1", squeue="exit 1")
    assert status() == ""


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL", "REQUEUED"])
@pytest.mark.parametrize(
    "queue, seen",
    [
        ("echo '7|PENDING'", "PENDING"),  # SLURM runs it again
        ("echo '7|RUNNING'", "RUNNING"),
        ("echo '7|PREEMPTED'", "FAILED"),  # it does not
        ("true", "FAILED"),
        ("exit 1", "PENDING"),  # nobody knows: asked again
    ],
)
def test_what_may_be_back_in_the_queue_is_looked_up_there(played, state, queue, seen):
    played(sacct=f"echo '7|{state}'", squeue=queue)
    assert status() == f"7|{seen}\n"


def test_jobs_in_hidden_partitions_are_looked_up_too(played):
    """Without --all, a requeued job there would seem to be gone."""
    played(sacct="echo '7|PREEMPTED'", squeue='case "$*" in *--all*) echo "7|PENDING" ;; esac')
    assert status() == "7|PENDING\n"


def test_other_questions_go_to_the_real_sacct(played):
    played(sacct='echo "asked: $*"')
    assert status("-j", "7", "--format=Reason") == "asked: -j 7 --format=Reason\n"


def test_a_question_that_is_not_answered_is_given_up(played, hasty, capsys):
    """The plugin asks why a job failed, and would wait for as long as it takes."""
    played(sacct="exec sleep 600")
    assert client.sacct(["-j", "7", "--format=Reason"]) == 1
    assert capsys.readouterr().err == "sacct: no answer within 1 s\n"


def test_without_a_real_sacct_other_questions_fail_and_say_why(played, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.pathsep.join([str(BIN), str(tmp_path)]))
    assert client.sacct(["-j", "7"]) == 1


def test_a_submission_waits_for_the_controller(played, tmp_path):
    played(
        sbatch=f"test -e {tmp_path}/up && echo 12 && exit\ntouch {tmp_path}/up\n"
        "echo 'sbatch: error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
        scontrol="exit 0",
        squeue="true",
    )
    done = subprocess.run(["sbatch", "--wrap=true"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "12\n")


def test_a_job_that_was_taken_in_spite_of_all_is_not_submitted_again(played, tmp_path):
    played(
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


def test_a_job_of_an_earlier_attempt_does_the_same_work(played, tmp_path):
    """Attempt 1 was given up after 20 minutes; the controller had taken it."""
    script = "snakemake --target-jobs {} --allowed-rules unlearn --cores 1 --attempt {} --mode x"
    earlier = script.format("b:k=2 a:k=1", 1)
    played(
        sbatch=f"echo once >> {tmp_path}/tries\n"
        "echo 'sbatch: error: Batch job submission failed: Socket timed out' >&2; exit 1",
        scontrol=f'[ "$3" = 12 ] && echo "{earlier}" || echo "{script.format("c:k=3", 1)}"',
        squeue="echo 11; echo 12",
    )
    command = ["sbatch", "--job-name", NAME, f"--wrap={script.format('a:k=1 b:k=2', 2)}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "12\n")
    assert client.work_of("python -c pass") == []


def test_of_what_sbatch_says_the_last_line_is_the_job(played):
    played(sbatch="echo 'Project 1234: 500 hours left'; echo 77")
    done = subprocess.run(["sbatch", "--wrap=true"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "77\n")


def test_without_an_sbatch_ours_does_not_call_itself(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(client.BIN))
    assert client.sbatch(["--wrap=true"]) == 1
    assert "there is none on this machine" in capsys.readouterr().err


def hangs_once(folder: Path) -> str:
    """An sbatch that takes the job and does not return; the second time it does."""
    return (
        f"echo once >> {folder}/tries\n"
        f"test $(wc -l < {folder}/tries) = 2 && echo 12 && exit\nexec sleep 600"
    )


@pytest.fixture
def hasty(monkeypatch):
    """Limits of seconds, not minutes."""
    monkeypatch.setattr(client, "SUBMIT_SECONDS", 1)
    monkeypatch.setattr(client, "QUERY_SECONDS", 1)
    monkeypatch.setattr(client, "DETAIL_SECONDS", 1)
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0.1)


def test_an_sbatch_that_hangs_is_ended_and_tried_again(played, hasty, tmp_path, capsys):
    played(sbatch=hangs_once(tmp_path), scontrol="exit 0", squeue="true")
    assert client.sbatch(["--job-name", NAME, "--wrap=true"]) == 0
    assert capsys.readouterr().out == "12\n"


def test_an_sbatch_that_hangs_may_have_submitted_its_job(played, hasty, tmp_path, capsys):
    played(sbatch=hangs_once(tmp_path), scontrol="echo python -m snakemake", squeue="echo 11")
    assert client.sbatch(["--job-name", NAME, "--wrap=python -m snakemake"]) == 0
    assert capsys.readouterr().out == "11\n"
    assert (tmp_path / "tries").read_text() == "once\n"


@pytest.mark.parametrize("queue", ["exit 1", "exec sleep 600"])
def test_nothing_is_submitted_again_while_the_queue_cannot_be_read(
    played, hasty, tmp_path, monkeypatch, queue
):
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 3)
    played(sbatch=hangs_once(tmp_path), scontrol="exit 0", squeue=queue)
    began = time.monotonic()
    assert client.sbatch(["--job-name", NAME, "--wrap=true"]) == 1
    assert time.monotonic() - began < 15
    assert (tmp_path / "tries").read_text() == "once\n"


def test_a_refused_submission_fails_at_once(played):
    played(sbatch="echo 'sbatch: error: invalid partition specified' >&2; exit 1")
    done = subprocess.run(["sbatch", "--wrap=true"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "invalid partition" in done.stderr


# --- a limit of how many jobs we may have ---

LIMIT = (
    "sbatch: error: AssocMaxSubmitJobLimit\n"
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit "
    "limit, the size and/or time limits of the user)"
)
QUEUE_FULL = (
    "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying.\n"
    "sbatch: error: Batch job submission failed: Resource temporarily unavailable"
)


@pytest.mark.parametrize("said", [LIMIT, QUEUE_FULL, "QOSMaxSubmitJobPerUserLimit"])
def test_a_full_queue_is_known_by_what_sbatch_says(said):
    assert client.no_room(said)


@pytest.mark.parametrize(
    "said",
    [
        "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, …)",
        "QOSMaxWallDurationPerJobLimit",
        "AssocMaxNodePerJobLimit",
    ],
)
def test_a_limit_that_the_end_of_other_jobs_does_not_lift_is_no_full_queue(said):
    assert not client.no_room(said)


@pytest.fixture
def room(hasty, tmp_path, monkeypatch) -> Path:
    """The folder in which a submission says that it waits; there is little patience."""
    folder = tmp_path / "no_room"
    folder.mkdir()
    monkeypatch.setenv(client.ROOM_FOLDER, str(folder))
    monkeypatch.setattr(client, "ROOM_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0.3)
    return folder


def refuses(folder: Path, times: int, said: str = LIMIT) -> str:
    """An sbatch for which there is no room at first."""
    return (
        f"echo once >> {folder}/tries\n"
        f"test $(wc -l < {folder}/tries) -gt {times} && echo 12 && exit\n"
        f"echo '{said}' >&2; exit 1"
    )


@pytest.mark.parametrize("said", [LIMIT, QUEUE_FULL])
def test_a_submission_waits_for_room_as_long_as_we_have_jobs(played, room, tmp_path, capsys, said):
    """Longer than its patience."""
    played(sbatch=refuses(tmp_path, 8, said), squeue="echo 11")
    assert client.sbatch(["--wrap=true"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("12\n", ""), "the plugin reads both"


def test_a_submission_that_waits_leaves_word_of_it_and_ctrl_c_ends_it(played, room, tmp_path):
    """With its real sbatch, which may be waiting by itself."""
    played(sbatch=f"test -e {tmp_path}/again && exec sleep 600\n" + refuses(tmp_path, 1000))
    played(squeue=f"touch {tmp_path}/again; echo 11")
    with quick_sbatch() as waiting:
        wait_for(client.waits_for_room)
        assert client.waits_for_room() == " ".join(LIMIT.split())
        (real,) = wait_for(psutil.Process(waiting.pid).children)
        end_submissions()
        assert waiting.wait(timeout=10) != 0
        real.wait(timeout=10)


def test_a_submission_that_waits_ends_when_its_snakemake_is_killed(played, room, tmp_path):
    """Else it would be made in the middle of the next run, which makes the same."""
    played(sbatch=refuses(tmp_path, 1000), squeue="echo 11")
    with quick_sbatch(stdout=subprocess.PIPE) as waiting:
        wait_for(client.waits_for_room)
        waiting.stdout.close()
        assert waiting.wait(timeout=10) == 1
    assert client.waits_for_room() is None


@contextmanager
def quick_sbatch(**options):
    command = [sys.executable, "-c", QUICK_SBATCH, str(BIN / "sbatch")]
    with subprocess.Popen(command, cwd=SCRIPTS, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition):
    """What a condition gives, once it gives something."""
    deadline = time.monotonic() + 10
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("queue", ["true", "exit 1"])
def test_without_jobs_of_ours_nothing_makes_room(played, room, tmp_path, capsys, queue):
    played(sbatch=refuses(tmp_path, 1000), squeue=queue)
    assert client.sbatch(["--wrap=true"]) == 1
    assert "AssocMaxSubmitJobLimit" in capsys.readouterr().err
    assert 1 < len((tmp_path / "tries").read_text().split()) < 10
    assert client.waits_for_room() is None


def test_nothing_waits_where_nobody_would_tell(played, tmp_path, monkeypatch):
    """The probes at the start, for example."""
    monkeypatch.delenv(client.ROOM_FOLDER, raising=False)
    played(sbatch=refuses(tmp_path, 1), squeue="echo 11")
    assert client.sbatch(["--wrap=true"]) == 1
    assert client.waits_for_room() is None
