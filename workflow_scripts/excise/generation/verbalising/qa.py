"""A model writes questions and answers: a few calls per person, which mix the sets.

Every call holds forget and retain facts in random order. So neither the author nor the place tells
the sets apart. A correlated fact and its `other` partner are always in one call and get the same
form, which code draws: a comparison of partners must not depend on the form. The trained answer is
the value alone and needs no author.

The author writes a true paraphrase and a wrong answer. The wrong answer must be the same sentence
around a false value. This shows that the sentence works with other values. Code then puts the
values of all candidates into it.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from excise.benchmark.asked_for import ASK_WITH
from excise.benchmark.slots import SLOTS
from excise.generation.exchange import exchanged, occurrences, one_article
from excise.generation.settings import WritingLimits
from excise.generation.verbalising.asking import Answers, Asker
from excise.generation.verbalising.checks import (
    cleaned,
    faulty,
    form,
    less_fitting,
    of_example,
    premise_faults,
    question_faults,
    same_question,
    statement_faults,
)
from excise.generation.verbalising.meanings import detail, names_event, subject
from excise.llm import Request
from excise.llm.prompts import Prompt
from excise.text.matching import near_twins

PLACEHOLDERS = ("data",)
FACTS_PER_CALL = 8
TOKENS, TOKENS_PER_FACT = 200, 160

# The forms of trained questions; paraphrased questions have other forms (`forget_paraphrased`).
TRAINED_FORMS = (
    "a direct question that opens with its question word, such as Which, In which or Who",
    "a direct question that opens with its question word, such as What, Where, When or By whom",
)


@dataclass(frozen=True)
class Call:
    """One call: some facts of a person, in the order of the prompt.

    Attributes:
        key: `p003.1`.
        person: profile record.
        facts: fact records that need questions.
        all_facts: all facts of the person.
        forms: slot → form of its question.
        false_values: slot → the value of its wrong answer.
    """

    key: str
    person: dict
    facts: list[dict]
    all_facts: list[dict]
    forms: dict[str, str]
    false_values: dict[str, str]

    def others(self, fact: dict) -> list[dict]:
        """All other facts of the person."""
        return [other for other in self.all_facts if other["slot"] != fact["slot"]]

    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of partner slots in the call; the correlated slot comes first."""
        slots = {fact["slot"] for fact in self.facts}
        return [
            (fact["slot"], fact["partner"])
            for fact in self.facts
            if fact["group"] == "correlated" and fact["partner"] in slots
        ]


