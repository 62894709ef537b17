"""Jobs forked from a server make what plain programs make (the smoke experiment ran plainly)."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from excise.workflow.forking import has_gpu

pytestmark = pytest.mark.skipif(has_gpu(), reason="no job is forked beside a GPU")

RESULTS = "experiments/smoke/results"
FILES = [
    f"{RESULTS}/eval/base/items.jsonl",
    f"{RESULTS}/eval/finetuned/items.jsonl",
    f"{RESULTS}/quantize/finetuned/int8.jsonl",
    f"{RESULTS}/models/unlearn/ga/lr0.0002/training_log.json",
    f"{RESULTS}/eval_results.json",
    f"{RESULTS}/forget_vs_retain.png",
    f"{RESULTS}/retain_gap.png",
]


def records(workspace) -> dict[str, str]:
    """The records of all jobs: inputs, settings and versions."""
    folders = [workspace / f"experiments/smoke/{name}/.made_from" for name in ("data", "results")]
    return {str(path): path.read_text() for folder in folders for path in folder.rglob("*.json")}


def servers(workspace) -> set[int]:
    """Process ids of the fork servers, and of the jobs they forked, in a workspace."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = (process / "cwd").readlink() == workspace.folder
            if here and b"fork_server.py" in (process / "cmdline").read_bytes():
                found.add(int(process.name))
        except OSError:
            continue
    return found


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_forked_jobs_make_the_same_bytes_and_records(own):
    before, written = own.digests(), records(own)
    said = own.run("--forcerun", *FILES, "--", "all", EXCISE_FORK="1")
    assert "plain program" not in said
    assert own.digests() == before
    assert records(own) == written
    assert own.plan("all") == set()
    assert servers(own) == set()


def test_jobs_are_forked_and_can_be_plain(own):
    program = own / "workflow_scripts/plot.py"
    text = program.read_text().replace(
        '    print(f"{args.out}',
        "    print('parent:', Path(f'/proc/{os.getppid()}/cmdline').read_bytes())\n"
        '    print(f"{args.out}',
    )
    program.write_text(text.replace("import argparse\n", "import argparse\nimport os\n"))
    log = own / "experiments/smoke/logs/plot/retain_gap.log"
    for value, forked in [("1", True), ("0", False)]:
        target = own / f"{RESULTS}/retain_gap.png"
        arguments = [f"{RESULTS}/retain_gap.png", f"{RESULTS}/forget_vs_retain.png"]
        own.run("--forcerun", *arguments, "--", *arguments, EXCISE_FORK=value)
        assert ("fork_server.py" in log.read_text()) == forked
        assert target.exists()
    seen = json.loads((own / "experiments/smoke/benchmarks/plot/retain_gap.jsonl").read_text())
    assert seen["max_rss"] > 50


def test_after_a_killed_server_the_run_goes_on(own):
    before = own.digests()
    command = own.command("--forcerun", *FILES[:3], "--", *FILES[:3])
    running = subprocess.Popen(command, cwd=own.folder, env=os.environ | {"EXCISE_FORK": "1"})
    wait_for(lambda: len(servers(own)) > 1)  # the server and a job
    os.kill(min(servers(own)), signal.SIGKILL)
    assert running.wait(timeout=600) == 0
    assert own.digests() == before
