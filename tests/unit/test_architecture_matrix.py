"""Run the programs on small random models of many architectures.

Every number is compared with plain transformers and peft, one sequence at a time; an unsupported
model is refused in one line. Prompts are longer than the sliding windows (`tiny_models.WINDOW`).
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.pytorch_utils import Conv1D

import evaluate
import finetune_lora
import job_settings
import measure_depth
import quantize
import reference_logprobs
import represent
import unlearn
from excise.attacks.quantization import load_bitsandbytes
from excise.benchmark.items import SETS, load_items
from excise.errors import InputError
from excise.modeling.chat import encode, encode_prompt
from excise.modeling.settings import LoraSettings, ModelCheckSettings
from excise.records import read_json, read_jsonl
from excise.settings import parse
from excise.training.finetuning import finetune
from excise.training.loop import epoch_order
from excise.training.settings import FinetuningSettings
from excise.workflow.model_check import check_model
from small_benchmark import write_benchmark
from tiny_models import MATRIX, WINDOW, matrix_folder

WORKING = [name for name in MATRIX if name != "mamba"]
EXPERTS = ("mixtral", "qwen3_moe")
SYSTEM_PROMPT = "Be brief."
NEW_TOKENS = 6
TRAINED = "unlearn/npo/tried/epoch_1"
MODEL = {"dtype": "float32", "system_prompt": SYSTEM_PROMPT, "threads": 1, "gpu": 0}
ASKING = {"system_prompt": SYSTEM_PROMPT, "batch_size": 16, "max_new_tokens": NEW_TOKENS}
TRAINING = {
    "batch_size": 8,
    "warmup_steps": 0,
    "max_grad_norm": 1.0,
    "weight_decay": 0.0,
    "autocast": "none",
    "seed": 0,
}
LORA = {"rank": 2, "alpha": 4, "dropout": 0.0, "target_modules": "all-linear"}
FINETUNING = {"model": MODEL, "training": TRAINING, "learning_rate": 0.01, "epochs": 1} | {
    "lora": LORA
}
UNLEARNING = {"model": MODEL, "training": TRAINING, "epochs": [1], "method": "npo"} | {
    "hyperparameters": {"learning_rate": 0.01, "beta": 0.1, "retain_weight": 0.0}
}
REFERENCE = {"model": MODEL, "batch_size": 8, "autocast": "none", "seed": 0}
CHECKED = ModelCheckSettings(
    SYSTEM_PROMPT,
    LoraSettings(rank=2, alpha=4, dropout=0.0, target_modules="all-linear"),
    NEW_TOKENS,
)
LOSS_TOLERANCE = 1e-4  # nats a token
TOLERANCE = 1e-3  # nats an answer of some 30 tokens


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory) -> list[str]:
    return write_benchmark(tmp_path_factory.mktemp("matrix"), people=1)


@pytest.fixture(scope="module", params=WORKING)
def study(request, benchmark, tmp_path_factory) -> SimpleNamespace:
    """A model after finetune, unlearn, evaluate, quantize and represent."""
    folder = tmp_path_factory.mktemp(request.param)
    base = matrix_folder(folder / "base", request.param)
    stop_early(base)
    models, data = folder / "models", Path(benchmark[1])
    shared = ["--base", str(base)]
    sets = ["--sf", str(data / "sf.jsonl"), "--sr", str(data / "sr.jsonl")]
    finetuned, reference = str(models / "finetuned"), str(models / "reference.json")
    start = [*shared, "--adapter", finetuned]
    trajectory = str((models / TRAINED).parent)
    npo = ["--hp", json.dumps(UNLEARNING)]
    finetune_lora.main([*shared, *sets, "--hp", json.dumps(FINETUNING), "--out", finetuned])
    scoring = ["--hp", json.dumps(REFERENCE)]
    reference_logprobs.main([*start, *sets[:2], *scoring, "--out", reference])
    unlearn.main([*start, *sets, "--reference", reference, *npo, "--out", trajectory])
    asked = [*shared, *benchmark, "--models-dir", str(models)]
    reading = {"system_prompt": SYSTEM_PROMPT, "batch_size": 16}
    for program, hp, own in (
        (evaluate, job_settings.hp("evaluation_settings", **ASKING), ["base", TRAINED]),
        (
            quantize,
            job_settings.hp("quantization_settings", **ASKING),
            [TRAINED, "--precisions", "nf4"],
        ),
        (
            represent,
            job_settings.hp("representation_settings", **reading),
            [TRAINED, "--reference", "finetuned"],
        ),
    ):
        out = str(folder / program.__name__)
        program.main([*asked, "--hp", hp, "--out-dir", out, "--models", *own])
    patching = ["--hp", job_settings.hp("depth_settings", depth_sets=None, **reading)]
    patching += ["--target", "finetuned", "--models-dir", str(models)]
    patching += ["--out-dir", str(folder / "depth")]
    measure_depth.main([*shared, *benchmark[:2], *patching, "--models", "finetuned", TRAINED])
    return SimpleNamespace(
        name=request.param,
        folder=folder,
        base=base,
        models=models,
        items=load_items(data, benchmark[3], SETS),
        sf=read_jsonl(data / "sf.jsonl", "item"),
        sr=read_jsonl(data / "sr.jsonl", "item"),
        tokenizer=AutoTokenizer.from_pretrained(base),
    )


def stop_early(base: Path) -> None:
    """Let every fifth token end an answer, so that rows end at different steps."""
    file = base / "generation_config.json"
    settings = read_json(file)
    stops = [settings["eos_token_id"], *range(3, 256, 5)]
    file.write_text(json.dumps(settings | {"eos_token_id": stops}))


def plain_model(study, adapter: str | None) -> torch.nn.Module:
    """The model and its adapter, loaded by plain transformers and peft."""
    model = AutoModelForCausalLM.from_pretrained(study.base, attn_implementation="eager")
    return (PeftModel.from_pretrained(model, study.models / adapter) if adapter else model).eval()


@torch.inference_mode()
def plain_logprob(study, model: torch.nn.Module, question: str, answer: str) -> tuple[float, int]:
    """Log-probability of an answer, and its number of tokens."""
    encoded = encode(study.tokenizer, question, answer, SYSTEM_PROMPT)
    assert len(encoded.prompt_ids) > 2 * WINDOW
    logits = model(input_ids=torch.tensor([encoded.input_ids])).logits[0]
    logprobs = logits[len(encoded.prompt_ids) - 1 : -1].double().log_softmax(dim=-1)
    return logprobs.gather(1, torch.tensor(encoded.answer_ids)[:, None]).sum().item(), len(logprobs)


def plain_generation(study, model: torch.nn.Module, question: str) -> tuple[str, bool]:
    """Greedy answer by transformers' own `generate`, and whether it ended before the limit."""
    prompt = torch.tensor([encode_prompt(study.tokenizer, question, SYSTEM_PROMPT)])
    made = model.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        pad_token_id=0,
    )[0, prompt.shape[1] :].tolist()
    stopped = made[-1] in model.generation_config.eos_token_id
    text = study.tokenizer.decode(made[: -1 if stopped else None], skip_special_tokens=True)
    return text.strip(), stopped


