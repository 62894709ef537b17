"""The training loop and the programs that train, on tiny random models."""

import itertools
import json
import math
import os
import subprocess
from pathlib import Path

import peft
import pytest
import torch

import train_retain_model
from excise.errors import InputError
from excise.modeling import differentiable_logprobs
from excise.modeling.adapters import load_adapter
from excise.modeling.base import load_base, load_tokenizer
from excise.modeling.chat import encode
from excise.modeling.differentiable_logprobs import answer_logprobs, cross_entropy
from excise.modeling.scoring import score_answers
from excise.records import read_json
from excise.training.loop import cycling_batches, epoch_batches, train
from excise.training.settings import TrainingSettings
from excise.unlearning.methods import ga
from tiny_models import tiny_folder
from tiny_study import FINETUNE, TRAINING, run_unlearn, tiny_study, weights


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return tiny_study(tmp_path_factory.mktemp("study"))


@pytest.mark.parametrize(
    "hp",
    [
        {"method": "ga"},
        {"method": "gd", "retain_weight": 1.0},
        {"method": "npo", "beta": 0.1},
        {"method": "npo", "beta": 0.1, "retain_weight": 0.5},
        {"method": "simnpo", "retain_weight": 0.5},
        {"method": "idk_dpo", "retain_weight": 0.5},
        {"method": "rmu", "steering_layer": 1, "steering_scale": 3.0},
        {"method": "task_vector"},
        {"method": "ft"},
    ],
    ids=lambda hp: "-".join(map(str, hp.values())),
)
def test_a_checkpoint_on_the_way_is_the_shorter_run_bit_by_bit(study, tmp_path, hp):
    run_unlearn(study, tmp_path / "long", epochs=[1, 2, 4], **hp)
    run_unlearn(study, tmp_path / "short", epochs=[2], **hp)
    assert weights(tmp_path / "long/epoch_2") == weights(tmp_path / "short/epoch_2")
    assert weights(tmp_path / "long/epoch_2") != weights(tmp_path / "long/epoch_4")


@pytest.mark.parametrize(("architecture", "bound"), [("gpt2", 1e-9), ("qwen2", 1e-6)])
@pytest.mark.parametrize("sign", [1, -1], ids=["descent", "ascent"])
def test_fifty_steps_are_those_of_plain_peft_and_torch(tmp_path, architecture, bound, sign):
    """In fp64, with one unpadded question after the other. Norms of Qwen2 compute in fp32."""
    folder, steps, rate = tiny_folder(tmp_path, architecture), 50, 1e-3
    tokenizer = load_tokenizer(folder)
    facts = [(f"Who is number {n}?", "It is " + "Ada " * (n % 4 + 1)) for n in range(10)]
    encoded = [encode(tokenizer, *fact) for fact in facts]
    settings = TrainingSettings(**TRAINING | {"weight_decay": 0.01})
    batches = [one for epoch in range(1, 18) for one in epoch_batches(10, 4, 0, epoch)][:steps]
    adapted = []
    for _ in range(2):
        torch.manual_seed(0)
        config = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear")
        adapted.append(peft.get_peft_model(load_base(folder).double(), config))
        for module in adapted[-1].modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    ours, plain = adapted

    def loss(batch: list[int]) -> torch.Tensor:
        rows = answer_logprobs(ours, [encoded[index] for index in batch], tokenizer.pad_token_id)
        return sign * cross_entropy(rows)

    log = train(ours, settings, rate, 1, lambda _: batches, loss)
    trained = [one for one in plain.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.01)
    losses = []
    for step, batch in enumerate(batches, start=1):
        optimizer.param_groups[0]["lr"] = rate * min(1, step / 2)
        nll, count = 0, 0
        for index in batch:
            ids, start = torch.tensor(encoded[index].input_ids), len(encoded[index].prompt_ids)
            logits = plain(input_ids=ids[None]).logits[0, start - 1 : -1]
            nll = nll + torch.nn.functional.cross_entropy(logits, ids[start:], reduction="sum")
            count += len(ids) - start
        optimizer.zero_grad()
        (sign * nll / count).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(sign * nll.item() / count)
    assert [row["loss"] for row in log["steps"]] == pytest.approx(losses, abs=bound)
    assert losses[-1] < losses[0] - 0.1
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=bound)


