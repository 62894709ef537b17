"""Ctrl-C works also while Snakemake writes its log."""

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
            print("ended", flush=True)
            sys.exit()
executor.cancel()
time.sleep(1.5)  # a signal sent after that would end this with a traceback
print("done", flush=True)
"""


def run(
    *arguments: str, handling: signal.Handlers = signal.SIG_DFL, timeout: float = 30
) -> list[str]:
    """Output of the program after one interrupt; `handling`: the signal handling it inherits."""
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
            return process.communicate(timeout=timeout)[0].splitlines()
        except subprocess.TimeoutExpired:
            return ["continued"]
        finally:
            process.kill()


@pytest.mark.parametrize("dropped", [0, 1, 3])
def test_a_dropped_interrupt_is_repeated_until_jobs_are_cancelled(dropped):
    assert run(str(dropped), "running") == ["dropped"] * dropped + ["cancelled", "done"]


def test_an_interrupt_is_not_repeated_if_the_run_is_ending_already():
    assert run("1", "ending") == ["dropped", "ended"]


def test_a_run_that_ignores_interrupts_from_the_start_still_ignores_them():
    assert run("0", "running", handling=signal.SIG_IGN, timeout=2) == ["continued"]
