"""What Snakemake would answer with a traceback, before it reads the Snakefile, is one line."""

import pytest

from excise.config.command_line import check_command_line


def refusal(*arguments):
    with pytest.raises(SystemExit) as error:
        check_command_line(arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "found nothing; a config is a mapping of keys"),
        (b"- a\n", "found ['a']; a config is a mapping of keys"),
        (b"a: &a\n  b: *a\n", "a.b: an anchor (&) refers to itself (*)"),
        (b"a: 1\nb: caf\xe9\n", ":2: not UTF-8 (byte 0xe9)"),
        (b"a: b\x00\n", "not a config in YAML"),
        (b"a: 2026-13-01\n", "not a config in YAML (month must be in 1..12"),
        (b"[" * 5000, "nested too deeply"),
        (b"? [a, b]\n: 1\n", ":1: not a config in YAML"),
        (b"a: 1\na: 2\n", ":2: not a config in YAML (key 'a' is given twice)"),
        (b"pathvars: text\n", "pathvars: found 'text'; it must be a mapping"),
        (b"pathvars: {results: 3}\n", "pathvars.results: found 3; it must be text"),
        (b"pathvars:\n", "pathvars: found None; it must be a mapping"),
    ],
)
def test_a_config_file_that_is_none_is_named(tmp_path, content, said):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    line = refusal("--cores", "1", f"--configfile={path}", "all")
    assert line.startswith(f"error: {path}") and said in line


def test_a_missing_config_file_is_named(tmp_path):
    assert "no.yaml: cannot read (No such" in refusal("--configfile", str(tmp_path / "no.yaml"))


def test_a_target_taken_for_a_config_file_is_explained(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("a: 1\n")
    line = refusal("--configfile", str(path), "all")
    assert line == "error: --configfile all: no such file; write --configfile=FILE"


@pytest.mark.parametrize(
    "text, said",
    [
        ("foo", "--config foo: `=` is missing; write key=value"),
        ("a.b=3", "'a.b' is not a key"),
        ("pathvars=text", "pathvars: found 'text'; it must be a mapping"),
    ],
)
def test_an_override_that_is_none_is_named(text, said):
    assert said in refusal("--config", "finetuning={epochs: 3}", text)


def test_what_is_right_passes(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("a: &a {b: 1}\nc: *a\nd: *a\n")  # one anchor used twice holds no cycle
    check_command_line([f"--configfile={path}", "all", "--config", "a={b: 2}", "-n", "all"])
    check_command_line(["-C", "pathvars={results: out}", "--", "foo"])
