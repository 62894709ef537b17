"""A copy of the repository with a tiny random base model, in which the smoke experiment has run.

The copy is made and run once for all tests. Tests that plan (dry runs) share it and put back what
they edit; tests that run jobs take a copy of their own.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tiny_models import tiny_folder
from workflow import reads

ROOT = Path(__file__).parents[2]
SMOKE = "experiments/smoke.yaml"
BASE = "data/inputs/base/tiny-qwen2"


@dataclass(frozen=True)
class Workspace:
    """A copy of the repository, and how to call Snakemake in it."""

    folder: Path

    def __truediv__(self, path: str) -> Path:
        return self.folder / path

    def snakemake(self, *arguments: str, config: str | None = SMOKE, **more: str):
        """Run Snakemake to its end; returns the finished process with its output as text."""
        command = self.command(*arguments, config=config)
        environment = os.environ | more
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=900
        )

    def command(self, *arguments: str, config: str | None = SMOKE) -> list[str]:
        overlay = [f"--configfile={config}"] if config else []
        cores = [] if "--cores" in arguments else ["--cores", "2"]
        return [sys.executable, "-m", "snakemake", *cores, *overlay, *arguments]

    def run(self, *arguments: str, config: str | None = SMOKE, **more: str) -> str:
        """The same, for runs that must succeed; returns their output."""
        done = self.snakemake(*arguments, config=config, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def plan(self, *arguments: str, config: str | None = SMOKE) -> set[str]:
        """What would run: the messages of the jobs, `all` left out."""
        output = self.run("--dry-run", *arguments, config=config)
        jobs = re.findall(r"^Job \d+: (.*)$", output, flags=re.MULTILINE)
        assert len(jobs) == len(set(jobs))
        assert bool(jobs) == ("Nothing to be done" not in output)
        return set(jobs)

    def digests(self) -> dict[str, str]:
        """SHA-256 of everything the smoke experiment made, but for logs, times and records.

        Records name the code that made a file, also where an edit changed no byte of it.
        """
        folders = [self / "experiments/smoke/data", self / "experiments/smoke/results"]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        files = [path for path in files if ".made_from" not in path.parts]
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }

    def copy(self, folder: Path) -> "Workspace":
        """A copy with its times and Snakemake's memory of what was made from what."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workspace(folder)

    @contextmanager
    def edited(self, path: str, old: str, new: str) -> Iterator[None]:
        """Replace text in a file, and put it back."""
        file = self / path
        before = file.read_text()
        assert old in before, f"{old!r} is not in {path}"
        file.write_text(before.replace(old, new, 1))
        try:
            yield
        finally:
            file.write_text(before)


def steps(said: str) -> list[str]:
    """What a Snakemake says of its jobs, in order: that one begins, that one is finished."""
    found = re.findall(r"^(?:Job \d+: \S+|Finished jobid)", said, flags=re.MULTILINE)
    return ["begins" if one.startswith("Job") else "finished" for one in found]


def repository_files() -> list[str]:
    """What a clone would hold: tracked files, and new ones that git does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def clone(folder: Path) -> None:
    """Copy the repository as cloned, but with a tiny random model in place of the embedded one."""
    for name in repository_files():
        if not name.startswith(BASE):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    tiny_folder(folder / BASE)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory) -> Workspace:
    """The repository as cloned, but with a tiny random model in place of the embedded one."""
    folder = tmp_path_factory.mktemp("workflow") / "fresh"
    clone(folder)
    return Workspace(folder)


@pytest.fixture(scope="session")
def study(fresh, tmp_path_factory) -> Path:
    """Folder of the finished smoke experiment (`workspace`) and what its programs opened (`heard`).

    All workers of pytest-xdist share it: the first one runs the experiment, the others wait. The
    run itself uses both cores.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "study"
    with FileLock(f"{shared}.lock"):
        if not (shared / "finished").exists():
            shutil.rmtree(shared, ignore_errors=True)
            workspace = fresh.copy(shared / "workspace")
            workspace.run("all", **reads.environment(shared / "heard"))
            (shared / "finished").touch()
    return shared


@pytest.fixture(scope="session")
def smoke(study, tmp_path_factory) -> Workspace:
    """The finished smoke experiment, for this worker's tests to plan in."""
    return Workspace(study / "workspace").copy(tmp_path_factory.mktemp("workflow") / "smoke")


@pytest.fixture(scope="session")
def heard(study) -> Path:
    """What the programs of the smoke experiment opened, one file a process."""
    return study / "heard"


@pytest.fixture
def own(smoke, tmp_path) -> Workspace:
    """A copy of the finished smoke experiment to run jobs in."""
    return smoke.copy(tmp_path / "own")