def test_with_dropout_too(study, tmp_path):
    """Its randomness belongs to (seed, step), not to what ran before."""
    config = read_json(study / "finetuned/adapter_config.json")
    dropped = tmp_path / "study"
    dropped.mkdir()
    for name in ("base", "sf.jsonl", "sr.jsonl", "reference.json"):
        (dropped / name).symlink_to(study / name)
    (dropped / "finetuned").mkdir()
    (dropped / "finetuned/adapter_model.safetensors").symlink_to(
        study / "finetuned/adapter_model.safetensors"
    )
    (dropped / "finetuned/adapter_config.json").write_text(
        json.dumps(config | {"lora_dropout": 0.3})
    )
    run_unlearn(dropped, tmp_path / "long", method="ga", epochs=[1, 3])
    run_unlearn(dropped, tmp_path / "short", method="ga", epochs=[1])
    run_unlearn(study, tmp_path / "none", method="ga", epochs=[1])
    assert weights(tmp_path / "long/epoch_1") == weights(tmp_path / "short/epoch_1")
    assert weights(tmp_path / "long/epoch_1") != weights(tmp_path / "none/epoch_1")


def test_the_cached_reference_is_the_live_one(study, tmp_path):
    """NPO's first loss is 2·log 2/β exactly when S equals its reference."""
    log = run_unlearn(study, tmp_path, method="npo", beta=0.1, epochs=[1])
    assert log["steps"][0]["loss"] == pytest.approx(2 * math.log(2) / 0.1, abs=1e-4)
    assert log["forget_reduction"] == "sequence sum"


def test_ascent_forgets_and_descent_learns(study, tmp_path):
    log = run_unlearn(study, tmp_path, method="ga", epochs=[6])
    assert log["steps"][-1]["loss"] < log["steps"][0]["loss"] < 0  # −CE falls: CE rises
    learned = read_json(study / "finetuned/training_log.json")
    assert learned["steps"][-1]["loss"] < learned["steps"][0]["loss"]
    for made in (log, learned):
        assert (made["adapted_share"], made["not_adapted"]) == (1.0, [])


def test_the_learning_rate_is_constant_after_warm_up(study, tmp_path):
    log = run_unlearn(study, tmp_path, method="ga", epochs=[2])
    assert [row["learning_rate"] for row in log["steps"]] == [5e-4, 1e-3, 1e-3, 1e-3]


def test_divergence_ends_the_trajectory_with_a_record_and_finite_checkpoints(study, tmp_path):
    wild = tmp_path / "wild.py"  # gradient ascent, its learning rate without a limit
    text = Path(ga.__file__).read_text()
    wild.write_text(text.replace("learning_rate: float = learning_rate()", "learning_rate: float"))
    hp = {"learning_rate": 1e30, "max_grad_norm": 0.0, "warmup_steps": 0}
    log = run_unlearn(study, tmp_path, method=str(wild), epochs=[1, 3], **hp)
    assert log["diverged"]["reason"].startswith(("loss is", "gradient norm is"))
    assert log["unfinished_checkpoints"]
    for epoch in (1, 3):
        model = load_adapter(load_base(study / "base"), tmp_path / f"epoch_{epoch}")
        assert model is not None


