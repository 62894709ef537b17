"""The relearning attack: what is shown, that all models get the same, and what comes back."""

import json
from types import SimpleNamespace

import pytest
import torch

import relearn
from excise.attacks import relearning
from excise.attacks.attack_sets import ATTACKS, attack_set, shown_people
from excise.attacks.relearning import AttackedModel
from excise.benchmark.items import load_items
from excise.errors import InputError
from excise.evaluation.measure import Evaluator
from excise.modeling.adapters import AdapterHost, adapter_tensors, attach_lora, save_adapter
from excise.modeling.base import load_base, load_tokenizer
from excise.modeling.chat import encode
from excise.modeling.differentiable_logprobs import answer_logprobs, cross_entropy
from excise.records import read_json, read_jsonl
from small_benchmark import write_benchmark
from tiny_models import lora, tiny_folder

ORACLE, CHECKPOINT = "oracle/seed_0", "unlearn/ga/lr0.1/epoch_2"
TRAINING = {
    **{"batch_size": 4, "warmup_steps": 0, "max_grad_norm": 1.0, "weight_decay": 0.0},
    **{"autocast": "none", "seed": 0},
}
ASKING = {
    **{"threads": 1, "gpu": 0, "system_prompt": None, "dtype": "float32"},
    **{"batch_size": 16, "max_new_tokens": 6},
}
HP = {"evaluation": ASKING, "training": TRAINING, "learning_rate": 1e-2, "share": 0.25}


@pytest.fixture(autouse=True)
def deterministic():
    torch.set_num_threads(1)
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


# --- what is shown ---

FACTS = [
    {"id": f"{person}.{group}{n}", "person_id": person, "group": group}
    for person in ("a", "b", "c", "d")
    for group in ("sf", "correlated", "other")
    for n in range(2)
]


def shown(attack: str, facts=FACTS, share: float = 0.25, seed: int = 0) -> set[str]:
    return {fact["id"] for fact in attack_set(attack, facts, share, seed)}


@pytest.mark.parametrize("seed", range(5))
def test_a_part_of_the_people_is_shown_with_all_their_forget_facts(seed):
    found = shown("forget_part", seed=seed)
    (person,) = {name[0] for name in found}
    assert found == {f"{person}.sf0", f"{person}.sf1"}


def test_benign_attacks_show_no_forget_fact_and_forget_all_shows_all():
    forget = {fact["id"] for fact in FACTS if fact["group"] == "sf"}
    for attack in ("correlated", "other"):
        assert not shown(attack) & forget
        assert {name[2:-1] for name in shown(attack)} == {attack} and len(shown(attack)) == 8
    assert shown("forget_all") == forget


def test_a_larger_share_holds_the_people_of_a_smaller_one_and_never_all():
    assert shown("forget_part") < shown("forget_part", share=0.5) < shown("forget_part", share=0.75)
    assert len(shown_people(list("abcd"), 0.99, 0)) == 3
    assert len(shown_people(list("abcd"), 0.01, 0)) == 1
    chosen = {tuple(shown_people(list("abcd"), 0.25, seed)) for seed in range(20)}
    assert chosen == {("a",), ("b",), ("c",), ("d",)}


def test_the_choice_does_not_depend_on_the_order_of_the_facts():
    assert shown("forget_part", FACTS[::-1]) == shown("forget_part")


def test_facts_about_nobody_stand_for_themselves():
    nobody = [fact | {"person_id": None} for fact in FACTS]
    assert len(shown("forget_part", nobody)) == 2  # a quarter of 8 forget facts


def test_what_cannot_be_attacked_is_one_error():
    with pytest.raises(InputError, match=r"^relearning\.attacks: forget_part needs .* found 1$"):
        shown("forget_part", [fact for fact in FACTS if fact["person_id"] == "a"])
    with pytest.raises(InputError, match=r"^relearning\.attacks: other needs facts of the group"):
        shown("other", [fact for fact in FACTS if fact["group"] == "sf"])


# --- the program ---


