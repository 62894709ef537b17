"""Measure how long Snakemake plans, and count jobs and files, for experiments of different size.

It makes dry runs of the default profile with a tiny model, for 10, 100 and 1,000 trajectories times
5 seeds, each with 4 checkpoints. No job runs. Job counts come from the plan, bytes from the sizes
below.

    python perf/plan_scale.py [10 100 1000]
    python perf/plan_scale.py --submit 300 1000     real runs up to the 300th submission

`--submit` first makes the inputs of the trajectories. Then it starts the study with profiles/slurm
on a fake SLURM of scripts, which accepts every job at once and never ends one. It measures the time
from the command to a full queue.
"""

import argparse
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "workflow_scripts")]

CHECKPOINTS, SEEDS = [5, 10, 15, 20], [0, 1, 2, 3, 4]

# Number of output files of a job, and their bytes in the Qwen2.5-1.5B experiment: LoRA adapters of
# rank 32 in fp32, records of one model on 24 people, drift of its hidden states. Other jobs: one
# file of 0.1 MB.
ADAPTER, RECORDS, DRIFT = 74e6, 2.5e6, 45e6
OUTPUTS = {
    "finetune_lora": (3, ADAPTER),
    "train_retain_model": (3, ADAPTER),
    "unlearn": (1 + 2 * len(CHECKPOINTS), ADAPTER * len(CHECKPOINTS)),
    "evaluate": (1, RECORDS),
    "evaluate_unlearned": (len(CHECKPOINTS), RECORDS * len(CHECKPOINTS)),
    "represent": (1, DRIFT),
    "represent_unlearned": (len(CHECKPOINTS), DRIFT * len(CHECKPOINTS)),
    "quantize": (4, 3 * RECORDS),
}
SMALL = (1, 1e5)
# Snakemake's metadata of every output; log, benchmark and SLURM log of every job.
KEPT_BYTES, KEPT_PER_JOB = 4e3, 3


def experiment(trajectories: int) -> dict:
    """A config overlay with a number of trajectories times five.

    Trajectories have no seeds. Instead, five values of beta give the same number of jobs.
    """
    rates = [round(1e-5 * (1 + index), 10) for index in range(trajectories)]
    betas = [0.1, 0.2, 0.3, 0.4, 0.5]
    block = {"method": "npo", "learning_rate": rates, "beta": betas, "epochs": CHECKPOINTS}
    name = f"npo/lr{rates[0]:g}_beta0.1"
    levels = {"light": 5, "medium": 10, "heavy": 20}
    return {
        "experiment": f"plan-{trajectories}",
        "oracle": {"seeds": SEEDS},
        "unlearning": {"trajectories": [block]},
        "evaluation": {
            "checkpoints": {level: [f"{name}/epoch_{at}"] for level, at in levels.items()}
        },
        "representations": {"middle_layer": 1},
    }


def workspace(folder: Path) -> Path:
    """The repository without results, with a tiny model."""
    from tiny_models import tiny_folder

    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if not name.startswith("data/inputs/base/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    tiny_folder(folder / "data/inputs/base/tiny-qwen2")
    return folder


def plan(folder: Path, trajectories: int) -> dict:
    """Make a dry run; return its seconds, its jobs, and the SLURM jobs and files they give."""
    overlay = folder / f"plan_{trajectories}.yaml"
    overlay.write_text(yaml.safe_dump(experiment(trajectories)))
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules", "--cores", "8"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [*command, f"--configfile={overlay.name}", "all"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    table = re.search(r"^job +count\n[- ]+\n(.*?)^total", done.stdout + done.stderr, re.S | re.M)
    counts = re.findall(r"^(\w+) +(\d+)$", table[1], re.M)
    jobs = {name: int(count) for name, count in counts if name != "all"}
    outputs = sum(count * OUTPUTS.get(name, SMALL)[0] for name, count in jobs.items())
    size = sum(count * OUTPUTS.get(name, SMALL)[1] for name, count in jobs.items())
    return {
        "trajectories": trajectories,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1
        ),
        "peak_mb": after.ru_maxrss // 1000,
        "jobs": sum(jobs.values()),
        "slurm_jobs": slurm_jobs(jobs),
        "files": 2 * outputs + KEPT_PER_JOB * sum(jobs.values()),
        "gigabytes": round((size + KEPT_BYTES * outputs) / 1e9, 1),
    }


