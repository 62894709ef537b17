"""The line of a whole run: jobs done and time left, on a terminal, in a pipe, beside other bars."""

import contextlib
import fcntl
import io
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from snakemake_interface_logger_plugins.tests import TestLogHandlerBase

import snakemake_logger_plugin_excise as plugin
from excise.llm.progress import ProgressLine, say, tell_run
from excise.llm.tally import Tally
from excise.workflow import run_line
from excise.workflow.run_line import RunLine
from excise.workflow.time_left import Plan, PlannedJob, TimeLeft, plan_of, recorded_seconds

SCRIPTS = Path(__file__).parents[2] / "workflow_scripts"


# --- the time left ---


def plan(*jobs, **recorded) -> Plan:
    made = [PlannedJob(number, *job) for number, job in enumerate(jobs)]
    estimates = {job.stage: job.estimate for job in made if job.estimate}
    return Plan(tuple(made), recorded, estimates)


def test_the_time_left_is_the_work_left_by_the_pace():
    left = TimeLeft(plan(("train", 100.0), ("train", 100.0), (None,), train=100.0), now=0)
    assert str(left.estimate(0)) == "about 3 min left"  # 200 s of work, one second per second
    left.start(0, 0)
    left.finish(0, 40)  # 100 s of work in 40 s; the first 10 s of the pace are assumed
    assert left.estimate(40).seconds == pytest.approx(100 / (110 / 50))
    left.start(1, 40)
    assert left.estimate(50).seconds == pytest.approx(90 / (120 / 60))
    left.finish(1, 90)
    assert left.estimate(90).seconds == 0
    left.finish(2, 90)
    assert str(left.estimate(90)) == "" and left.done == left.total == 3


def test_a_job_that_takes_longer_than_before_leaves_no_negative_time():
    left = TimeLeft(plan(("train", 10.0), train=10.0), now=0)
    left.start(0, 0)
    assert left.estimate(500).seconds == 0
    assert str(left.estimate(500)) == "less than a minute left"


def test_jobs_without_a_record_take_the_time_of_their_stage():
    left = TimeLeft(plan(("evaluate",), ("evaluate", 30.0), evaluate=20.0), now=0)
    assert left.estimate(0).seconds == pytest.approx(50)
    assert left.estimate(0).estimated == 0


def test_without_any_record_jobs_take_as_long_as_others_and_this_is_said():
    left = TimeLeft(plan(("train",), ("ask",), ("ask",), (None,)), now=0)
    assert left.estimate(5).seconds is None and str(left.estimate(5)) == ""
    left.start(0, 0)
    left.finish(0, 600)
    # Three jobs are left; one of them has no program, the others take as long as the finished one.
    assert left.estimate(600).seconds == pytest.approx(1200)
    assert str(left.estimate(600)) == "about 20 min left (a rough estimate)"
    left.start(1, 600)
    left.finish(1, 660)
    assert left.estimate(660).estimated == 0
    assert left.estimate(660).seconds == pytest.approx(60)


def test_nothing_known_of_any_job_left_is_said_so():
    left = TimeLeft(plan(("ask",), ("tell",), train=90.0), now=0)
    assert str(left.estimate(0)) == "about 3 min left (a rough estimate)"
    left = TimeLeft(plan(("ask",), ("train", 90.0), train=90.0), now=0)
    assert str(left.estimate(0)) == "about 3 min left (partly a rough estimate)"


def test_jobs_with_a_model_take_their_estimated_share_of_what_others_took():
    models = [("finetune", None, 10.0), ("evaluate", None, 20.0), ("evaluate", None, 20.0)]
    left = TimeLeft(plan(("write",), *models, ("plot",)), now=0)
    left.start(0, 0)
    left.finish(0, 4)
    # What a text takes says nothing of the models, so nothing is said of the time.
    assert left.estimate(4).seconds is None and str(left.estimate(4)) == ""
    left.start(1, 4)
    left.finish(1, 34)  # 3 s per estimated minute
    pace = (4 + 30 + 10) / (34 + 10)
    assert left.estimate(34).seconds == pytest.approx((60 + 60 + 4) / pace)
    left.start(2, 34)
    left.finish(2, 134)  # the real time of its stage replaces the estimate
    pace = (4 + 30 + 100 + 10) / (134 + 10)
    assert left.estimate(134).seconds == pytest.approx((100 + 4) / pace)
    assert str(left.estimate(134)) == "about 2 min left (partly a rough estimate)"  # of the plot


def test_without_a_short_job_the_shortest_known_time_stands_for_one():
    left = TimeLeft(plan(("finetune", 30.0, 10.0), ("plot",), finetune=30.0), now=0)
    assert left.estimate(0).seconds == pytest.approx(60)


