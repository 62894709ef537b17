"""Any local folder with a causal language model goes through the whole DAG."""

import json

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from excise.attacks.quantization import load_bitsandbytes
from tiny_models import llama_tokenizer, tiny_folder

pytestmark = [pytest.mark.workflow, pytest.mark.extended]

RESULTS = "experiments/one/results"
ONE_TRAJECTORY = """
experiment: one
pathvars:
  data: experiments/one/data
  results: experiments/one/results
  logs: experiments/one/logs
  benchmarks: experiments/one/benchmarks
model: {path: data/inputs/base/other}
generation: {preset: smoke, people: null}
finetuning: {epochs: 1}
oracle: {seeds: [3]}
unlearning:
  trajectories: [{method: gd, learning_rate: [2.0e-4], retain_weight: [1.0], epochs: [1]}]
evaluation:
  max_new_tokens: 4
  checkpoints: {light: [gd/lr0.0002_lambda1/epoch_1], medium: [], heavy: []}
quantization: {precisions: [int8, nf4]}
representations: {middle_layer: 1}
"""


def rows(workspace, table: str) -> list[dict]:
    return json.loads((workspace / f"{RESULTS}/{table}.json").read_text())["rows"]


def run_with(fresh, folder, make_model, *tables: str) -> object:
    """Make the tables whose jobs load the model; the others read records alone."""
    own = fresh.copy(folder)
    make_model(own / "data/inputs/base/other")
    (own / "experiments/one.yaml").write_text(ONE_TRAJECTORY)
    own.run("--", *(f"{RESULTS}/{name}.json" for name in tables), config="experiments/one.yaml")
    return own


def quantized_values(workspace, precision: str) -> list[float | None]:
    """What models of this precision answered: rows about codes need no model that computes."""
    return [
        row["value"]
        for row in rows(workspace, "quantize_results")
        if (row["precision"], row["metric"]) == (precision, "slot_accuracy")
    ]


def test_gpt2_goes_through(fresh, tmp_path):
    tables = ("eval_results", "quantize_results", "repr_results", "depth_results")
    own = run_with(fresh, tmp_path / "own", lambda folder: tiny_folder(folder, "gpt2"), *tables)
    assert rows(own, "repr_results") and rows(own, "depth_results")
    models = {row["model"] for row in rows(own, "eval_results")}
    assert models == {"base", "finetuned", "oracle/seed_3", "unlearn/gd/lr0.0002_lambda1/epoch_1"}
    assert any(value is not None for value in quantized_values(own, "nf4"))


def odd_llama(folder) -> None:
    """A Llama whose layers are 48 wide, which bitsandbytes cannot quantize."""
    tokenizer = llama_tokenizer()
    sizes = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    ids = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    config = LlamaConfig(vocab_size=len(tokenizer), **sizes, **heads, **ids)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_llama_of_sizes_that_cannot_be_quantized_goes_through_without_that_stage(fresh, tmp_path):
    own = run_with(fresh, tmp_path / "own", odd_llama, "quantize_results", "repr_results")
    assert rows(own, "repr_results")
    notes = json.loads((own / f"{RESULTS}/quantize_results.json").read_text())["notes"]
    # Only the AVX512-BF16 kernel refuses sizes; other CPUs run them.
    refused = bool(load_bitsandbytes().functional.has_avx512bf16())
    assert any(value is not None for value in quantized_values(own, "nf4")) != refused
    assert any("no records at precision nf4" in note for note in notes) == refused
