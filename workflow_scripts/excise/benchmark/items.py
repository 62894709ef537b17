"""Evaluation items: every question for the models, with all reference answers.

This module joins the benchmark's files by id. If two files disagree about a fact, the error gives
the file and the line.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from excise.benchmark.joint_questions import Pair, pairs_of
from excise.benchmark.probes import PROBES, ProbeQuestion, probes_of
from excise.errors import InputError
from excise.records import read_jsonl

SETS = (
    "sf",
    "forget_paraphrased",
    "correlated",
    "other",
    "retain",
    "utility",
    "holdout",
    "forget_joint",
    "retain_joint",
)
FORGET_SETS = ("sf", "forget_paraphrased")
"""The forget facts, in the words of training and in others."""
HIDDEN_STATE_SETS = ("sf", "correlated", "other", "retain", "utility")
"""Sets whose hidden states are extracted."""
HOLDOUT_SET = "holdout"
"""Forget facts of people whom no model is trained on. The set may be empty."""
UNGROUPED_SET = "retain"
"""Retain facts of the user's own files that name no groups; generated facts have groups."""
RETAIN_SETS = ("correlated", "other", UNGROUPED_SET)
DEPTH_SETS = (*FORGET_SETS, *RETAIN_SETS)
"""Sets at whose values states are patched."""
ALWAYS_THERE = ("sf", "utility")
"""Sets that have questions also where the user's own files leave out what is optional."""
NO_ANSWERS = {"paraphrased_answer": None, "wrong_answers": []}
JOINT_SETS = ("forget_joint", "retain_joint")
"""Sets of two questions in one prompt: the answer about the forget or the retain fact."""
GENERATED_SETS = (*JOINT_SETS, *PROBES)
"""Sets of which only the generation is recorded."""
SELECTED_SETS = ("retain_same_answer",)
"""Sets of a table that are some questions of other sets."""
_OWN_ID = re.compile(r"(sf|sr|holdout)\d")


@dataclass(frozen=True)
class Item:
    """One question with its true answer, a paraphrase of it, and wrong answers.

    Attributes:
        id: unique over all sets.
        set: one of `SETS` or `PROBES`.
        person_id: the person; None for `utility`, and in own files that name nobody.
        subject: the person's name; None for `utility`, and where the question does not name the
            person.
        slot: the slot in question; for `utility`, the category; None in own files without slots.
        value_type: type of the value; None for `utility` and own files.
        partner: the partner slot; None if there is none.
        value: the part of the answer that is the fact; None in own files without values.
        question: the question.
        answer: the true answer.
        paraphrased_answer: the true answer in other words; None in `GENERATED_SETS`, in `holdout`,
            if no wrong answers were requested, and where own files give none.
        wrong_answers: answers that differ from the paraphrase in the value only; none in
            `GENERATED_SETS`, where no answers are scored, and in `holdout`, where only the true
            one is.
    """

    id: str
    set: str
    person_id: str | None
    subject: str | None
    slot: str | None
    value_type: str | None
    partner: str | None
    value: str | None
    question: str
    answer: str
    paraphrased_answer: str | None
    wrong_answers: tuple[str, ...]


def load_items(
    data_dir: str | Path,
    utility_path: str | Path | None,
    sets: Sequence[str],
    answers: str | None = "wrong_details",
) -> list[Item]:
    """The items of the requested sets, set by set, in file order.

    Args:
        data_dir: folder of `sf.jsonl`, `sr.jsonl`, `forget_paraphrased.jsonl`, `holdout.jsonl`
            and the wrong answers. The last three are read only if requested; nothing is if only
            `utility` is requested.
        utility_path: the real-world questions; not read unless `utility` is requested.
        sets: names from `SETS` and `PROBES`; a probe may have no questions.
        answers: the file of the wrong answers: `wrong_details` (the chosen ones, which exist
            after the oracles) or `perturbed_candidates` (all). None: items have no wrong or
            paraphrased answers.

    Raises:
        InputError: a set that must have questions is empty, a set is unknown, a file is missing or
            broken, or two files disagree about a fact. The user's own files may leave out all but
            `ALWAYS_THERE`.
    """
    for name in sets:
        if name not in (*SETS, *PROBES):
            raise InputError(f"unknown set {name!r}; the sets are {', '.join(SETS)}")
    items: dict[str, list[Item]] = {}
    if any(name != "utility" for name in sets):
        items |= _benchmark_items(Path(data_dir), answers, sets)
    optional = {*PROBES, HOLDOUT_SET, UNGROUPED_SET}
    if items and is_own(items["sf"][0].id):
        optional |= set(SETS) - set(ALWAYS_THERE)
    if "utility" in sets:
        items["utility"] = [_utility_item(record) for record in read_jsonl(utility_path, "utility")]
    for name in sets:
        if not items[name] and name not in optional:
            raise InputError(f"{data_dir}: no question of the set {name!r}; at least one is needed")
    return [item for name in sets for item in items[name]]