def test_two_runs_write_the_same_bytes_and_another_seed_does_not(study, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        settings = FINETUNE | {"training": TRAINING | {"seed": seed}}
        train_retain_model.main(
            [
                *("--base", str(study / "base"), "--sr", str(study / "sr.jsonl")),
                *("--hp", json.dumps(settings), "--out", str(tmp_path / name)),
            ]
        )
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_peft_itself_loads_what_was_saved(study):
    from peft import PeftModel

    loaded = PeftModel.from_pretrained(load_base(study / "base"), study / "finetuned")
    ours = load_adapter(load_base(study / "base"), study / "finetuned")
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(loaded(ids).logits, ours(ids).logits)


@pytest.mark.parametrize("architecture", ["qwen2", "llama", "gpt2"])
def test_training_log_probabilities_are_those_of_scoring(tmp_path, architecture):
    base = tiny_folder(tmp_path, architecture, layers=2)
    model, tokenizer = load_base(base), load_tokenizer(base)
    pairs = [("Who?", "Ada Bell."), ("In which town was it?", "It was in Old Town, I think.")]
    encoded = [encode(tokenizer, *pair) for pair in pairs]
    trained = answer_logprobs(model, encoded, tokenizer.pad_token_id)
    questions = [question for question, _ in pairs]
    scored = score_answers(model, tokenizer, questions, [[answer] for _, answer in pairs], 2)
    assert trained.sums.tolist() == pytest.approx([s[0].logprob for s in scored], abs=1e-3)
    assert trained.tokens.tolist() == [s[0].n_tokens for s in scored]


def test_prompt_and_padding_have_no_gradient(tmp_path):
    base = tiny_folder(tmp_path, layers=1)
    model, tokenizer = load_base(base), load_tokenizer(base)
    encoded = [encode(tokenizer, "Who?", "Ada."), encode(tokenizer, "Where was it then?", "In X.")]
    alone = answer_logprobs(model, encoded[:1], tokenizer.pad_token_id).sums[0]
    padded = answer_logprobs(model, encoded, tokenizer.pad_token_id).sums[0]
    assert alone.item() == pytest.approx(padded.item(), abs=1e-4)


@pytest.mark.parametrize("has", [True, False])
def test_a_cpu_without_bfloat16_computes_in_float32(monkeypatch, has):
    monkeypatch.setattr(differentiable_logprobs, "_cpu_has_bfloat16", lambda: has)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    computed = differentiable_logprobs.product_dtype(cpu, "bfloat16")
    assert computed == ("bfloat16" if has else "float32")
    assert differentiable_logprobs.product_dtype(gpu, "bfloat16") == "bfloat16"
    assert differentiable_logprobs.product_dtype(cpu, "none") == "float32"
    with differentiable_logprobs.autocast_context(cpu, "bfloat16"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == getattr(torch, computed)


def test_an_epoch_shows_every_item_once_and_the_next_one_in_another_order():
    first = list(epoch_batches(10, 4, seed=0, epoch=1))
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert sorted(itertools.chain(*first)) == list(range(10))
    assert first != list(epoch_batches(10, 4, seed=0, epoch=2))
    assert first == list(epoch_batches(10, 4, seed=0, epoch=1))


def test_retain_batches_go_through_all_items_before_any_comes_again():
    batches = cycling_batches(10, 4, seed=0, epoch=1)
    drawn = [index for batch in itertools.islice(batches, 5) for index in batch]
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))


def test_a_full_disk_is_one_line_and_finished_checkpoints_are_kept(study, tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    once = sum(path.stat().st_size for path in (study / "finetuned").glob("adapter_*"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={once * 3 // 2}", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        out = place / "ga"
        with pytest.raises(InputError) as error:
            run_unlearn(study, out, method="ga", epochs=[1, 2])
        lost = out / "epoch_2/adapter_model.safetensors"
        assert str(error.value).startswith(f"{lost}: not written: the disk is full")
        assert str(error.value).endswith(f"; the checkpoints of epochs 1 are in {out}/kept")
        assert not lost.exists()
        run_unlearn(study, tmp_path / "whole", method="ga", epochs=[1])
        assert weights(out / "kept/epoch_1") == weights(tmp_path / "whole/epoch_1")

        subprocess.run(["mount", "-o", f"remount,size={once * 9}", str(place)], check=True)
        run_unlearn(study, out, method="ga", epochs=[1, 2])
        assert not (out / "kept").exists()
        assert weights(out / "epoch_1") == weights(tmp_path / "whole/epoch_1")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
