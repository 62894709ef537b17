"""What SLURM's controller and database are asked while a study runs through them.

The smoke experiment, on the real SLURM of tests/slurm (root, after tests/slurm/install.sh), with
the profile as it is shipped: its intervals, its number of jobs. Nobody else uses that SLURM, and
all are root there, so kinds are told apart and not users: requests are the run's own, or the
daemons' among themselves. `sdiag` and `sacctmgr show stats` count them. One JSON line: minutes,
jobs, requests by kind, in all and a minute; and how often the run called `scontrol show config`,
since every other Snakemake on this machine does so too (the plugin, when it is loaded).

    PYTHONPATH=workflow_scripts:tests:tests/slurm python perf/controller_load.py
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from one_machine import OneMachine, output, why_not
from study import SITE, Submitter, accounted, put_before

from workflow.conftest import clone

# Of what the tests change in the profile, what a user sets.
USERS = {old: new for old, new in SITE.items() if "CHANGE_ME" in old}


def requests(text: str) -> dict[str, int]:
    """Requests by kind, from what `sdiag` or `sacctmgr show stats` prints."""
    kinds = text.split("by message type")[1].split("by user")[0]
    return {kind: int(count) for kind, count in re.findall(r"(\w+) .*?count:(\d+)", kinds)}


def measure(folder: Path) -> dict:
    """Run the study and count."""
    clone(folder)
    submitter = Submitter(folder)
    submitter.set_profile(USERS)
    asked = folder / "asked"
    spy = f'echo "$*" >> {asked}; exec {shutil.which("scontrol")} "$@"'
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
        "show_config": asked.read_text().split("\n").count("show config"),
        "controller": rates(requests(controller), minutes),
        "database": rates(requests(database), minutes),
    }


def rates(counts: dict[str, int], minutes: float) -> dict[str, list[float]]:
    """Requests of each kind, and how many a minute."""
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    return {kind: [count, round(count / minutes, 1)] for kind, count in ordered}


def main() -> None:
    """Program entry point."""
    if reason := why_not():
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