def asked_questions(data: str | Path | None, utility: str | Path | None) -> dict[str, Item] | None:
    """Id → item of every question for the models, with all probes; None without a benchmark."""
    if data is None or utility is None:
        return None
    return {item.id: item for item in load_items(data, utility, (*SETS, *PROBES), answers=None)}


def is_own(item_id: str) -> bool:
    """Whether an item comes from the user's own files: `sf12`; generated ones are `p000.slot`."""
    return _OWN_ID.match(item_id) is not None


@dataclass(frozen=True)
class Benchmark:
    """The five files of a dataset, which agree with each other.

    Attributes:
        sf: forget items, in file order.
        sr: retain items, in file order.
        details: item id → its paraphrased and wrong answers; empty if not requested.
        forget_paraphrased: paraphrased questions about the forget items; empty if not requested.
        holdout: forget facts of people whom no model is trained on; empty if not requested.
    """

    sf: list[dict]
    sr: list[dict]
    details: dict[str, dict]
    forget_paraphrased: list[dict]
    holdout: list[dict]


def read_benchmark(
    data_dir: str | Path,
    *,
    answers: str | None = "wrong_details",
    with_forget_paraphrased: bool = True,
    with_holdout: bool = False,
) -> Benchmark:
    """Read a dataset folder; `answers` is the file of the wrong answers (see `load_items`).

    Raises:
        InputError: a file is missing or broken, or two files disagree about a fact.
    """
    data_dir = Path(data_dir)
    facts: dict[str, dict] = {}
    for file, groups in (("sf.jsonl", ("sf",)), ("sr.jsonl", RETAIN_SETS)):
        for line, fact in enumerate(read_jsonl(data_dir / file, "item"), start=1):
            where = f"{data_dir / file}:{line}"
            if fact["group"] not in groups:
                allowed = " and ".join(groups[:2])
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
        holdout=_holdout(data_dir / "holdout.jsonl", facts) if with_holdout else [],
    )


def _benchmark_items(
    data_dir: Path, answers: str | None, sets: Sequence[str]
) -> dict[str, list[Item]]:
    """Set name → items of `sf.jsonl`, `sr.jsonl` and the files of the requested sets."""
    benchmark = read_benchmark(
        data_dir,
        answers=answers,
        with_forget_paraphrased="forget_paraphrased" in sets,
        with_holdout=HOLDOUT_SET in sets,
    )
    items = {name: [] for name in (*SETS, *PROBES) if name != "utility"}
    for fact in benchmark.sf + benchmark.sr:
        detail = benchmark.details.get(fact["id"], NO_ANSWERS)
        items[fact["group"]].append(_item(fact["group"], fact, fact, detail))
    facts = {fact["id"]: fact for fact in benchmark.sf}
    for prompt in benchmark.forget_paraphrased:
        fact = facts[prompt["fact_id"]]
        detail = benchmark.details.get(fact["id"], NO_ANSWERS)
        items["forget_paraphrased"].append(_item("forget_paraphrased", prompt, fact, detail))
    for fact in benchmark.holdout:
        items[HOLDOUT_SET].append(_item(HOLDOUT_SET, fact, fact, NO_ANSWERS))
    for pair in pairs_of(benchmark.sf, benchmark.sr):
        items["forget_joint"].append(_joint_item("forget_joint", pair, pair.forget, pair.retain))
        items["retain_joint"].append(_joint_item("retain_joint", pair, pair.retain, pair.forget))
    if not is_own(benchmark.sf[0]["id"]):  # made from the generator's slots
        for name, questions in probes_of(benchmark.sf, benchmark.sr).items():
            items[name] = [_probe_item(name, one) for one in questions]
    return items