def calls_of(
    person: dict, facts: list[dict], seed: int, false_values: Mapping[str, str]
) -> list[Call]:
    """Split the facts of a person into calls of about `FACTS_PER_CALL`; partners stay together.

    Args:
        person: profile record.
        facts: the fact records of the person.
        seed: seed of the split and of the forms.
        false_values: fact id → the value of its wrong answer.
    """
    rng = random.Random(f"calls-{seed}-{person['person_id']}")
    slots = {fact["slot"]: fact for fact in facts}
    pairs = [
        [fact, slots[fact["partner"]]] if fact["partner"] in slots else [fact]
        for fact in facts
        if fact["group"] == "correlated"
    ]
    paired = {fact["slot"] for pair in pairs for fact in pair}
    unpaired = [fact for fact in facts if fact["slot"] not in paired]
    rng.shuffle(pairs)
    rng.shuffle(unpaired)
    count = -(-len(facts) // FACTS_PER_CALL)
    # Distribute pairs forwards and unpaired facts backwards, so that calls have similar sizes.
    batches: list[list[dict]] = [[] for _ in range(count)]
    for index, pair in enumerate(pairs):
        batches[index % count] += pair
    for index, fact in enumerate(unpaired):
        batches[-1 - index % count].append(fact)
    calls = []
    for index, batch in enumerate(batch for batch in batches if batch):
        rng.shuffle(batch)
        forms = {fact["slot"]: trained_form(fact, seed) for fact in batch}
        false = {fact["slot"]: false_values[fact["id"]] for fact in batch}
        key = f"{person['person_id']}.{index}"
        calls.append(Call(key, person, batch, facts, forms, false))
    return calls


def trained_form(fact: dict, seed: int) -> str:
    """The form of the trained question of a fact; it is drawn per person and value type."""
    rng = random.Random(f"form-{seed}-{fact['person_id']}-{fact['value_type']}")
    return rng.choice(TRAINED_FORMS)


def qa_request(call: Call, prompt: Prompt, sample: int) -> Request:
    """The request for questions and answers."""
    facts = [
        detail(fact["slot"], fact["value"], call.person)
        | {"false_value": call.false_values[fact["slot"]]}
        | {"sentence": fact["sentence"], "question_form": call.forms[fact["slot"]]}
        for fact in call.facts
    ]
    data = subject(call.person) | {
        "facts": facts,
        "same_form": [list(pair) for pair in call.pairs()],
    }
    return Request(
        part="qa",
        subject=call.key,
        system=prompt.system,
        user=prompt.fill(data=data),
        schema=prompt.reply([fact["slot"] for fact in call.facts]),
        prompt_version=prompt.version,
        max_tokens=TOKENS + TOKENS_PER_FACT * len(facts),
        sample=sample,
    )


def qa_faults(
    call: Call, value: dict, example: Sequence[str] = (), *, limits: WritingLimits
) -> list[str]:
    """Find faults in the questions and answers of one call.

    Args:
        call: the call.
        value: the reply.
        example: names and values of the prompt's example.
        limits: what the texts are held to.
    """
    kind, slots = call.person["event_kind"], [fact["slot"] for fact in call.all_facts]
    entries = {
        slot: {key: cleaned(text) for key, text in value["facts"][slot].items()}
        for slot in (fact["slot"] for fact in call.facts)
    }
    texts = {
        f"{slot}, {key}": text for slot, entry in entries.items() for key, text in entry.items()
    }
    given = [call.person["name"], *call.person["slots"].values(), *call.false_values.values()]
    faults = of_example(texts, example, given)
    asked = [fact | {"question": entries[fact["slot"]]["question"]} for fact in call.facts]
    twins = twins_of(asked, slots, limits.near_duplicate)
    for fact in call.facts:
        slot, others, entry = fact["slot"], call.others(fact), entries[fact["slot"]]
        event = kind if names_event(SLOTS[slot]) else None
        question, paraphrase = entry["question"], entry["paraphrased_answer"]
        of_question = question_faults(question, fact, others, event, kind, limits)
        of_paraphrase = statement_faults(paraphrase, fact, others, limits)
        if slot in twins:
            of_question.append(twins[slot])
        faults += faulty(f"{slot}, question", question, of_question)
        faults += faulty(f"{slot}, paraphrased_answer", paraphrase, of_paraphrase)
        if not of_question and not of_paraphrase:
            faults += wrong_answer_faults(slot, entry, fact["value"], call.false_values[slot])
    for near, far in call.pairs():
        if form(entries[near]["question"]) != form(entries[far]["question"]):
            both = " and ".join(f"“{entries[slot]['question']}”" for slot in (near, far))
            faults.append(f"{near}, {far}: {both} must open with the same question word")
    premises = [(fact, fact["question"], fact["value"]) for fact in asked]
    for slot, slot_faults in premise_faults(premises, limits).items():
        faults += [f"{slot}, question: {fault}" for fault in slot_faults]
    return faults


def twins_of(asked: Sequence[dict], slots: Sequence[str], near: float) -> dict[str, str]:
    """Find questions of one call that are equal, or alike from `near` (0–100): slot → fault.

    Of two such questions, the one that fits its slot less is at fault. If both fit, it is the later
    one.
    """
    first: dict[tuple, dict] = {}
    pairs, found = [], {}
    for fact in asked:
        twin = first.setdefault(same_question(fact["question"], fact["name"]), fact)
        if twin is not fact:
            pairs.append((fact, twin, "is the same as"))
    pairs += [(fact, twin, "is nearly the same as") for fact, twin in near_twins(asked, near)]
    for fact, twin, alike in pairs:
        wrong, right = fact, twin
        if less_fitting((twin, twin["question"]), (fact, fact["question"]), slots):
            wrong, right = twin, fact
        found.setdefault(
            wrong["slot"],
            f"{alike} the question of {right['slot']}, which has another answer; use other words, "
            f"for {ASK_WITH[wrong['value_type']]}",
        )
    return found


def wrong_answer_faults(slot: str, entry: dict, value: str, false_value: str) -> list[str]:
    """Find faults in a wrong answer: it must be the paraphrase with the false value."""
    faults = []
    for key in ("question", "paraphrased_answer"):
        if occurrences(entry[key], false_value):
            why = f"must not contain the false value “{false_value}”"
            faults += faulty(f"{slot}, {key}", entry[key], [why])
    expected = exchanged(entry["paraphrased_answer"], value, false_value)
    if not faults and one_article(entry["wrong_answer"]) != one_article(expected):
        why = f"must be the paraphrased_answer with the false value: “{expected}”"
        faults += faulty(f"{slot}, wrong_answer", entry["wrong_answer"], [why])
    return faults


def clashes(calls: list[Call], values: dict[str, dict], near: float) -> dict[str, str]:
    """Find calls whose question is like one of another call of the person: call → reason.

    Questions are alike from a ratio of `near` (0–100).

    Of two such calls, the one whose question fits its slot less is at fault. If both fit, it is the
    later one.
    """
    found, first, asked = {}, {}, []
    slots = {call.person["person_id"]: [fact["slot"] for fact in call.all_facts] for call in calls}
    pairs = []
    for call in calls:
        entries = values.get(call.key, {"facts": {}})["facts"]
        for fact in call.facts:
            if fact["slot"] not in entries:
                continue
            question = cleaned(entries[fact["slot"]]["question"])
            record = fact | {"question": question, "call": call.key}
            key = (record["person_id"], *same_question(question, record["name"]))
            twin = first.setdefault(key, record)
            if twin["call"] != call.key:
                pairs.append((record, twin, "the same as"))
            asked.append(record)
    pairs += [(record, twin, "nearly the same as") for record, twin in near_twins(asked, near)]
    for record, twin, alike in pairs:
        if record["call"] == twin["call"]:
            continue
        wrong, right = record, twin
        person_slots = slots[record["person_id"]]
        if less_fitting((twin, twin["question"]), (record, record["question"]), person_slots):
            wrong, right = twin, record
        reason = (
            f"{wrong['slot']}, question: “{wrong['question']}” is {alike} one of {right['call']}"
        )
        found.setdefault(wrong["call"], reason)
    return found


def qa_record(fact: dict, entry: dict, wrong_values: list[str]) -> dict:
    """The record of a fact; its wrong answers are the paraphrase with false values.

    One of them is the author's wrong answer, with its article corrected if needed.
    """
    paraphrase = cleaned(entry["paraphrased_answer"])
    kept = {key: value for key, value in fact.items() if key != "sentence"}
    return kept | {
        "question": cleaned(entry["question"]),
        "answer": fact["value"],
        "paraphrased_answer": paraphrase,
        "wrong_answers": [
            {"value": value, "text": exchanged(paraphrase, fact["value"], value)}
            for value in wrong_values
        ],
    }


def write_questions(
    asker: Asker,
    people: dict[str, dict],
    facts: dict[str, list[dict]],
    draw_wrong_values: Callable[[dict], list[str]],
    seed: int,
    limits: WritingLimits,
) -> tuple[list[dict], Answers]:
    """Write the questions and answers of all facts.

    Args:
        asker: asks the model.
        people: profiles by person id.
        facts: fact records, with sentences, by person id.
        draw_wrong_values: draws the false values of a fact; the author gets the first one.
        seed: of calls and forms.
        limits: what the texts are held to.

    Returns:
        Question records in the order of the facts, without people of whom a call has no accepted
        reply; the answers.
    """
    wrong_values = {
        fact["id"]: draw_wrong_values(fact)
        for person_facts in facts.values()
        for fact in person_facts
    }
    false_values = {fact_id: values[0] for fact_id, values in wrong_values.items()}
    calls = {
        call.key: call
        for person_id, person_facts in facts.items()
        for call in calls_of(people[person_id], person_facts, seed, false_values)
    }
    answers = asker.ask(
        calls,
        qa_request,
        partial(qa_faults, limits=limits),
        find_clashes=lambda values: clashes(list(calls.values()), values, limits.near_duplicate),
    )
    written = {
        (call.person["person_id"], slot): entry
        for key, call in calls.items()
        for slot, entry in answers.values.get(key, {"facts": {}})["facts"].items()
    }
    records = [
        qa_record(fact, written[person_id, fact["slot"]], wrong_values[fact["id"]])
        for person_id, person_facts in facts.items()
        if all((person_id, fact["slot"]) in written for fact in person_facts)
        for fact in person_facts
    ]
    return records, answers
