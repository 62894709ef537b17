"""Count the requests to SLURM's controller and database while a study runs.

The smoke experiment runs on the real SLURM of tests/slurm (root, after tests/slurm/install.sh). It
uses the intervals and the number of jobs of the shipped profile. `sdiag` and `sacctmgr show stats`
count requests by kind. No other user has jobs there, so all requests come from the run or from the
daemons themselves. The output is one JSON line: minutes, jobs, and requests by kind, in total and
per minute. It also has the number of calls of `scontrol show config`, because every Snakemake that
loads the plugin makes one.

    python perf/controller_load.py
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / name) for name in ("tests/slurm", "tests", "workflow_scripts")]

from one_machine import OneMachine, output, reason_not_to_start  # noqa: E402
from study import SITE, Submitter, accounted, put_before  # noqa: E402

from workflow.conftest import clone  # noqa: E402

# The part of the tests' changes of the profile that a user makes.
USER_SETTINGS = {old: new for old, new in SITE.items() if "CHANGE_ME" in old}


def requests(text: str) -> dict[str, int]:
    """Requests by kind, from the output of `sdiag` or `sacctmgr show stats`."""
    kinds = text.split("by message type")[1].split("by user")[0]
    return {kind: int(count) for kind, count in re.findall(r"(\w+) .*?count:(\d+)", kinds)}


def measure(folder: Path) -> dict:
    """Run the study and count the requests."""
    clone(folder)
    submitter = Submitter(folder)
    submitter.set_profile(USER_SETTINGS)
    calls = folder / "calls"
    spy = f'echo "$*" >> {calls}; exec {shutil.which("scontrol")} "$@"'
    path = put_before("scontrol", folder / "spy", spy)
    output("sdiag", "--reset")
    output("sacctmgr", "-i", "clear", "stats")
    began = time.monotonic()
    with (folder / "run.log").open("w") as log:
        done = subprocess.run(
            submitter.command("all"),
            cwd=folder,
            stdout=log,
            stderr=log,
            env=os.environ | {"PATH": path},
        )
    minutes = (time.monotonic() - began) / 60
    controller, database = output("sdiag"), output("sacctmgr", "show", "stats")
    if done.returncode:
        raise SystemExit((folder / "run.log").read_text()[-5000:])
    return {
        "minutes": round(minutes, 1),
        "slurm_jobs": len(accounted()),
        "show_config": calls.read_text().split("\n").count("show config"),
        "controller": rates(requests(controller), minutes),
        "database": rates(requests(database), minutes),
    }


def rates(counts: dict[str, int], minutes: float) -> dict[str, list[float]]:
    """Number of requests of each kind, and requests per minute."""
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    return {kind: [count, round(count / minutes, 1)] for kind, count in ordered}


def main() -> None:
    """Program entry point."""
    if reason := reason_not_to_start():
        raise SystemExit(f"error: {reason}")
    machine = OneMachine()
    machine.reserve(seconds=1800)
    try:
        machine.start()
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(Path(folder) / "clone")))
    finally:
        machine.stop()


if __name__ == "__main__":
    main()
