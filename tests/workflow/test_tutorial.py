"""Every command of docs/tutorial.md runs as printed, in a fresh copy of the repository.

Marks in the tutorial, each an HTML comment in the line before a block:
`not run by the test`: a bash block that sets up the environment, which the test already has;
`not compared by the test`: a text block with figures of the embedded model;
`the whole output`: a text block that lists all lines of the output. Of other text blocks, each line
must occur in the output of the bash block before it.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from workflow.conftest import ROOT, Workspace

pytestmark = pytest.mark.extended

TUTORIAL = ROOT / "docs/tutorial.md"
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
NOT_RUN, NOT_COMPARED, WHOLE = "not run by the test", "not compared by the test", "the whole output"
# The default experiment is made smaller: the test is about the commands, not about the figures.
UTILITY, UTILITY_QUESTIONS = "data/inputs/utility_qa.jsonl", 20
SMALLER = {
    r"(?m)^  preset: small$": "  preset: smoke",
    r"(?m)^  people: \d+$": "  people: 4",
    r"(?m)^finetuning:\n  epochs: \d+$": "finetuning:\n  epochs: 1",
    r"(?m)^  max_new_tokens: \d+$": "  max_new_tokens: 8",
}


@dataclass
class Command:
    """A bash block, and the lines of output that the tutorial prints below it."""

    script: str
    runs: bool = True
    expected: list[str] = field(default_factory=list)
    whole: bool = False


def commands(page: str) -> list[Command]:
    """The bash blocks of a page, in order."""
    found: list[Command] = []
    for block in BLOCK.finditer(page):
        if block["language"] == "bash":
            found.append(Command(block["text"], runs=block["mark"] != NOT_RUN))
        elif block["language"] == "text" and block["mark"] != NOT_COMPARED:
            found[-1].expected = plain(block["text"])
            found[-1].whole = block["mark"] == WHOLE
    return found


def plain(output: str) -> list[str]:
    """Lines without what may differ from run to run: spaces and numbers of jobs."""
    lines = (re.sub(r"^Job \d+:", "Job:", " ".join(line.split())) for line in output.splitlines())
    return [line for line in lines if line]


def smaller(workspace: Workspace) -> Workspace:
    """The workspace with a default experiment of few people, facts, epochs and tokens."""
    config = (workspace / "config.yaml").read_text()
    for pattern, replacement in SMALLER.items():
        config, count = re.subn(pattern, replacement, config)
        assert count == 1, f"config.yaml: {count} lines match {pattern}"
    (workspace / "config.yaml").write_text(config)
    questions = (workspace / UTILITY).read_text().splitlines(keepends=True)
    (workspace / UTILITY).write_text("".join(questions[:UTILITY_QUESTIONS]))
    return workspace


def run(command: Command, workspace: Workspace) -> tuple[str, str]:
    """Run a block as a reader would with .venv activated; returns stdout and stderr."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command.script],
        cwd=workspace.folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{command.script}\n{done.stdout}{done.stderr}"
    return done.stdout, done.stderr


def test_marks_and_expected_lines_belong_to_the_block_before_them():
    page = (
        f"<!-- {NOT_RUN} -->\n```bash\nmake run\n```\nThen:\n\n```bash\nls\n```\n"
        f"<!-- {WHOLE} -->\n```text\nJob 7: a  b\n```\n"
        f"```bash\npwd\n```\n<!-- {NOT_COMPARED} -->\n```text\n0.5\n```\n"
    )
    assert commands(page) == [
        Command("make run\n", runs=False),
        Command("ls\n", expected=["Job: a b"], whole=True),
        Command("pwd\n"),
    ]


def test_every_block_of_the_tutorial_is_known():
    page = TUTORIAL.read_text(encoding="utf-8")
    marks = {block["mark"] for block in BLOCK.finditer(page)}
    assert marks <= {None, NOT_RUN, NOT_COMPARED, WHOLE}
    assert {block["language"] for block in BLOCK.finditer(page)} <= {"bash", "text"}
    assert page.count("```") == 2 * len(BLOCK.findall(page))
    assert [command.script.split()[0] for command in commands(page) if not command.runs] == ["git"]


@pytest.mark.workflow
def test_every_command_of_the_tutorial_runs(fresh, tmp_path):
    own = smaller(fresh.copy(tmp_path / "excise"))
    for command in commands(TUTORIAL.read_text(encoding="utf-8")):
        if command.runs:
            stdout, stderr = run(command, own)
            if command.whole:
                assert sorted(plain(stdout)) == sorted(command.expected), command.script
            said = plain(stdout + stderr)
            for line in command.expected:
                assert any(line in one for one in said), f"{command.script}: no {line!r} in {said}"
    assert not (own / "experiments/tutorial.yaml").exists()
