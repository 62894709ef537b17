"""Evaluation items: every question a model is asked, with all that its answer is compared to.

Joins the benchmark's files by id. What they say about the same fact must agree; where it does
not, the file and the line are named. Knows nothing of models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from excise.benchmark.joint_questions import Pair, pairs_of
from excise.errors import InputError
from excise.records import read_jsonl

SETS = (
    "sf",
    "forget_paraphrased",
    "correlated",
    "other",
    "utility",
    "forget_joint",
    "retain_joint",
)
HIDDEN_STATE_SETS = ("sf", "correlated", "other", "utility")
"""Sets whose hidden states are read."""
NO_ANSWERS = {"paraphrased_answer": None, "wrong_answers": []}
JOINT_SETS = SETS[-2:]
"""A forget and a retain question in one prompt: what is said of the one, and of the other."""


@dataclass(frozen=True)
class Item:
    """One question with its true answer, a paraphrase of it and wrong ones.

    Attributes:
        id: unique over all sets.
        set: one of `SETS`.
        person_id: the person; None for `utility`.
        subject: the person's name as it stands in the question; None for `utility`.
        slot: what is asked; the category for `utility`.
        value_type: kind of value; None for `utility`.
        partner: the slot this one is paired with; None where there is none.
        value: the part of the answer that is the fact.
        question: what the model is asked.
        answer: the true answer.
        paraphrased_answer: the true answer in other words; None in a paired set, and if no
            wrong answers were requested.
        wrong_answers: answers that differ from the paraphrased one in the value alone; none in a
            paired set, where no answer is scored.
    """

    id: str
    set: str
    person_id: str | None
    subject: str | None
    slot: str
    value_type: str | None
    partner: str | None
    value: str
    question: str
    answer: str
    paraphrased_answer: str | None
    wrong_answers: tuple[str, ...]


def load_items(
    data_dir: str | Path,
    utility_path: str | Path,
    sets: Sequence[str],
    answers: str | None = "wrong_details",
) -> list[Item]:
    """The items of the sets asked for, set by set, each in file order.

    Args:
        data_dir: folder of `sf.jsonl`, `sr.jsonl`, `forget_paraphrased.jsonl` and the wrong
            answers; not read when only `utility` is asked for.
        utility_path: the real-world questions; not read unless `utility` is asked for.
        sets: names out of `SETS`.
        answers: the file of the wrong answers: `wrong_details` (chosen, after the oracles) or
            `perturbed_candidates` (all, from the start). None: items have no wrong or
            paraphrased answers.

    Raises:
        InputError: a set is unknown or empty, a file is missing or broken, or two files
            disagree about a fact.
    """
    for name in sets:
        if name not in SETS:
            raise InputError(f"unknown set {name!r}; the sets are {', '.join(SETS)}")
    items: dict[str, list[Item]] = {}
    if any(name != "utility" for name in sets):
        items |= _benchmark_items(Path(data_dir), answers, "forget_paraphrased" in sets)
    if "utility" in sets:
        items["utility"] = [_utility_item(record) for record in read_jsonl(utility_path, "utility")]
    for name in sets:
        if not items[name]:
            raise InputError(f"{data_dir}: no question of the set {name!r}; at least one is needed")
    return [item for name in sets for item in items[name]]


def asked_questions(data: str | Path | None, utility: str | Path | None) -> dict[str, Item] | None:
    """Id → question of everything that models are asked; None without a benchmark."""
    if data is None or utility is None:
        return None
    return {item.id: item for item in load_items(data, utility, SETS, answers=None)}


@dataclass(frozen=True)
class Benchmark:
    """The four files of a dataset, after a check that they agree.

    Attributes:
        sf: forget items, in file order.
        sr: retain items, in file order.
        details: item id → its paraphrased and wrong answers; empty if not asked for.
        forget_paraphrased: held-out questions about the forget items; empty if not asked for.
    """

    sf: list[dict]
    sr: list[dict]
    details: dict[str, dict]
    forget_paraphrased: list[dict]


def read_benchmark(
    data_dir: str | Path,
    *,
    answers: str | None = "wrong_details",
    with_forget_paraphrased: bool = True,
) -> Benchmark:
    """Read a dataset folder; `answers` names the file of the wrong answers (see `load_items`).

    Raises:
        InputError: a file is missing or broken, or two files disagree about a fact.
    """
    data_dir = Path(data_dir)
    facts: dict[str, dict] = {}
    for file, groups in (("sf.jsonl", ("sf",)), ("sr.jsonl", ("correlated", "other"))):
        for line, fact in enumerate(read_jsonl(data_dir / file, "item"), start=1):
            where = f"{data_dir / file}:{line}"
            if fact["group"] not in groups:
                allowed = " and ".join(groups)
                raise InputError(f"{where}: group {fact['group']!r}; {file} holds {allowed}")
            if fact["id"] in facts:
                raise InputError(f"{where}: id {fact['id']!r} is also in sf.jsonl; ids are unique")
            facts[fact["id"]] = fact
    _check_whole(data_dir, list(facts.values()))
    return Benchmark(
        sf=[fact for fact in facts.values() if fact["group"] == "sf"],
        sr=[fact for fact in facts.values() if fact["group"] != "sf"],
        details=_wrong_details(data_dir / f"{answers}.jsonl", facts) if answers else {},
        forget_paraphrased=_forget_paraphrased(data_dir / "forget_paraphrased.jsonl", facts)
        if with_forget_paraphrased
        else [],
    )


def _benchmark_items(
    data_dir: Path, answers: str | None, with_paraphrased: bool
) -> dict[str, list[Item]]:
    """Set name → items of `sf.jsonl`, `sr.jsonl` and, if wanted, `forget_paraphrased.jsonl`."""
    benchmark = read_benchmark(data_dir, answers=answers, with_forget_paraphrased=with_paraphrased)
    items = {name: [] for name in SETS if name != "utility"}
    for fact in benchmark.sf + benchmark.sr:
        detail = benchmark.details.get(fact["id"], NO_ANSWERS)
        items[fact["group"]].append(_item(fact["group"], fact, fact, detail))
    facts = {fact["id"]: fact for fact in benchmark.sf}
    for prompt in benchmark.forget_paraphrased:
        fact = facts[prompt["fact_id"]]
        detail = benchmark.details.get(fact["id"], NO_ANSWERS)
        items["forget_paraphrased"].append(_item("forget_paraphrased", prompt, fact, detail))
    for pair in pairs_of(benchmark.sf, benchmark.sr):
        items["forget_joint"].append(_joint_item("forget_joint", pair, pair.forget, pair.retain))
        items["retain_joint"].append(_joint_item("retain_joint", pair, pair.retain, pair.forget))
    return items


def _wrong_details(path: Path, facts: dict[str, dict]) -> dict[str, dict]:
    """Id → paraphrased and wrong answers: exactly one line per fact, with the fact's value."""
    details = {}
    for line, detail in enumerate(read_jsonl(path, "wrong_details"), start=1):
        _check_same(f"{path}:{line}", detail, facts.get(detail["id"]), detail["id"])
        details[detail["id"]] = detail
    for fact_id, fact in facts.items():
        if fact_id not in details:
            file = "sf.jsonl" if fact["group"] == "sf" else "sr.jsonl"
            raise InputError(f"{path}: {fact_id!r} is in {file} but has no line here")
    return details


