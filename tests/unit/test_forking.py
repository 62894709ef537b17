"""Jobs forked from a server: they run as in a fresh Python, and end with their clients."""

import json
import marshal
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from excise.workflow import forking

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")

STATE = """
import json, os, signal, sys, threading
import helper
state = {
    "arguments": sys.argv, "original": sys.orig_argv, "path": sys.path, "name": __name__,
    "file": __file__, "spec": __spec__, "package": __package__, "doc": __doc__,
    "names": sorted(globals()), "flags": list(sys.flags), "folder": os.getcwd(),
    "environment": {k: v for k, v in os.environ.items() if k not in ("_", "SHLVL")},
    "group": os.getpgid(0), "session": os.getsid(0), "threads": threading.active_count(),
    "handles": sorted(os.listdir("/proc/self/fd")),
    "main": vars(sys.modules["__main__"]) is globals(),
    "buffering": [sys.stdout.line_buffering, sys.stderr.line_buffering, sys.stdout.encoding],
    "signals": [str(signal.getsignal(number)) for number in range(1, 32)],
    "packages": sorted({n.partition(".")[0] for n in sys.modules} - sys.stdlib_module_names),
    "standard": sys.stdin.read(), "helper": helper.VALUE,
}
print(json.dumps(state, default=str))
"""
PARENT = 'import os; print(open(f"/proc/{os.getppid()}/cmdline").read().replace(chr(0), " "))\n'
WAITS = """
import os, sys, time
print(os.getpid(), flush=True)
for _ in range(1200):  # a signal just before a long sleep would not interrupt it
    time.sleep(0.05)
"""


class Jobs:
    """A fork server, and jobs that ask it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = dict(os.environ)
        (folder / "place").mkdir()
        self.server = forking.start_server(folder / "place", self.environment)

    def start(
        self,
        program: str,
        *arguments: str,
        imports=(),
        forked=True,
        process_group=None,
        **more: str,
    ) -> subprocess.Popen:
        """Start a program in a shell, as Snakemake does; `more` are environment variables."""
        (self.folder / "program.py").write_text(program)
        (self.folder / forking.IMPORTS).write_text(json.dumps(list(imports)))
        environment = self.environment | {"EXCISE_JOB": str(self.folder / "job.json")} | more
        if forked:
            environment["PATH"] = f"{self.folder / 'place'}:{environment['PATH']}"
        words = " ".join(f"'{word}'" for word in arguments)
        return subprocess.Popen(
            ["bash", "-c", f"exec python program.py {words}"],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=process_group,
        )

    def run(self, program: str, *arguments: str, given: str = "", **more) -> tuple[int, str, str]:
        """Status, output and errors of a program."""
        process = self.start(program, *arguments, **more)
        out, errors = process.communicate(given, timeout=60)
        return process.returncode, out, errors

    def is_forked(self, imports=(), **more) -> bool:
        """Whether the server forks a job."""
        status, out, errors = self.run(PARENT, imports=imports, **more)
        assert status == 0, errors
        return "fork_server.py" in out


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """A fork server for programs in a folder of their own."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    made = Jobs(tmp_path)
    yield made
    made.server.stdin.close()
    made.server.wait(timeout=30)