def _wrong_details(path: Path, facts: dict[str, dict]) -> dict[str, dict]:
    """Id → paraphrased and wrong answers; each fact has one line, with the same value."""
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
    """The paraphrased questions; each agrees with a known forget fact."""
    own = is_own(next(iter(facts)))
    if own and path.is_file() and not path.stat().st_size:
        return []
    prompts = read_jsonl(path, "forget_paraphrased")
    for line, prompt in enumerate(prompts, start=1):
        fact = facts.get(prompt["fact_id"])
        _check_same(f"{path}:{line}", prompt, fact, prompt["fact_id"])
        if fact["group"] != "sf":
            raise InputError(
                f"{path}:{line}: fact_id {prompt['fact_id']!r} is a retain fact; "
                "only questions about facts of sf.jsonl are allowed"
            )
    asked = {prompt["fact_id"] for prompt in prompts}
    for fact_id, fact in facts.items():
        if fact["group"] == "sf" and fact_id not in asked and not own:
            raise InputError(f"{path}: {fact_id!r} is in sf.jsonl but has no line here")
    return prompts


def _holdout(path: Path, facts: dict[str, dict]) -> list[dict]:
    """The facts of held-out people; the other files hold nothing about them. May be empty."""
    if path.is_file() and not path.stat().st_size:
        return []
    found = read_jsonl(path, "item")
    taught = {fact["person_id"] for fact in facts.values()}
    for line, fact in enumerate(found, start=1):
        where = f"{path}:{line}"
        if fact["group"] != HOLDOUT_SET:
            raise InputError(f"{where}: group {fact['group']!r}; allowed: {HOLDOUT_SET}")
        if fact["person_id"] is not None and fact["person_id"] in taught:
            raise InputError(
                f"{where}: {fact['person_id']!r} is in sf.jsonl; allowed: people whom no model is "
                "trained on"
            )
    if is_own(found[0]["id"]):
        return found
    wanted = {fact["slot"] for fact in facts.values() if fact["group"] == "sf"}
    for person_id in dict.fromkeys(fact["person_id"] for fact in found):
        missing = wanted - {fact["slot"] for fact in found if fact["person_id"] == person_id}
        if missing:
            raise InputError(f"{path}: no fact {person_id}.{min(missing)}; all have every slot")
    return found


def _check_whole(data_dir: Path, facts: list[dict]) -> None:
    """Check that no lines were lost: both files have all people, and every fact its partner.

    The user's own files may be about different people. They were checked when they were read.
    """
    if is_own(facts[0]["id"]):
        return
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
    """Check that `record` is about a known fact and has the same fields."""
    if fact is None:
        raise InputError(f"{where}: {fact_id!r} is in neither sf.jsonl nor sr.jsonl")
    for key in ("person_id", "name", "slot", "value_type", "value"):
        if key in record and record[key] != fact[key]:
            raise InputError(
                f"{where}: {key} is {record[key]!r}, but {fact_id!r} has {fact[key]!r}"
            )


def _item(name: str, record: dict, fact: dict, detail: dict) -> Item:
    return Item(
        id=record["id"],
        set=name,
        person_id=fact["person_id"],
        subject=_subject(fact, record["question"]),
        slot=fact["slot"],
        value_type=fact["value_type"],
        partner=fact["partner"],
        value=fact["value"],
        question=record["question"],
        answer=record["answer"],
        paraphrased_answer=detail["paraphrased_answer"],
        wrong_answers=tuple(wrong["text"] for wrong in detail["wrong_answers"]),
    )


def _subject(fact: dict, question: str) -> str | None:
    """The person's name; in own files only where the question has it."""
    name = fact["name"]
    if name is None or not is_own(fact["id"]):
        return name
    return name if name.casefold() in question.casefold() else None


def _joint_item(name: str, pair: Pair, fact: dict, partner: dict) -> Item:
    """The item that measures one fact in the answer to both questions."""
    record = {
        "id": f"{fact['id']}+{partner['id'] if is_own(fact['id']) else partner['slot']}",
        "question": pair.question,
        "answer": fact["answer"],
    }
    return _item(name, record, fact, NO_ANSWERS)


def _probe_item(name: str, probe: ProbeQuestion) -> Item:
    fact = probe.fact
    return Item(
        id=probe.id,
        set=name,
        person_id=fact["person_id"],
        subject=probe.subject,
        slot=fact["slot"],
        value_type=probe.value_type,
        partner=None,
        value=probe.value,
        question=probe.question,
        answer=probe.value,
        paraphrased_answer=None,
        wrong_answers=(),
    )


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
