"""Tests marked `extended`: where they come, and when they are skipped."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = {
    "test_a.py": "pytestmark = pytest.mark.extended\ndef test_one(): pass\n",
    "test_b.py": "@pytest.mark.extended\ndef test_two(): pass\ndef test_three(): pass\n",
}


@pytest.mark.parametrize(("seconds", "skipped"), [(None, 0), (600, 0), (-1, 2)])
def test_extended_files_come_last_and_late_ones_are_skipped(tmp_path, seconds, skipped):
    shutil.copy(TESTS / "conftest.py", tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).write_text(f"import pytest\n{content}")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("EXCISE_")}
    environment["PYTHONPATH"] = str(TESTS)
    if seconds is not None:
        environment["EXCISE_EXTENDED_UNTIL"] = str(int(time.time()) + seconds)
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    ran = [line.split("::")[1].split()[0] for line in done.stdout.splitlines() if "::" in line]
    assert ran == ["test_two", "test_three", "test_one"]
    assert done.stdout.count("SKIPPED") == skipped
    assert done.returncode == 0