def has_ended(process: int) -> bool:
    """Whether a process has ended, or does so within seconds."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.05)
    return False


# --- as in a fresh Python ---


def test_a_job_finds_what_it_would_find_in_a_fresh_python(jobs):
    (jobs.folder / "helper.py").write_text("VALUE = 1")
    jobs.run("", imports=["import numpy", "import jsonschema"])
    more = {"EXCISE_OWN": "a b"}
    plain = jobs.run(STATE, "x y", "--z", given="text", forked=False, **more)
    forked = jobs.run(STATE, "x y", "--z", given="text", **more)
    assert plain[0] == forked[0] == 0, plain[2] + forked[2]
    assert json.loads(forked[1]) == json.loads(plain[1])
    assert jobs.is_forked()


def test_an_edit_of_our_code_counts_in_the_next_job(jobs):
    for value in ("1", "22"):
        (jobs.folder / "helper.py").write_text(f"VALUE = {value}")
        assert jobs.run("import helper; print(helper.VALUE)")[1] == f"{value}\n"


@pytest.mark.parametrize(
    "program, status",
    [
        ("print(1)", 0),
        ("import sys; sys.exit(3)", 3),
        ("import sys; print('out'); sys.exit('said')", 1),
        ("import os; os._exit(4)", 4),
        ("def f():\n    raise ValueError('x')\nf()", 1),
        ("import nothing_of_this_name", 1),
        ("print(", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("import os; os.abort()", -signal.SIGABRT),
        ("import atexit; atexit.register(print, 'end')", 0),
        ("import sys; sys.excepthook = lambda *given: print(given[0]); 1 / 0", 1),
        ("import threading as t; t.Thread(target=lambda: print('thread')).start()", 0),
    ],
)
def test_a_job_ends_as_a_plain_program(jobs, program, status):
    forked = jobs.run(program)
    assert forked == jobs.run(program, forked=False)
    assert forked[0] == status


@pytest.mark.parametrize(
    "asked, loaded", [("", set()), ("import numpy", {"numpy"}), ("import pandas", {"pandas"})]
)
def test_a_job_sees_the_packages_that_it_imported(jobs, asked, loaded):
    """The records of versions list what `sys.modules` holds."""
    program = (
        f"{asked}\nimport sys; print(sorted(set(sys.modules) & {{'numpy', 'pandas', 'scipy'}}))"
    )
    everything = ["import pandas", "import scipy.special", "import numpy"]
    forked = jobs.run(program, imports=everything)
    assert forked == jobs.run(program, forked=False)
    assert loaded <= set(json.loads(forked[1].replace("'", '"')))
    assert jobs.is_forked()


def test_a_look_for_a_package_does_not_import_it(jobs):
    program = (
        "import importlib.util as u, sys; print(u.find_spec('numpy').name, 'numpy' in sys.modules)"
    )
    assert jobs.run(program, imports=["import numpy"])[1] == "numpy False\n"


def test_an_imported_package_keeps_its_own_specification(jobs):
    program = """
import numpy, numpy.linalg
for module in (numpy, numpy.linalg):
    spec = module.__spec__
    print(spec.name, spec.origin, spec.loader_state, type(spec.loader))
    print(spec.loader is module.__loader__)
