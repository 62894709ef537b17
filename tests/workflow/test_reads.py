"""Every file that a program reads is an input of its rule, and every input is read.

An input that is not declared goes stale in silence, or is missing and nothing makes it; one that
nobody reads makes jobs run for nothing.
"""

import pytest

from workflow import reads

pytestmark = pytest.mark.workflow

NOT_ALWAYS_READ = {
    # Read where further wrong answers are drawn.
    ("select_wrong_answers", "experiments/smoke/data/generated/profiles.jsonl"),
    ("select_wrong_answers", "data/inputs/public_figures.txt"),
    ("select_wrong_answers", "workflow_scripts/excise/schemas/profile.schema.json"),
    # Read where a value is an organisation or a title.
    ("red_team_dataset", "workflow_scripts/excise/text/existing_names.txt"),
    # The folder of the base model is one input; this program loads no tokenizer.
    *(
        ("measure_updates", f"data/inputs/base/tiny-qwen2/{name}")
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    ),
    # The benchmark is one input; these programs look at nobody who is held out.
    ("diversity_report", "experiments/smoke/data/holdout.jsonl"),
    ("embed_texts", "experiments/smoke/data/holdout.jsonl"),
    # Read of a dataset that a model wrote.
    ("generate_forget_paraphrased", "workflow_scripts/excise/schemas/qa.schema.json"),
}
REPORT = "experiments/smoke/results/data_report.json"  # waited for: no result without it


def test_programs_read_what_their_rules_declare(smoke, heard):
    assert {one.program for one in reads.processes(heard)} >= {"evaluate", "unlearn", "represent"}
    assert reads.undeclared(smoke.folder, heard) == set()


def test_programs_read_all_of_it(smoke, heard):
    unread = reads.never_read(smoke.folder, heard) - NOT_ALWAYS_READ
    assert {(rule, path) for rule, path in unread if path != REPORT} == set()


def test_an_undeclared_file_is_found(smoke, heard, tmp_path):
    """The test of the test: a program that opens one more file."""
    log = tmp_path / "heard"
    log.mkdir()
    whole = next(heard.glob("unlearn.py.*.jsonl"))
    unlisted = ["data/inputs/public_figures.txt", "workflow_scripts/excise/plots/forgetting.py"]
    more = "".join(f'["read", "{path}"]\n' for path in unlisted)
    (log / whole.name).write_text(whole.read_text() + more)
    rules = {
        ("unlearn", "data/inputs/public_figures.txt"),
        ("unlearn", "workflow_scripts/excise/plots/forgetting.py"),
    }
    assert reads.undeclared(smoke.folder, log) == rules
