"""A folder whose file system does not answer is told of, by a process that can do nothing else."""

import os
import threading
from pathlib import Path
from queue import Queue

from excise.slurm.folders import look_into, watch_folder

RESULTS = Path("/scratch/results")
QUICK = {"between": 0.01, "patience": 0.05}


class FileSystem:
    """Answers when it is let; a look at it really waits."""

    def __init__(self):
        self.answers = threading.Event()
        self.looks: Queue[Path] = Queue()

    def look(self, folder: Path) -> None:
        self.looks.put(folder)
        self.answers.wait()


def test_a_folder_that_hangs_is_named_once_and_again_when_it_answers():
    hanging, said = FileSystem(), Queue()
    watch_folder(RESULTS, said.put, hanging.look, **QUICK)
    line = said.get(timeout=10)
    assert line.startswith("/scratch/results: its file system has not answered for 0 s; Snakemake")
    hanging.answers.set()
    assert said.get(timeout=10) == "/scratch/results: its file system answers again, after 0 s"
    for _ in range(4):
        hanging.looks.get(timeout=10)
    assert said.empty(), "it answers at once: nothing to say"


def test_it_is_said_again_after_an_hour_and_nobody_looks_meanwhile():
    hanging, said = FileSystem(), Queue()
    watch_folder(RESULTS, said.put, hanging.look, **QUICK, reminder=0.05)
    for _ in range(3):
        assert "has not answered" in said.get(timeout=10)
    assert hanging.looks.qsize() == 1
    hanging.answers.set()


def test_a_file_that_blocks_whoever_opens_it(tmp_path):
    """As a dead NFS server does, the kernel holds the thread; the line comes all the same."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    told, again = threading.Event(), threading.Event()
    lines: list[str] = []

    def hear(line: str) -> None:
        lines.append(line)
        (again if "again" in line else told).set()

    watch_folder(fifo, hear, lambda path: path.read_bytes(), **QUICK | {"between": 60})
    assert told.wait(10)
    fifo.write_bytes(b"")
    assert again.wait(10)
    assert [line.split(": ")[0] for line in lines] == [str(fifo)] * 2


def test_a_look_writes_nothing_and_an_error_is_an_answer(tmp_path):
    (tmp_path / "file").touch()
    before = tmp_path.stat()
    look_into(tmp_path)
    look_into(tmp_path / "gone")
    look_into(tmp_path / "file")
    assert tmp_path.stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
