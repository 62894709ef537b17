"""A folder whose file system does not answer is reported."""

import os
import threading
from pathlib import Path
from queue import Queue

from excise.slurm.folders import query_folder, watch_folder

RESULTS = Path("/scratch/results")
QUICK = {"interval": 0.01, "timeout": 0.05}


class FileSystem:
    """Answers after `answers` is set; a query really waits."""

    def __init__(self):
        self.answers = threading.Event()
        self.queries: Queue[Path] = Queue()

    def query(self, folder: Path) -> None:
        self.queries.put(folder)
        self.answers.wait()


def test_a_folder_that_hangs_is_reported_once_and_again_when_it_answers():
    hanging, messages = FileSystem(), Queue()
    watch_folder(RESULTS, messages.put, hanging.query, **QUICK)
    line = messages.get(timeout=10)
    assert line.startswith("/scratch/results: its file system has not answered for 0 s; Snakemake")
    hanging.answers.set()
    assert messages.get(timeout=10) == "/scratch/results: its file system answers again, after 0 s"
    for _ in range(4):
        hanging.queries.get(timeout=10)
    assert messages.empty(), "it answers at once: no report"


def test_the_report_is_repeated_after_an_hour_without_further_queries():
    hanging, messages = FileSystem(), Queue()
    watch_folder(RESULTS, messages.put, hanging.query, **QUICK, reminder=0.05)
    for _ in range(3):
        assert "has not answered" in messages.get(timeout=10)
    assert hanging.queries.qsize() == 1
    hanging.answers.set()


def test_a_query_that_blocks_in_the_kernel_is_reported(tmp_path):
    """A FIFO blocks the thread as a dead NFS server does."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reported, answered = threading.Event(), threading.Event()
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        (answered if "again" in line else reported).set()

    watch_folder(fifo, report, lambda path: path.read_bytes(), **QUICK | {"interval": 60})
    assert reported.wait(10)
    fifo.write_bytes(b"")
    assert answered.wait(10)
    assert [line.split(": ")[0] for line in lines] == [str(fifo)] * 2


def test_a_query_writes_nothing_and_an_error_is_an_answer(tmp_path):
    (tmp_path / "file").touch()
    before = tmp_path.stat()
    query_folder(tmp_path)
    query_folder(tmp_path / "gone")
    query_folder(tmp_path / "file")
    assert tmp_path.stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
