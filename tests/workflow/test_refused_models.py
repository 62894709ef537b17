"""A model that cannot do what the experiment asks is refused before the first job."""

import pytest

from workflow.conftest import BASE

pytestmark = pytest.mark.workflow

SILENT = "{% for m in messages if m.role != 'system' %}{{ m.content }}<|im_end|>{% endfor %}"


def test_a_template_that_drops_the_system_prompt_is_refused_before_any_job(fresh, tmp_path):
    own = fresh.copy(tmp_path / "own")
    (own / BASE / "chat_template.jinja").write_text(SILENT)
    overlay = own / "experiments/smoke.yaml"
    overlay.write_text(overlay.read_text() + "\nmodel: {system_prompt: Be brief.}\n")
    verdicts = own / ".snakemake/excise_models"

    profiles = "experiments/smoke/data/generated/profiles.jsonl"
    own.run(profiles)  # asks no model
    assert not verdicts.exists()
    refused = own.snakemake("all")
    assert refused.returncode == 1
    assert f"error: {BASE}: the chat template leaves the system message out" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (own / "experiments/smoke/data/generated/facts.jsonl").exists()
    assert "will stop before its first job: data/inputs/base/tiny-qwen2: the chat" in own.run(
        "-n", "all"
    )
    [verdict] = verdicts.iterdir()
    (own / BASE / "chat_template.jinja").write_text(SILENT.replace(" if m.role != 'system'", ""))
    finetuned = "experiments/smoke/results/models/finetuned/adapter_model.safetensors"
    own.run(finetuned)
    [passed] = set(verdicts.iterdir()) - {verdict}
    assert passed.read_text() == ""
