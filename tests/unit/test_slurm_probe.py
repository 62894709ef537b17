"""The probe of compute nodes with fake SLURM programs; the node is this machine."""

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
    """A shared folder, a model outside of it, and the messages and submissions of the probe."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.messages: list[str] = []
        self.results = folder / "Ada's results; of $HOME"
        self.model = folder / "model's" / "config.json"
        self.results.mkdir()
        self.model.parent.mkdir()
        self.model.touch()

    def install_slurm(self, submit: str = "", state: str = "") -> None:
        """Install a fake SLURM whose node runs the script at once.

        Args:
            submit: shell code of sbatch; `node` runs the script on the node.
            state: final state of the job; by default the exit status of the script decides.
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

    def probe(self, *requests: JobRequest, timeout: float = 5, optional_partitions=()) -> None:
        folders = {"pathvars.results": self.results, "the repository": self.folder}
        files = {"model.path": self.model}
        probe(
            requests or (CPU,),
            folders,
            files,
            "excise-x",
            self.messages.append,
            timeout,
            optional_partitions,
        )

    def submitted(self) -> list[str]:
        return (self.folder / "submitted").read_text().splitlines()


@pytest.fixture
def site(tmp_path, monkeypatch) -> Site:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    (tmp_path / ".snakemake").mkdir()
    return Site(tmp_path)


def test_shared_folders_pass_and_no_file_is_left(site):
    site.install_slurm()
    site.probe(GPU, CPU)
    assert site.messages == ["probing compute nodes of gpu, cpu …"]
    assert list(site.results.iterdir()) == []
    assert not list(site.folder.glob(".excise-probe-*"))


def test_the_probe_has_the_arguments_of_the_real_jobs_without_the_gpu(site):
    site.install_slurm()
    site.probe(GPU)
    (asked,) = site.submitted()
    assert "--partition=gpu --account=mine --qos=long" in asked
    assert "--gpus" not in asked


def test_a_successful_probe_is_not_repeated(site):
    site.install_slurm()
    site.probe()
    site.probe()
    assert len(site.submitted()) == 1


def test_another_environment_is_probed_again(site, monkeypatch):
    site.install_slurm()
    site.probe()
    other = site.folder / "other's python"
    other.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(other))
    site.probe()
    assert len(site.submitted()) == 2


def test_an_optional_partition_may_refuse_the_probe(site):
    site.install_slurm('case "$*" in *=cpu*) echo "Invalid feature" >&2; exit 1 ;; esac; node')
    with pytest.raises(InputError, match="SLURM refused the probe: sbatch: Invalid feature"):
        site.probe(GPU, CPU)
    site.probe(GPU, CPU, optional_partitions={"cpu"})
    assert "not probed" in site.messages[-1] and "Invalid feature" in site.messages[-1]


def test_a_folder_that_the_node_does_not_see_is_named(site):
    site.install_slurm('mv "$(ls -d Ada*)" hidden; node; mv hidden "Ada\'s results; of \\$HOME"')
    with pytest.raises(
        InputError, match=r"^pathvars.results: .*: a node of partition cpu does not"
    ):
        site.probe()


def test_a_model_outside_the_folders_must_be_seen_but_is_not_written_to(site):
    site.model.parent.chmod(0o555)
    site.install_slurm()
    site.probe()
    site.model.unlink()
    (site.folder / ".snakemake" / "cluster_probe.json").unlink()
    with pytest.raises(InputError, match=r"^model.path: .*model's: a node of partition cpu does"):
        site.probe()


def test_a_python_that_is_missing_on_the_node_is_named(site, monkeypatch):
    site.install_slurm()
    monkeypatch.setattr(sys, "executable", "/nowhere/it's python")
    with pytest.raises(InputError, match=r"^/nowhere/it's python: a node of partition cpu cannot"):
        site.probe()


@pytest.mark.parametrize("state", ["NODE_FAIL", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY"])
def test_a_probe_that_slurm_ended_proves_nothing(site, state):
    site.install_slurm("echo 1 > code", state)
    site.probe()
    assert site.messages[1:] == [f"partition cpu: not probed ({state})"]
    site.install_slurm()
    site.probe()
    assert len(site.submitted()) == 2  # the next run probes again


def test_the_probe_does_not_wait_long_for_a_full_partition(site):
    site.install_slurm("echo 0 > code", "PENDING")
    site.probe(timeout=0.1)
    assert site.messages[1:] == ["partition cpu: not probed (no free node within 0 s)"]
    assert (site.folder / "cancelled").read_text() == "7\n"


def test_a_partition_that_requires_a_gpu_gets_a_request_with_one(site):
    site.install_slurm(
        'case "$*" in *--gpus=1*) node;; *) echo "a GPU is required" >&2; exit 1;; esac'
    )
    site.probe(GPU)
    assert len(site.submitted()) == 2
    with pytest.raises(InputError, match="SLURM refused the probe: sbatch: a GPU is required"):
        site.probe(CPU)


def test_a_query_without_an_answer_is_repeated(site):
    site.install_slurm()
    silent_once = f"test -e {site.folder}/asked || {{ touch {site.folder}/asked; exit 1; }}"
    script = site.folder / "scontrol"
    script.write_text(script.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{silent_once}\n"))
    site.probe()
    assert len(site.messages) == 1


def test_a_node_that_cannot_write_or_whose_files_do_not_appear_is_an_error(site, monkeypatch):
    site.install_slurm("echo 11 > code")
    with pytest.raises(InputError, match=r"^pathvars.results: .* cannot write there"):
        site.probe()
    monkeypatch.setattr(probing, "LATENCY_SECONDS", 0)
    site.install_slurm("echo 0 > code")
    with pytest.raises(InputError, match="a file that a compute node writes does not appear here"):
        site.probe()