"""
    forked = jobs.run(program, imports=["import numpy"])
    assert forked == jobs.run(program, forked=False)
    assert "SourceFileLoader" in forked[1]


def test_jobs_draw_different_random_numbers(jobs):
    program = "import random, numpy; print(random.random(), numpy.random.rand())"
    drawn = [jobs.run(program, imports=["import numpy"])[1].split() for _ in range(3)]
    assert all(len(set(column)) == 3 for column in zip(*drawn, strict=True))


def test_a_seed_gives_the_same_numbers(jobs):
    program = "import numpy; numpy.random.seed(1); print(numpy.random.rand())"
    assert jobs.run(program, imports=["import numpy"]) == jobs.run(program, forked=False)


# --- plain programs where the server cannot do it ---


def test_another_environment_makes_a_plain_program(jobs):
    assert jobs.is_forked(EXCISE_OWN="x")
    assert not jobs.is_forked(OMP_NUM_THREADS="7")
    assert not jobs.is_forked(MALLOC_ARENA_MAX="1")


def test_a_package_that_starts_a_thread_makes_plain_programs(jobs):
    assert jobs.is_forked()
    starts = "from threading import Timer; t = Timer(9, print); t.daemon = True; t.start()"
    assert not jobs.is_forked(imports=[starts])
    assert not jobs.is_forked()


def test_a_package_that_cannot_be_imported_is_the_program_s_affair(jobs):
    assert jobs.is_forked(imports=["import nothing_of_this_name"])


def test_without_a_server_a_job_is_a_plain_program(jobs):
    jobs.server.kill()
    jobs.server.wait()
    assert not jobs.is_forked()


# --- ends ---


def test_a_killed_client_ends_its_job(jobs):
    client = jobs.start(WAITS)
    job = int(client.stdout.readline())
    assert job != client.pid
    client.kill()
    assert has_ended(job)
    assert jobs.is_forked()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_job(jobs, number):
    client = jobs.start(WAITS)
    job = int(client.stdout.readline())
    client.send_signal(number)
    assert client.wait(timeout=30) == -number
    assert has_ended(job)


def test_ctrl_c_ends_the_job_once(jobs):
    """The terminal sends the signal to the group: Snakemake, shell, client and job."""
    client = jobs.start(WAITS, process_group=0)
    job = int(client.stdout.readline())
    os.killpg(client.pid, signal.SIGINT)
    assert client.wait(timeout=30) == -signal.SIGINT
    assert has_ended(job)
    assert client.stderr.read().count("KeyboardInterrupt") == 1


def test_a_job_that_handles_a_signal_ends_as_it_likes(jobs):
    handles = "import signal, sys\nsignal.signal(15, lambda *_: sys.exit(5))\n" + WAITS
    client = jobs.start(handles)
    client.stdout.readline()
    client.terminate()
    assert client.wait(timeout=30) == 5


class Waiting:
    """A job whose client has not yet said that it passes on signals; this process is the client."""

    def __init__(self, jobs: Jobs, program: str):
        (jobs.folder / "program.py").write_text(program)
        (jobs.folder / forking.IMPORTS).write_text("[]")
        environment = jobs.environment | {"EXCISE_JOB": str(jobs.folder / "job.json")}
        place = next(file for file in (jobs.folder / "place").iterdir() if file.is_socket())
        self.client = socket.socket(socket.AF_UNIX)
        self.client.connect(str(place))
        self.output, output = os.pipe()
        waits, self.begin = os.pipe()
        words = [b"program.py"], os.fsencode(jobs.folder)
        given = {os.fsencode(k): os.fsencode(v) for k, v in environment.items()}
        text = marshal.dumps((*words, given))
        handles = [output, output, output, waits]
        socket.send_fds(self.client, [len(text).to_bytes(4, "little")], handles)
        self.client.sendall(text)
        os.close(output)
        os.close(waits)
        self.answers = self.client.makefile("rb")
        kind, self.job = marshal.load(self.answers)
        assert kind == "job"

    def is_silent(self, seconds: float) -> bool:
        """Whether the job writes nothing for so long."""
        return not select.select([self.output], [], [], seconds)[0]

    def end(self) -> tuple[int, str]:
        """Let the program begin. Returns its status and what it wrote."""
        os.write(self.begin, b"1")
        with os.fdopen(self.output) as output:
            written = output.read()
        return os.waitstatus_to_exitcode(marshal.load(self.answers)[1]), written


def test_a_program_begins_when_its_client_passes_on_signals(jobs):
    """A signal between the fork and this moment would find no job to reach."""
    waiting = Waiting(jobs, "print('begun')")
    assert waiting.is_silent(0.5)
    assert waiting.end() == (0, "begun\n")


def test_a_program_does_not_begin_when_its_client_has_ended(jobs):
    waiting = Waiting(jobs, "print('begun')")
    os.close(waiting.begin)
    assert has_ended(waiting.job)
    with os.fdopen(waiting.output) as output:
        assert output.read() == ""


def test_ctrl_c_before_the_program_begins_counts_when_it_begins(jobs):
    waiting = Waiting(jobs, "print('begun')")
    os.kill(waiting.job, signal.SIGINT)
    assert waiting.is_silent(0.5)
    status, written = waiting.end()
    assert status == -signal.SIGINT
    assert written.count("KeyboardInterrupt") == 1
    assert "begun" not in written


class Serving:
    """This process is the server of one client; the job is a process that only waits."""

    def __init__(self, folder: Path):
        (folder / "program.py").write_text("print('again')")
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(folder / "socket"))
        self.listening.listen()
        client = Path(forking.__file__).with_name("fork_client.py")
        words = [sys.executable, "-I", "-S", str(client), "none", str(folder / "socket")]
        self.client = subprocess.Popen(
            [*words, "program.py"], cwd=folder, stdout=subprocess.PIPE, text=True
        )
        self.connection, _ = self.listening.accept()
        size, (*streams, self.begin), _, _ = socket.recv_fds(self.connection, 4, 4)
        left = int.from_bytes(size, "little")
        while left:
            left -= len(self.connection.recv(left))
        for stream in streams:
            os.close(stream)
        self.job = subprocess.Popen(["sleep", "60"])

    def send(self, *message) -> None:
        self.connection.sendall(marshal.dumps(message))

    def end_job(self) -> None:
        self.job.kill()
        self.job.wait()


def test_a_signal_that_ends_the_fork_before_it_begins_ends_the_client_too(tmp_path):
    """It came between the client's handlers and its word that it passes on signals."""
    serving = Serving(tmp_path)
    os.close(serving.begin)  # as of a fork that has ended
    serving.send("job", serving.job.pid)
    serving.send("end", int(signal.SIGTERM))
    assert serving.client.wait(timeout=30) == -signal.SIGTERM
    assert serving.client.stdout.read() == ""
    serving.end_job()


