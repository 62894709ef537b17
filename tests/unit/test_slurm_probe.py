"""The probe of compute nodes, before programs that play SLURM: the node is this machine."""

import os
import sys
from pathlib import Path

import pytest

from excise.errors import InputError
from excise.slurm import probe as probing
from excise.slurm.job_request import JobRequest
from excise.slurm.probe import probe

GPU = JobRequest("unlearn", "gpu", "mine", ("--gpus=1",), extra=("--qos=long",))
CPU = JobRequest("plot", "cpu")


class Site:
    """A shared folder, a model elsewhere, and what was said and submitted."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.said: list[str] = []
        self.results = folder / "Ada's results; of $HOME"
        self.model = folder / "model's" / "config.json"
        self.results.mkdir()
        self.model.parent.mkdir()
        self.model.touch()

    def play(self, submit: str = "", state: str = "") -> None:
        """SLURM, whose node runs the script at once.

        Args:
            submit: shell before and around it; `node` is the script run on the node.
            state: how the job ends, if not by its script.
        """
        by_status = "$(test $(cat code) = 0 && echo COMPLETED || echo FAILED)"
        programs = {
            "sbatch": f"""
                cd {self.folder}
                echo "$*" | head -n 1 >> submitted
                for script; do :; done
                node() {{ (cd / && SLURM_JOB_ID=7 sh -c "$script"); echo $? > code; }}
                {submit or "node"}
                echo "7;cluster" """,
            "scontrol": f"""
                cd {self.folder}
                echo "JobId=7 JobName=x JobState={state or by_status} ExitCode=$(cat code):0" """,
            "scancel": f"echo $1 > {self.folder}/cancelled",
        }
        for name, body in programs.items():
            (self.folder / name).write_text(f"#!/bin/sh\n{body}\n")
            (self.folder / name).chmod(0o755)

    def probe(self, *requests: JobRequest, patience: float = 5, among_others=()) -> None:
        folders = {"pathvars.results": self.results, "the repository": self.folder}
        files = {"model.path": self.model}
        probe(
            requests or (CPU,), folders, files, "excise-x", self.said.append, patience, among_others
        )

    def submitted(self) -> list[str]:
        return (self.folder / "submitted").read_text().splitlines()


@pytest.fixture
def site(tmp_path, monkeypatch) -> Site:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    (tmp_path / ".snakemake").mkdir()
    return Site(tmp_path)


def test_folders_that_nodes_see_pass_and_leave_nothing_behind(site):
    site.play()
    site.probe(GPU, CPU)
    assert site.said == ["probing compute nodes of gpu, cpu …"]
    assert list(site.results.iterdir()) == []
    assert not list(site.folder.glob(".excise-probe-*"))


def test_the_site_is_asked_as_for_the_real_jobs_but_for_the_card(site):
    site.play()
    site.probe(GPU)
    (asked,) = site.submitted()
    assert "--partition=gpu --account=mine --qos=long" in asked
    assert "--gpus" not in asked


def test_what_was_seen_once_is_not_asked_again(site):
    site.play()
    site.probe()
    site.probe()
    assert len(site.submitted()) == 1


def test_another_environment_is_probed_again(site, monkeypatch):
    site.play()
    site.probe()
    other = site.folder / "other's python"
    other.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(other))
    site.probe()
    assert len(site.submitted()) == 2


def test_a_partition_that_jobs_can_do_without_may_refuse(site):
    site.play('case "$*" in *=cpu*) echo "Invalid feature" >&2; exit 1 ;; esac; node')
    with pytest.raises(InputError, match="the probe was refused: sbatch: Invalid feature"):
        site.probe(GPU, CPU)
    site.probe(GPU, CPU, among_others={"cpu"})
    assert "not probed" in site.said[-1] and "Invalid feature" in site.said[-1]


def test_a_folder_that_the_node_does_not_see_is_named(site):
    site.play('mv "$(ls -d Ada*)" hidden; node; mv hidden "Ada\'s results; of \\$HOME"')
    with pytest.raises(
        InputError, match=r"^pathvars.results: .*: a node of partition cpu does not"
    ):
        site.probe()


def test_a_model_elsewhere_must_be_seen_but_is_not_written_to(site):
    site.model.parent.chmod(0o555)
    site.play()
    site.probe()
    site.model.unlink()
    (site.folder / ".snakemake" / "cluster_probe.json").unlink()
    with pytest.raises(InputError, match=r"^model.path: .*model's: a node of partition cpu does"):
        site.probe()


def test_a_python_that_the_node_does_not_have_is_named(site, monkeypatch):
    site.play()
    monkeypatch.setattr(sys, "executable", "/nowhere/it's python")
    with pytest.raises(InputError, match=r"^/nowhere/it's python: a node of partition cpu cannot"):
        site.probe()


@pytest.mark.parametrize("state", ["NODE_FAIL", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY"])
def test_a_probe_that_something_else_ended_says_nothing_about_the_site(site, state):
    site.play("echo 1 > code", state)
    site.probe()
    assert site.said[1:] == [f"partition cpu: not probed ({state})"]
    site.play()
    site.probe()
    assert len(site.submitted()) == 2  # asked again by the next run


def test_a_full_partition_is_not_waited_for(site):
    site.play("echo 0 > code", "PENDING")
    site.probe(patience=0.1)
    assert site.said[1:] == ["partition cpu: not probed (no free node within 0 s)"]
    assert (site.folder / "cancelled").read_text() == "7\n"


def test_a_partition_that_lets_no_job_in_without_a_gpu_gets_one(site):
    site.play('case "$*" in *--gpus=1*) node;; *) echo "a GPU is required" >&2; exit 1;; esac')
    site.probe(GPU)
    assert len(site.submitted()) == 2
    with pytest.raises(InputError, match="the probe was refused: sbatch: a GPU is required"):
        site.probe(CPU)


def test_a_controller_that_does_not_answer_is_asked_again(site):
    site.play()
    silent_once = f"test -e {site.folder}/asked || {{ touch {site.folder}/asked; exit 1; }}"
    script = site.folder / "scontrol"
    script.write_text(script.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{silent_once}\n"))
    site.probe()
    assert len(site.said) == 1


def test_a_node_that_cannot_write_is_an_error_and_so_is_one_whose_files_do_not_come(
    site, monkeypatch
):
    site.play("echo 11 > code")
    with pytest.raises(InputError, match=r"^pathvars.results: .* cannot write there"):
        site.probe()
    monkeypatch.setattr(probing, "LATENCY_SECONDS", 0)
    site.play("echo 0 > code")
    with pytest.raises(InputError, match="what a compute node writes is not seen here"):
        site.probe()