def test_training_scores_answers_like_transformers(study):
    """The loss of the first step is that of the base; NPO's reference is the finetuned model."""
    base, finetuned = plain_model(study, None), plain_model(study, "finetuned")
    records = study.sf + study.sr
    order = epoch_order(len(records), TRAINING["seed"], 1)[: TRAINING["batch_size"]]
    batch = [records[index] for index in order]
    read = [plain_logprob(study, base, one["question"], one["answer"]) for one in batch]
    loss = -sum(logprob for logprob, _ in read) / sum(tokens for _, tokens in read)
    log = read_json(study.models / "finetuned/training_log.json")
    assert log["steps"][0]["loss"] == pytest.approx(loss, abs=LOSS_TOLERANCE)
    reference = read_json(study.models / "reference.json")
    for one in study.sf:
        expected, _ = plain_logprob(study, finetuned, one["question"], one["answer"])
        assert reference[one["id"]] == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("name", ["base", TRAINED])
def test_evaluation_equals_plain_transformers_and_peft(study, name):
    model = plain_model(study, None if name == "base" else name)
    records = lines(study.folder / f"evaluate/{name}/items.jsonl")
    stopped = set()
    for item in sample(study.items):
        record = records[item.id]
        text, ended = plain_generation(study, model, item.question)
        assert (record["generation"], record["stopped"]) == (text, ended)
        stopped.add((ended, len(text)))
        if item.paraphrased_answer is None:
            continue
        own = [record["logprob_answer"], record["logprob_paraphrase"], *record["logprob_wrong"]]
        options = [item.answer, item.paraphrased_answer, *item.wrong_answers]
        expected = [plain_logprob(study, model, item.question, one)[0] for one in options]
        assert own == pytest.approx(expected, abs=TOLERANCE)
    # Gemma 3 repeats a special token: embeddings are scaled, and the head is tied to them.
    assert len(stopped) > 1 or study.name == "gemma3"


