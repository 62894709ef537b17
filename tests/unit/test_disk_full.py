"""A full disk gives one line with the name of the file; finished files are kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from excise import errors, files, records
from excise.errors import InputError
from excise.evaluation.tokens import write_tokens
from excise.unlearning import trajectory as unlearning

SCRIPTS = Path(files.__file__).parents[1]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_file_that_does_not_fit_is_named_and_removed(small_disk):
    path = small_disk / "items.jsonl"
    with pytest.raises(InputError, match=rf"^{path}: not written: the disk is full"):
        records.write_jsonl(path, ({"text": "x" * 1000} for _ in range(1000)))
    assert list(small_disk.iterdir()) == []


def test_scores_of_tokens_that_do_not_fit_are_named(small_disk):
    path, n = small_disk / "tokens.parquet", 40_000
    tokens = {name: [-0.1 * k for k in range(n)] for name in ("logprob", "mean", "variance")}
    record = {"id": "a", "answer": "answer", "number": 0, "rank": [*range(n)]} | tokens
    with pytest.raises(InputError, match=rf"^{path}: not written: the disk is full"):
        write_tokens(path, [record])
    assert list(small_disk.iterdir()) == []


def test_weights_that_do_not_fit_are_named(small_disk):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    path = small_disk / "model.safetensors"
    with pytest.raises(InputError, match="the disk is full"), files.atomic_path(path) as temporary:
        save_file({"w": torch.zeros(100_000)}, temporary)


@pytest.mark.parametrize(
    "what", ["print('x' * 200_000)", "open(sys.argv[1], 'w').write('x' * 200_000)"]
)
def test_a_program_ends_with_one_line(small_disk, what):
    program = f"import sys; from excise.errors import run; run(lambda: ({what}, None)[1])"
    command = [sys.executable, "-c", program, str(small_disk / "rows.txt")]
    with (small_disk / "log").open("w") as log:
        done = subprocess.run(
            command,
            stdout=log,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "the disk is full" in done.stderr


@pytest.mark.parametrize("lines", [1, 100_000])
@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_program_whose_reader_has_gone_ends_without_a_traceback(lines, buffered):
    """As in `program | head`, with output that fits into the buffer and with more."""
    program = (
        "import sys; from excise.errors import run; "
        f"run(lambda: [print('a line') for _ in range({lines}) if _ or sys.stdin.readline()])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(SCRIPTS), "PYTHONUNBUFFERED": buffered},
    )
    process.stdout.readline()
    process.stdout.close()
    _, said = process.communicate(b"go\n")
    assert process.returncode == errors.NOBODY_READS
    assert said == b""


def test_other_errors_are_unchanged(tmp_path):
    assert not errors.is_full(PermissionError(13, "no"))
    with pytest.raises(PermissionError), files.atomic_path(tmp_path / "x"):
        raise PermissionError(13, "no")


def test_checkpoints_of_a_broken_trajectory_are_kept(tmp_path):
    for epoch in (1, 2, 3):
        folder = tmp_path / f"epoch_{epoch}"
        folder.mkdir()
        (folder / "adapter_model.safetensors").write_text(str(epoch))
    message = unlearning.kept(tmp_path, [1, 2])
    assert message == f"; the checkpoints of epochs 1, 2 are in {tmp_path}/kept"
    assert (tmp_path / "kept/epoch_2/adapter_model.safetensors").read_text() == "2"
    assert not (tmp_path / "epoch_1").exists() and (tmp_path / "epoch_3").exists()
    assert unlearning.kept(tmp_path, []) == ""
