"""Ctrl-C reaches a Snakemake that happens to be writing its log."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A main thread that drops the first interrupts, as Snakemake's log handler does.
PROGRAM = """
import sys, time
from excise.slurm.sigint import handle_sigint

class Executor:
    wait = True
    def cancel(self):
        print("cancelled", flush=True)

executor = Executor()
handle_sigint(executor, seconds=0.3)
dropped = 0
while True:
    try:
        if not dropped:
            print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        if dropped == int(sys.argv[1]):
            break
        dropped += 1
        executor.wait = sys.argv[2] == "running"
        print("dropped", flush=True)
        if not executor.wait:
            time.sleep(1.5)
            print("at an end", flush=True)
            sys.exit()
executor.cancel()
time.sleep(1.5)  # a signal sent after that would end this with a traceback
print("done", flush=True)
"""


def run(
    *arguments: str, handling: signal.Handlers = signal.SIG_DFL, patience: float = 30
) -> list[str]:
    """What the program says when it is interrupted once; `handling`: what it inherits."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT / "workflow_scripts",
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handling),
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=patience)[0].splitlines()
        except subprocess.TimeoutExpired:
            return ["went on"]
        finally:
            process.kill()


@pytest.mark.parametrize("dropped", [0, 1, 3])
def test_an_interrupt_that_is_dropped_comes_again_until_jobs_are_cancelled(dropped):
    assert run(str(dropped), "running") == ["dropped"] * dropped + ["cancelled", "done"]


def test_it_does_not_come_again_when_the_run_is_ending_anyhow():
    assert run("1", "ending") == ["dropped", "at an end"]


def test_a_run_started_to_ignore_interrupts_ignores_them():
    assert run("0", "running", handling=signal.SIG_IGN, patience=2) == ["went on"]