def test_patched_states_of_the_same_model_change_nothing_and_those_of_another_do(study):
    for name, unchanged in (("finetuned", True), (TRAINED, False)):
        records = list(all_lines(study.folder / f"depth/{name}/items.jsonl"))
        assert len(records) > 10
        same = [set(one["patched"]) == {one["logprob"]} for one in records]
        assert all(same) if unchanged else not any(same)


def test_hidden_states_are_those_of_transformers(study):
    """Angles between two models at the last token of a prompt, all layers but the last."""
    records = {
        record["id"]: record
        for record in all_lines(study.folder / f"represent/{TRAINED}/items.jsonl")
        if record["position"] == "last_prompt"
    }
    models = [plain_model(study, name) for name in ("finetuned", TRAINED)]
    moved = 0.0
    for item in sample([item for item in study.items if item.paraphrased_answer]):
        if item.id not in records:
            continue  # paraphrased forget questions have no hidden states
        prompt = encode_prompt(study.tokenizer, item.question, SYSTEM_PROMPT)
        with torch.inference_mode():
            one, other = (
                torch.stack(
                    model(
                        input_ids=torch.tensor([prompt]), output_hidden_states=True
                    ).hidden_states[:-1]
                )[:, 0, -1].double()
                for model in models
            )
        cosine = torch.nn.functional.cosine_similarity(one, other, dim=-1).clamp(-1, 1)
        expected = torch.rad2deg(torch.arccos(cosine)).tolist()
        angles = records[item.id]["angle_degrees"][: len(expected)]
        assert angles == pytest.approx(expected, abs=0.05)
        moved = max(moved, *angles)
    assert moved > 0.2


def test_quantized_answers_are_those_of_rounded_weights(study):
    """NF4 codes computed by hand from the merged weights of plain peft, in fp32."""
    weights = read_json(study.folder / f"quantize/{TRAINED}/weights.json")
    assert 0.05 < weights["quantization_error"]["nf4"] < 0.15
    records = lines(study.folder / f"quantize/{TRAINED}/nf4.jsonl")
    if study.name in EXPERTS:
        assert all(record["logprob_answer"] < 0 for record in records.values())
        return
    model = plain_model(study, TRAINED).merge_and_unload()
    functional = load_bitsandbytes().functional
    head = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head:
            turned = isinstance(module, Conv1D)
            weight = module.weight.data.T if turned else module.weight.data
            codes, state = functional.quantize_4bit(
                weight.contiguous(), blocksize=64, quant_type="nf4"
            )
            rounded = functional.dequantize_4bit(codes, state)
            module.weight.data = rounded.T if turned else rounded
    differences = []
    for item in sample([item for item in study.items if item.id in records]):
        expected, tokens = plain_logprob(study, model, item.question, item.answer)
        differences.append(abs(records[item.id]["logprob_answer"] - expected) / tokens)
    assert max(differences) < 0.05  # a CPU kernel may round scales and inputs to bf16


def test_the_check_before_the_first_job_accepts_it(study):
    check_model(study.base, CHECKED)


def test_mamba_is_refused_in_one_line(tmp_path):
    base = matrix_folder(tmp_path / "base", "mamba")
    reason = rf"^{base}: mamba stores a state instead of keys and values"
    with pytest.raises(InputError, match=reason):
        check_model(base, CHECKED)
    with pytest.raises(InputError, match=reason):
        finetune(base, [], parse(FinetuningSettings, FINETUNING), tmp_path)


def lines(path: Path) -> dict[str, dict]:
    """Records of a file, by id."""
    return {record["id"]: record for record in all_lines(path)}


def all_lines(path: Path) -> list[dict]:
    """Records of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def sample(items: list) -> list:
    """Some items of different sets and lengths, including the longest question."""
    longest = max(items, key=lambda item: len(item.question))
    return [*items[:: max(1, len(items) // 5)], longest]