def adapter(base, folder, seed: int) -> None:
    model = attach_lora(load_base(base), lora(), seed=0)
    torch.manual_seed(seed)
    for tensor in adapter_tensors(model).values():
        tensor.data += 0.05 * torch.randn_like(tensor)
    save_adapter(model, folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("relearning")
    base = tiny_folder(folder / "base", "qwen2", layers=2)
    for seed, model in enumerate((ORACLE, CHECKPOINT)):
        adapter(base, folder / "models" / model, seed)
    write_benchmark(folder)
    return SimpleNamespace(folder=folder, base=base, data=folder / "data")


def attack(study, out, *models, attacks=ATTACKS, steps=(0, 2, 5), **hp) -> None:
    relearn.main(
        [
            *("--base", str(study.base), "--data", str(study.data)),
            *("--hp", json.dumps(HP | hp), "--models-dir", str(study.folder / "models")),
            *("--out-dir", str(out), "--models", *(models or (CHECKPOINT,))),
            *("--attacks", *attacks, "--steps", *map(str, steps)),
        ]
    )


@pytest.fixture(scope="module")
def attacked(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("attacked")
    attack(study, out, ORACLE, CHECKPOINT)
    return out


def records(folder, model=CHECKPOINT, attack="forget_part", step=0) -> list[dict]:
    path = folder / model / attack / f"step_{step}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("model", [ORACLE, CHECKPOINT])
def test_step_0_is_the_checkpoint_bit_by_bit(study, attacked, model, name):
    host = AdapterHost(study.base)
    items = load_items(study.data, None, ("sf",), answers=None)
    asked = Evaluator(host.tokenizer, items, ASKING["batch_size"], ASKING["max_new_tokens"])
    expected = asked.evaluate(host.use(study.folder / "models" / model)).items
    found = records(attacked, model, name)
    assert [{k: v for k, v in one.items() if k != "shown"} for one in found] == expected
    assert records(attacked, model, name, 5) != found


def test_every_forget_question_is_asked_and_no_scored_fact_was_shown(study, attacked):
    forget = {fact["id"] for fact in read_jsonl(study.data / "sf.jsonl", "item")}
    log = read_json(attacked / CHECKPOINT / "training_log.json")["attacks"]
    for name in ATTACKS:
        trained = set(log[name]["facts"])
        for step in (0, 2, 5):
            found = records(attacked, attack=name, step=step)
            assert {one["id"] for one in found} == forget
            assert {one["id"] for one in found if one["shown"]} == trained & forget
        hidden = {one["person_id"] for one in found if not one["shown"]}
        if name == "forget_part":
            assert hidden and not hidden & {one["person_id"] for one in found if one["shown"]}
        assert bool(trained & forget) == name.startswith("forget")


def test_an_oracle_gets_the_same_steps_and_batches(study, tmp_path, monkeypatch):
    seen, real = [], relearning.answer_logprobs

    def spying(model, answers, *rest):
        seen.append([tuple(one.input_ids) for one in answers])
        return real(model, answers, *rest)

    monkeypatch.setattr(relearning, "answer_logprobs", spying)
    orders = []
    for model in (ORACLE, CHECKPOINT):
        seen.clear()
        attack(study, tmp_path, model)
        orders.append(list(seen))
    assert orders[0] == orders[1] and len(orders[0]) == 5 * len(ATTACKS)
    tokenizer = load_tokenizer(study.base)
    facts = read_jsonl(study.data / "sr.jsonl", "item")
    known = {one["id"]: tuple(encode(tokenizer, one["question"], one["answer"]).input_ids)
             for one in facts}  # fmt: skip
    of_other = {known[one["id"]] for one in facts if one["group"] == "other"}
    shown_here = orders[0][5 * ATTACKS.index("other") :][:5]
    assert {one for batch in shown_here for one in batch} <= of_other


def test_the_log_has_every_step_at_a_constant_rate(attacked):
    logs = [read_json(attacked / model / "training_log.json") for model in (ORACLE, CHECKPOINT)]
    assert logs[0]["settings"] == HP
    for name in ATTACKS:
        for log in logs:
            steps = log["attacks"][name]["steps"]
            assert [row["step"] for row in steps] == [1, 2, 3, 4, 5]
            assert {row["learning_rate"] for row in steps} == {1e-2}
            assert steps[-1]["loss"] < steps[0]["loss"]
            assert log["attacks"][name]["diverged"] is None
            assert log["attacks"][name]["unfinished"] == []


def contents(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_job_repeats_byte_by_byte_and_another_seed_does_not(study, attacked, tmp_path):
    before = contents(study.folder / "models")
    attack(study, tmp_path / "again", CHECKPOINT)
    again = contents(tmp_path / "again")
    assert again == {k: v for k, v in contents(attacked).items() if k.startswith(CHECKPOINT)}
    attack(study, tmp_path / "other", training=TRAINING | {"seed": 1})
    assert (
        contents(tmp_path / "other")[f"{CHECKPOINT}/correlated/step_5.jsonl"]
        != (again[f"{CHECKPOINT}/correlated/step_5.jsonl"])
    )
    assert contents(study.folder / "models") == before


def test_asking_in_between_and_other_attacks_change_nothing(study, attacked, tmp_path):
    attack(study, tmp_path, attacks=["other"], steps=[0, 5])
    assert records(tmp_path, attack="other", step=5) == records(attacked, attack="other", step=5)


def test_asking_leaves_base_weights_and_training_as_they_were(study):
    host = AttackedModel(study.base)
    host.open(study.folder / "models" / CHECKPOINT)
    before = {name: one.clone() for name, one in host.model.state_dict().items()}
    attention = host.model.config._attn_implementation
    with host.asked() as model:
        assert not model.training
        changed = [n for n, one in model.state_dict().items() if not torch.equal(one, before[n])]
        assert changed and not [name for name in changed if "lora_" in name]
    assert host.model.training and host.model.config._attn_implementation == attention
    after = host.model.state_dict()
    assert all(torch.equal(one, before[name]) for name, one in after.items())
    open_ones = [name for name, one in host.model.named_parameters() if one.requires_grad]
    assert open_ones and all("lora_" in name for name in open_ones)


def test_steps_after_a_divergence_are_recorded_and_named(study, tmp_path):
    training = TRAINING | {"max_grad_norm": None}
    attack(study, tmp_path, attacks=["correlated"], training=training, learning_rate=1e30)
    log = read_json(tmp_path / CHECKPOINT / "training_log.json")["attacks"]["correlated"]
    assert log["diverged"]["reason"] and log["unfinished"]
    for step in (0, 2, 5):
        assert len(records(tmp_path, attack="correlated", step=step)) > 0


# --- what comes back ---


def train(base, folder, facts, forgotten=(), steps: int = 100) -> None:
    """An adapter that learns `facts`, then hides `forgotten` by a few steps of ascent."""
    model, tokenizer = attach_lora(load_base(base), lora(rank=8), seed=0), load_tokenizer(base)

    def loss(records):
        encoded = [encode(tokenizer, one["question"], one["answer"]) for one in records]
        return cross_entropy(answer_logprobs(model, encoded, tokenizer.pad_token_id))

    tensors = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(tensors, lr=1e-2, weight_decay=0.0)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(facts).backward()
        optimizer.step()
    assert loss(facts).item() < 0.3
    hiding = torch.optim.SGD(tensors, lr=0.05)
    while forgotten and loss(forgotten).item() < 2.5:
        hiding.zero_grad()
        (-loss(forgotten)).backward()
        hiding.step()
    save_adapter(model, folder)


def test_a_fact_that_was_merely_hidden_comes_back_and_an_oracle_learns_nothing(tmp_path):
    write_benchmark(tmp_path, people=3)
    base = tiny_folder(tmp_path / "base", "qwen2", layers=2)
    forget, retain = (read_jsonl(tmp_path / f"data/{name}.jsonl", "item") for name in ("sf", "sr"))
    retain = retain[:6]
    train(base, tmp_path / "models" / CHECKPOINT, forget + retain, forgotten=forget)
    train(base, tmp_path / "models" / ORACLE, retain)
    study = SimpleNamespace(folder=tmp_path, base=base, data=tmp_path / "data")
    attack(
        study,
        tmp_path / "out",
        ORACLE,
        CHECKPOINT,
        attacks=["forget_part"],
        steps=[0, 10],
        learning_rate=3e-3,
    )

    def hidden_facts(model, step):
        found = records(tmp_path / "out", model, "forget_part", step)
        own = [one["probability"] for one in found if not one["shown"]]
        return sum(own) / len(own)

    gain = {m: hidden_facts(m, 10) - hidden_facts(m, 0) for m in (ORACLE, CHECKPOINT)}
    assert hidden_facts(CHECKPOINT, 0) < 0.05
    assert gain[CHECKPOINT] > 0.05 > 10 * gain[ORACLE]