STUBS = {
    "sinfo": "printf 'cpu|1-00:00:00|(null)|64000\\ngpu|1-00:00:00|gpu:8|256000\\n'",
    "squeue": "true",
    "sacct": "true",
    "scancel": "true",
    "scontrol": 'case "$*" in *config*) echo AccountingStorageType = slurmdbd;; '
    "*) echo JobId=$5 JobState=COMPLETED ExitCode=0:0;; esac",
    # Only the probe, which starts in /, really runs, because it must write a file.
    "sbatch": "date +%s.%N >> '{log}'; id=$(wc -l < '{log}'); case \"$*\" in *--chdir=/*) "
    'for last; do :; done; SLURM_JOB_ID=$id sh -c "$last" > /dev/null;; esac; echo $id',
}


def submit(folder: Path, trajectories: int, jobs: int) -> dict:
    """Run on a fake SLURM; measure the seconds from the command to a number of submissions."""
    overlay = folder / f"plan_{trajectories}.yaml"
    settings = experiment(trajectories) | {"generation": {"preset": "smoke", "people": None}}
    settings["finetuning"] = {"epochs": 1, "warmup_steps": 1}
    overlay.write_text(yaml.safe_dump(settings))
    snakemake = [sys.executable, "-m", "snakemake", f"--configfile={overlay.name}", "--quiet"]
    ready = "results/models/finetuned_reference.json"
    subprocess.run([*snakemake, "all", "--cores", "2", ready], cwd=folder, check=True)
    profile = folder / "profiles/slurm/profile.yaml"
    text = profile.read_text().replace("  slurm_account: CHANGE_ME\n", "")
    text = text.replace("    slurm_partition: CHANGE_ME", "    slurm_partition: gpu")
    text = text.replace("  slurm_partition: CHANGE_ME", "  slurm_partition: cpu")
    profile.write_text(text)
    log, stubs = folder / "submitted.log", folder / "stubs"
    log.unlink(missing_ok=True)
    stubs.mkdir(exist_ok=True)
    for name, script in STUBS.items():
        (stubs / name).write_text(f"#!/bin/sh\n{script.format(log=log) if log else script}\n")
        (stubs / name).chmod(0o755)
    began = time.time()
    process = subprocess.Popen(
        [*snakemake, "all", "--workflow-profile", "profiles/slurm", "--jobs", str(jobs), "all"],
        cwd=folder,
        env=os.environ | {"PATH": f"{stubs}{os.pathsep}{os.environ['PATH']}"},
        start_new_session=True,
    )
    try:
        while len(times := _times(log)) < jobs:  # including the probes of two partitions
            if process.poll() is not None or time.time() - began > 900:
                raise SystemExit(f"no more than {len(times)} submissions ({process.poll()})")
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    times = [moment - began for moment in times[2:]]
    return {
        "trajectories": trajectories,
        "seconds_to_first": round(times[0], 1),
        "submissions": len(times),
        "seconds_to_last": round(times[-1], 1),
        "ms_a_submission": round(1000 * (times[-1] - times[0]) / (len(times) - 1), 1),
    }


def _times(log: Path) -> list[float]:
    return [float(line) for line in log.read_text().split()] if log.exists() else []


def slurm_jobs(jobs: dict[str, int]) -> int:
    """Number of SLURM jobs with profiles/slurm: groups count once, tables include their plots."""
    profile = yaml.safe_load((ROOT / "profiles/slurm/profile.yaml").read_text())
    groups, components = profile["groups"], profile["group-components"]
    members: dict[str, int] = {}
    for name, count in jobs.items():
        members[groups.get(name, name)] = members.get(groups.get(name, name), 0) + count
    members["benchmark"] = 1
    members["tables"] = sum(
        count
        for name, count in jobs.items()
        if groups.get(name) == "tables" and not name.startswith("plot_")
    )
    return sum(math.ceil(count / components.get(name, 1)) for name, count in members.items())


def main() -> None:
    """Plan each size, or submit its first jobs, and print one JSON line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="*", type=int, default=[10, 100, 1000])
    parser.add_argument(
        "--submit", type=int, metavar="JOBS", help="measure up to this number of submissions"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = workspace(Path(folder) / "excise")
        for trajectories in args.sizes:
            if args.submit:
                done = submit(place, trajectories, args.submit)
            else:
                done = plan(place, trajectories)
            print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
