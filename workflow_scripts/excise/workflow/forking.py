"""Start jobs on this machine from a Python that has imported other people's packages already.

Importing torch, transformers, peft and pandas takes seconds in each of some fifty jobs. A fork
server (`fork_server`) imports them once for each run of Snakemake. A job's command stays
`python workflow_scripts/PROGRAM.py …`; only PATH names another `python` (`fork_client`).
Every Snakemake loads this module, so it must not import torch.
"""

import ast
import atexit
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from excise.workflow.models import PROGRAMS

VARIABLE = "EXCISE_FORK"
"""Environment variable; with the value 0, all jobs are plain programs."""

IMPORTS, PROCESSES = "imports.json", "processes"
"""Files beside the draft of a job's record: import statements for the server; the processes that
it forked for the job."""

GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, Windows' Linux
SOCKET_PATH_LIMIT = 100  # bytes; the kernel's is 108


class ForkServers:
    """The fork servers of one run of Snakemake: one for each number of threads.

    Args:
        workflow: Snakemake's workflow.
    """

    def __init__(self, workflow: Any):
        self.workflow = workflow
        self.lock = Lock()  # jobs run in threads
        self.servers: dict[tuple, subprocess.Popen] = {}
        self.folders: dict[tuple, Path] = {}
        self.used: bool | None = None

    def environment(self, job: Mapping[str, Any], scratch: Path) -> dict[str, str]:
        """Variables with which a job's `python` is the client; none if the job must run plainly.

        Args:
            job: local variables of the rule's body.
            scratch: folder of the draft of the job's record; gets `IMPORTS`.
        """
        with self.lock:
            if self.used is None:
                self.used = self.can_be_used()
            if not self.used:
                return {}
            statements = import_statements(map(str, job["input"]))
            Path(scratch, IMPORTS).write_text(json.dumps(statements), encoding="utf-8")
            try:
                folder = self.folder_of(variables_of_job(job))
            except OSError:  # no process, no folder
                return {}
        if job.get("bench_record") is not None:
            job["bench_record"].forked = Path(scratch, PROCESSES)
        return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}

    def can_be_used(self) -> bool:
        """Whether jobs of this Snakemake run here, in its own Python, without a GPU."""
        flow = self.workflow
        python = shutil.which("python")
        return (
            os.environ.get(VARIABLE) != "0"
            and sys.platform == "linux"
            and hasattr(os, "pidfd_open")
            and flow.is_main_process
            and flow.executor_plugin.name == "local"
            and not flow.deployment_settings.deployment_method
            and python is not None
            and Path(python).parent == Path(sys.executable).parent
            and not has_gpu()  # a fork cannot use CUDA if its server has
            and len(list(flow.dag.needrun_jobs())) > 1
            and benchmarks_see_forked_jobs()
        )

    def folder_of(self, variables: dict[str, str]) -> Path:
        """Folder with the `python` of the server for these variables, which is started if needed.

        Raises:
            OSError: the server could not be started.
        """
        key = tuple(variables.items())
        if key not in self.folders:
            folder = Path(tempfile.mkdtemp(prefix="excise-fork-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            self.servers[key] = start_server(folder, os.environ | variables)
            atexit.register(end_server, self.servers[key])
            self.folders[key] = folder
        return self.folders[key]


def has_gpu() -> bool:
    """Whether this machine has a GPU, visible to programs or not."""
    return any(Path(device).exists() for device in GPU_DEVICES)


def variables_of_job(job: Mapping[str, Any]) -> dict[str, str]:
    """Variables that Snakemake 9 sets for a job: threads and temporary folder.

    If a later version sets others, the server notices that the environments differ.
    """
    libraries = ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")
    variables = {f"{name}_NUM_THREADS": str(job["threads"]) for name in libraries}
    variables["VECLIB_MAXIMUM_THREADS"] = str(job["threads"])
    if folder := job["resources"].get("tmpdir"):
        variables |= dict.fromkeys(("TMPDIR", "TMP", "TEMPDIR", "TEMP"), str(folder))
    return variables


def start_server(folder: Path, environment: Mapping[str, str]) -> subprocess.Popen:
    """Start a fork server, and write the `python` that asks it.

    Args:
        folder: an empty folder for `python` and the socket.
        environment: of the server; that of its jobs must be equal.

    Raises:
        OSError: the path of the folder is too long, or there is no process for the server.
    """
    place = folder / "socket"
    if len(os.fsencode(place)) > SOCKET_PATH_LIMIT:
        raise OSError(f"{place}: too long for a socket")
    here = Path(__file__).parent
    client = [sys.executable, "-I", "-S", here / "fork_client.py", folder, place]
    words = " ".join(shlex.quote(str(one)) for one in client)
    (folder / "python").write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    (folder / "python").chmod(0o700)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen()
        return subprocess.Popen(
            [sys.executable, str(here / "fork_server.py"), str(listening.fileno())],
            env=environment,
            stdin=subprocess.PIPE,  # closes when this Snakemake ends
            stdout=subprocess.DEVNULL,
            pass_fds=[listening.fileno()],
            process_group=0,  # Ctrl-C is for the jobs
        )


def end_server(server: subprocess.Popen) -> None:
    """Let a server end, and wait for it: so its CPU time counts as this process's."""
    server.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        server.wait(timeout=5)


# --- what the server imports ---


def import_statements(inputs: Iterable[str]) -> list[str]:
    """Import statements for other people's packages in the programs and modules among `inputs`.

    Statements inside of functions count, those for type checkers do not.
    """
    found: dict[str, None] = {}
    for path in inputs:
        if path.endswith(".py"):
            found.update(dict.fromkeys(_statements(path, os.stat(path).st_mtime_ns)))  # noqa: PTH116
    return list(found)


@cache
def _statements(path: str, changed: int) -> list[str]:
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, SyntaxError):  # the program will say so
        return []
    return [ast.unparse(node) for node in _imports(tree) if _is_foreign(node)]


def _imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node
    elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
        for child in ast.iter_child_nodes(node):
            yield from _imports(child)


def _is_foreign(node: ast.Import | ast.ImportFrom) -> bool:
    if isinstance(node, ast.ImportFrom) and node.level:
        return False
    name = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
    top = name.partition(".")[0]
    ours = (Path(PROGRAMS, top), Path(PROGRAMS, f"{top}.py"))
    return top not in sys.stdlib_module_names and not any(path.exists() for path in ours)


# --- Snakemake's benchmarks ---


class _WithForkedJobs:
    """A process as psutil shows it, with the processes forked for it among its children."""

    def __init__(self, process: Any, forked: Path):
        self._process, self._forked = process, forked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    def children(self, recursive: bool = False) -> list:
        import psutil

        found = self._process.children(recursive=recursive)
        with suppress(OSError):
            for number in self._forked.read_text(encoding="utf-8").split():
                with suppress(psutil.NoSuchProcess):
                    job = psutil.Process(int(number))
                    found += [job, *(job.children(recursive=True) if recursive else [])]
        return found


def benchmarks_see_forked_jobs() -> bool:
    """Let Snakemake's benchmarks count the processes of forked jobs; False if that is impossible.

    A forked job is a child of the server, and benchmarks add up the children of a job's shell.
    """
    try:
        from snakemake.benchmark import BenchmarkTimer

        if hasattr(BenchmarkTimer, "sees_forked_jobs"):
            return True
        begin = BenchmarkTimer.__init__
        BenchmarkTimer._update_record  # noqa: B018 (raises if it does not exist)
    except (ImportError, AttributeError):
        return False

    def begin_with_forked_jobs(timer: Any, pid: int, record: Any, *more: Any, **named: Any) -> None:
        begin(timer, pid, record, *more, **named)
        if forked := getattr(record, "forked", None):
            timer.main = _WithForkedJobs(timer.main, forked)

    BenchmarkTimer.__init__ = begin_with_forked_jobs
    BenchmarkTimer.sees_forked_jobs = True
    return True