def test_a_signal_after_the_end_of_the_job_does_not_run_the_program_again(tmp_path):
    serving = Serving(tmp_path)
    serving.send("job", serving.job.pid)
    assert os.read(serving.begin, 1) == b"1"
    serving.end_job()
    for number in (signal.SIGTERM, signal.SIGHUP):
        serving.client.send_signal(number)
    time.sleep(0.3)
    serving.send("end", 0)
    assert serving.client.wait(timeout=30) == 0
    assert serving.client.stdout.read() == ""


def test_a_client_that_ends_while_it_asks_leaves_nothing_open(jobs):
    """Also its output ends then, for whoever reads it."""
    place = next(file for file in (jobs.folder / "place").iterdir() if file.is_socket())
    output, given = os.pipe()
    for _ in range(3):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(place))
        socket.send_fds(client, [(1 << 20).to_bytes(4, "little")], [given] * 4)
        client.close()
    os.close(given)
    with os.fdopen(output) as stream:
        assert select.select([stream], [], [], 30)[0]
        assert stream.read() == ""
    assert jobs.is_forked()


def test_a_killed_server_ends_its_jobs_and_they_run_again_plainly(jobs):
    program = WAITS.replace(
        "1200", "1200 if 'fork_server' in open(f'/proc/{os.getppid()}/cmdline').read() else 0"
    )
    client = jobs.start(program)
    job = int(client.stdout.readline())
    jobs.server.kill()
    again = int(client.stdout.readline())
    assert has_ended(job)
    assert again == client.pid
    assert client.wait(timeout=30) == 0


def test_the_server_ends_after_its_last_job_when_snakemake_ends(jobs):
    client = jobs.start("import time; time.sleep(1); print('whole')")
    time.sleep(0.5)
    jobs.server.stdin.close()
    assert client.communicate(timeout=30)[0] == "whole\n"
    assert jobs.server.wait(timeout=30) == 0


# --- Snakemake ---


def test_benchmarks_count_forked_jobs(jobs):
    from snakemake.benchmark import BenchmarkRecord, benchmarked

    assert forking.benchmarks_see_forked_jobs()
    works = "import time\nx = bytearray(200_000_000)\nwhile time.process_time() < 2.5: pass"
    record = BenchmarkRecord()
    record.forked = jobs.folder / forking.PROCESSES
    client = jobs.start(works)
    with benchmarked(client.pid, record):
        client.communicate(timeout=60)
    assert record.max_rss > 200
    assert 1 < record.cpu_time < 4


def test_statements_import_packages_of_others(tmp_path):
    text = """
from __future__ import annotations
import json, os
import numpy as np
import excise.files
from excise.errors import run
from . import beside
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import pandas
try:
    import scipy.stats
except ImportError:
    pass
def main():
    from torch import nn
"""
    (tmp_path / "program.py").write_text(text)
    (tmp_path / "data.txt").write_text("import data")
    found = forking.import_statements([str(tmp_path / name) for name in ("program.py", "data.txt")])
    assert found == ["import numpy as np", "import scipy.stats", "from torch import nn"]
