"""A server nobody here wrote: `transformers serve` with the embedded base model.

The model answers nonsense, so no benchmark comes of it. What counts: the server ignores
`response_format`, which the client must find out; every answer is kept; each is asked for again
once at most; and the stage ends with one line.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

import model_author
from excise.errors import InputError

pytestmark = pytest.mark.workflow

BASE = "data/inputs/base/tiny-qwen2"
PEOPLE = 2


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """URL of a running server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = Path(sys.executable).parent / "transformers"
    command = [program, "serve", BASE, "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    log = tmp_path_factory.mktemp("serve") / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*command, "--device", "cpu"],
            cwd=model_author.ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            wait_until_up(f"http://127.0.0.1:{port}/health", server, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.kill()


def wait_until_up(url: str, server: subprocess.Popen, log: Path, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(log.read_text(errors="replace"))


def test_nonsense_is_kept_asked_again_once_and_named(served, tmp_path):
    settings = {
        "base_url": served,
        "model": BASE,
        "api_key_env": None,
        "resample_max": 0,
        "limits": {"max_in_flight": 1},
        "retry": {"longer_max": 0},
    }
    arguments = model_author.arguments("profiles", tmp_path, settings, {"people": PEOPLE}, 0.05)
    with pytest.raises(InputError, match=r"2 of 2 people have no text .* keeps all answers"):
        model_author.PROGRAMS["profiles"].main(arguments)
    lines = journal(tmp_path)
    found = {line["name"]: line["value"] for line in lines if line["t"] == "cap"}
    assert found == {"model": f"{BASE}@main", "rung": "prompt"}
    asked = Counter(line["subject"] for line in lines if line["t"] == "req")
    assert asked == {"json_schema": 1, "json_object": 1, "p000": 2, "p001": 2}
    assert [line["status"] for line in lines if line["t"] == "val"] == ["invalid"] * PEOPLE
    answers = [json.loads(line["body"]) for line in lines if line["t"] == "res"]
    assert len(answers) == sum(asked.values())
    assert all(answer["choices"][0]["message"]["content"] for answer in answers)

    with pytest.raises(InputError, match="profiles: 2 of 2 people have no text without faults"):
        model_author.PROGRAMS["profiles"].main(arguments)
    assert journal(tmp_path) == lines  # nothing was asked again


def journal(folder: Path) -> list[dict]:
    text = (folder / "generated/journal/profiles.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]