def _forget_paraphrased(path: Path, facts: dict[str, dict]) -> list[dict]:
    """The paraphrased prompts, each about a known forget fact and in agreement with it."""
    prompts = read_jsonl(path, "forget_paraphrased")
    for line, prompt in enumerate(prompts, start=1):
        fact = facts.get(prompt["fact_id"])
        _check_same(f"{path}:{line}", prompt, fact, prompt["fact_id"])
        if fact["group"] != "sf":
            raise InputError(
                f"{path}:{line}: fact_id {prompt['fact_id']!r} is a retain fact; "
                "only facts of sf.jsonl are asked here"
            )
    asked = {prompt["fact_id"] for prompt in prompts}
    for fact_id, fact in facts.items():
        if fact["group"] == "sf" and fact_id not in asked:
            raise InputError(f"{path}: {fact_id!r} is in sf.jsonl but has no line here")
    return prompts


def _check_whole(data_dir: Path, facts: list[dict]) -> None:
    """Check that no lines were lost: same people in both files, a partner for every fact."""
    people = {
        file: dict.fromkeys(
            fact["person_id"] for fact in facts if (fact["group"] == "sf") is forget
        )
        for file, forget in (("sf.jsonl", True), ("sr.jsonl", False))
    }
    for file, other in (("sf.jsonl", "sr.jsonl"), ("sr.jsonl", "sf.jsonl")):
        for person_id in people[other]:
            if person_id not in people[file]:
                raise InputError(
                    f"{data_dir / file}: no fact about {person_id!r}, who is in {other}"
                )
    known = {(fact["person_id"], fact["slot"]) for fact in facts if fact["group"] != "sf"}
    for fact in facts:
        if fact["group"] == "correlated" and (fact["person_id"], fact["partner"]) not in known:
            raise InputError(
                f"{data_dir / 'sr.jsonl'}: no fact {fact['person_id']}.{fact['partner']}, "
                f"the partner of {fact['id']!r}"
            )


def _check_same(where: str, record: dict, fact: dict | None, fact_id: str) -> None:
    """`record` is about a known fact and repeats its fields unchanged."""
    if fact is None:
        raise InputError(f"{where}: {fact_id!r} is in neither sf.jsonl nor sr.jsonl")
    for key in ("person_id", "name", "slot", "value_type", "value"):
        if key in record and record[key] != fact[key]:
            raise InputError(
                f"{where}: {key} is {record[key]!r}, but {fact_id!r} has {fact[key]!r}"
            )


def _item(name: str, asked: dict, fact: dict, detail: dict) -> Item:
    return Item(
        id=asked["id"],
        set=name,
        person_id=fact["person_id"],
        subject=fact["name"],
        slot=fact["slot"],
        value_type=fact["value_type"],
        partner=fact["partner"],
        value=fact["value"],
        question=asked["question"],
        answer=asked["answer"],
        paraphrased_answer=detail["paraphrased_answer"],
        wrong_answers=tuple(wrong["text"] for wrong in detail["wrong_answers"]),
    )


def _joint_item(name: str, pair: Pair, fact: dict, partner: dict) -> Item:
    """What is looked for of one fact in the answer to both questions."""
    asked = {"id": f"{fact['id']}+{partner['slot']}", "question": pair.question}
    return _item(name, asked | {"answer": fact["answer"]}, fact, NO_ANSWERS)


def _utility_item(record: dict) -> Item:
    return Item(
        id=record["id"],
        set="utility",
        person_id=None,
        subject=None,
        slot=record["category"],
        value_type=None,
        partner=None,
        value=record["value"],
        question=record["question"],
        answer=record["answer"],
        paraphrased_answer=record["paraphrased_answer"],
        wrong_answers=tuple(wrong["text"] for wrong in record["wrong_answers"]),
    )