def test_failed_and_dropped_jobs():
    left = TimeLeft(plan(("a", 60.0), ("b", 60.0), a=60.0, b=60.0), now=0)
    left.start(0, 0)
    left.fail(0)
    assert left.estimate(0).seconds == pytest.approx(120)
    left.drop(1)
    left.drop(7)
    assert left.total == 1 and left.estimate(0).seconds == pytest.approx(60)
    left.start(0, 100)  # once more
    left.finish(0, 160)
    left.finish(0, 170)
    left.finish(9, 170)
    assert left.took == {0: 60}


def rule(job: str) -> SimpleNamespace:
    """The rule of a job."""
    return SimpleNamespace(name=job.split("/")[0])


def test_a_plan_reads_the_times_of_earlier_jobs(tmp_path):
    folder = tmp_path / "benchmarks"
    for name, seconds in (("evaluate/base", 10), ("evaluate/ga/lr1", 30), ("finetune", 50)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.jsonl").write_text(f'{{"s": {seconds}, "max_rss": 1}}\n')
    (folder / "broken.jsonl").write_text("{")
    names = ["evaluate/base", "evaluate/ga/lr1", "evaluate/ga/lr2", "finetune", "broken"]
    jobs = [
        SimpleNamespace(jobid=number, benchmark=str(folder / f"{name}.jsonl"), rule=rule(name))
        for number, name in enumerate(names)
    ]
    jobs.append(SimpleNamespace(jobid=9, benchmark=None, rule=rule("all")))
    minutes = {"evaluate": 2.0, "finetune": 7.0}
    made = plan_of(jobs[1:], jobs, str(folder), minutes.get)
    assert made.recorded == {"evaluate": 20, "finetune": 50}
    assert made.estimates == {"evaluate": 2, "finetune": 7}
    assert made.jobs == (
        PlannedJob(1, "evaluate", 30, 2.0),
        PlannedJob(2, "evaluate", None, 2.0),
        PlannedJob(3, "finetune", 50, 7.0),
        PlannedJob(4, "broken", None),
        PlannedJob(9, None, None),
    )
    assert recorded_seconds(folder / "missing.jsonl") is None


# --- lines of programs ---


@pytest.fixture
def screen():
    """A line on a stand-in for a terminal."""
    text = io.StringIO()
    line = RunLine(Console(file=text, force_terminal=True, width=110, color_system=None))
    line.begin(plan(("ask", 60.0), ask=60.0))
    line.start(0, "Writing the facts")
    yield line, text
    line.close()


def wait_for(condition) -> None:
    assert any(condition() or run_line.time.sleep(0.02) for _ in range(250)), "timed out"


def test_the_bar_of_a_program_is_part_of_the_line(screen, monkeypatch, capsys):
    line, text = screen
    monkeypatch.setenv("EXCISE_BAR", line.pipe)
    now = [0.0]
    asked = ProgressLine("facts", Tally(total=9, accepted=4, waiting=5), clock=lambda: now[0])
    now[0] = 1.0
    asked.update(in_flight=2, tokens=300, usd=0.0)
    wait_for(lambda: line.stage().startswith("facts: 4 of 9 accepted"))
    say("facts: the endpoint answers again", asked)
    wait_for(lambda: "the endpoint answers again" in text.getvalue())
    asked.close(0, 300, 0.0)
    wait_for(lambda: line.stage() == "Writing the facts")
    assert "facts: 4 of 9 accepted" in capsys.readouterr().out  # the log has its lines too


def test_a_program_that_was_killed_leaves_the_line(screen, monkeypatch):
    line, _ = screen
    line.hear({"program": "facts", "line": "facts: 4 of 9 accepted"})
    assert line.stage() == "facts: 4 of 9 accepted"
    monkeypatch.setattr(run_line, "TOLD_S", 0.0)
    assert line.stage() == "Writing the facts"


def test_a_program_that_outlives_the_run_is_not_held_up(screen, monkeypatch, tmp_path):
    line, _ = screen
    monkeypatch.setenv("EXCISE_BAR", line.pipe)
    line.close()
    tell_run(say="too late")
    os.mkfifo(tmp_path / "unread")
    monkeypatch.setenv("EXCISE_BAR", str(tmp_path / "unread"))
    tell_run(say="nobody listens")
    say("nobody listens")
    assert not Path(line.pipe).exists()


def test_a_broken_message_is_ignored(screen):
    line, text = screen
    with Path(line.pipe).open("w") as pipe:
        pipe.write('no JSON\n[]\n{"line": "x"}\n{"say": "a whole one"}\n')
    wait_for(lambda: "a whole one" in text.getvalue())


# --- the plugin, in Snakemake ---


class TestLogHandler(TestLogHandlerBase):
    """The checks that Snakemake's developers wrote for such plugins."""

    __test__ = True

    def get_log_handler_cls(self):
        return plugin.LogHandler

    def get_log_handler_settings(self):
        return None


SNAKEFILE = """
import sys
sys.path.insert(0, "SCRIPTS")
from excise.workflow.time_left import plan_of
from excise.workflow.unchanged import skip_unchanged_jobs
from snakemake_logger_plugin_excise import handler_of
skip_unchanged_jobs()

onstart:
    if handler := handler_of(workflow):
        handler.begin(plan_of(workflow.dag.needrun_jobs(), workflow.dag.jobs, "benchmarks"))

rule all:
    input: "c.txt", "d.txt"

rule a:
    output: "a.txt"
    benchmark: "benchmarks/a.jsonl"
    params: config["test"]
    message: "Making a"
    shell: "echo a > {output}"

rule b:
    input: "a.txt"
    output: "{name}.txt"
    log: "{name}.log"
    benchmark: "benchmarks/b/{name}.jsonl"
    wildcard_constraints: name="[cd]"
    message: "Copying to {wildcards.name}"
    shell: "echo told {wildcards.name} > {log}; {config[test]} {wildcards.name}; cp a.txt {output}"
""".replace("SCRIPTS", str(SCRIPTS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    (folder / "Snakefile").write_text(SNAKEFILE)
    return folder


def command(test: str) -> list[str]:
    words = [sys.executable, "-m", "snakemake", "--cores", "1", "--show-failed-logs", "-k"]
    return [*words, "--config", f"test={test}", "--logger", "excise"]


def in_pipe(folder: Path, test: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(
        command(test), cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def on_terminal(folder: Path, test: str) -> tuple[int, str]:
    keyboard, screen = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS), "TERM": "xterm"}
    streams = {"stdin": screen, "stdout": screen, "stderr": screen}
    process = subprocess.Popen(
        command(test), cwd=folder, env=environment, start_new_session=True, **streams
    )
    os.close(screen)
    said = b""
    with contextlib.suppress(OSError):  # so Linux tells that the process has ended
        while chunk := os.read(keyboard, 1 << 16):
            said += chunk
    return process.wait(), said.decode()


def test_in_a_pipe_there_are_plain_lines_and_the_log_file_has_all(folder):
    said = in_pipe(folder, "true")
    lines = [line for line in said.splitlines() if "jobs done" in line]
    left = "less than a minute left (a rough estimate)"
    assert lines[0].startswith(f"1 of 4 jobs done, {left}: Making a")
    assert lines[1].startswith("2 of 4 jobs done, less than a minute left: Copying to ")
    assert re.fullmatch(r"4 of 4 jobs done in \d+ s", lines[-1])
    assert "\x1b" not in said and "Reason:" not in said
    (log,) = re.findall(r"Complete log\(s\): (.*)", said)
    assert "Reason: Missing output files: a.txt" in Path(log).read_text()
    # The first job makes the same bytes again, so the jobs behind it are dropped.
    (folder / "d.txt").unlink()
    again = in_pipe(folder, ":")
    assert re.search(r"^3 of 3 jobs done in \d+ s$", again, flags=re.MULTILINE), again


def test_on_a_terminal_one_line_changes_and_errors_stand_above_it(folder):
    for name in "acd":
        (folder / f"{name}.txt").unlink(missing_ok=True)
    (folder / "benchmarks/b").mkdir(parents=True, exist_ok=True)
    for name in ("a", "b/c", "b/d"):
        (folder / f"benchmarks/{name}.jsonl").write_text('{"s": 200}')
    status, said = on_terminal(folder, "sleep 0.6; grep d <<<")
    assert status == 1
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    assert "0/4 jobs, about 10 min left" in plain  # before the first job: three records of 200 s
    assert re.search(r"1/4 jobs, [a-z0-9 ]* left: Copying to [cd]", plain), plain
    assert "Error in rule b" in plain and "told c" in plain and "told d" not in plain
    assert re.search(r"2 of 4 jobs done in \d+ s\r\n", plain)
    assert "Reason:" not in plain and "a rough estimate" not in plain


@pytest.mark.parametrize(
    "message, level, dryrun, shown",
    [
        ("Select jobs to execute...", logging.INFO, False, False),
        ("Select jobs to execute...", logging.INFO, True, True),
        ("Nothing to be done (all requested files are present)", logging.INFO, False, True),
        ("a model is at fault", logging.WARNING, False, True),
        (None, logging.INFO, False, False),
    ],
)
def test_what_is_printed_besides_the_line(capsys, message, level, dryrun, shown):
    settings = SimpleNamespace(stdout=dryrun, dryrun=dryrun, verbose=False)
    handler = plugin.LogHandler(settings, None)
    handler.emit(logging.LogRecord("snakemake", level, "", 0, message, (), None))
    handler.close()
    streams = capsys.readouterr()
    assert (streams.out if dryrun else streams.err).strip() == (message if shown else "")
