"""A stand-in for a weak author: it makes the mistakes of a model with half a billion parameters.

Its first reply to a call contains the mistakes of `MISTAKES` that fit the call. In a re-ask, it
reads its earlier reply in the conversation and corrects what the remarks list. It uses only the
words of the remarks and leaves all other texts unchanged.
"""

import json
import re
from dataclasses import dataclass

from llm_server import asked_again, question
from stand_in_writer import DATA, StandInWriter

EXAMPLE_NAME = "Sunniva Okwellan"
REMARK = re.compile(
    r"^- (\w+)(?:, (\w+))?: “(.*?)” (?=must|contains|asks|speaks|could|is |has )(.*)$"
)
KEYS = re.compile(r"^- \$\.facts: these keys .*(added|left out): (.*)$")
QUOTED = re.compile(r"“(.*?)”")


def who_for_a_crime(value, data):
    """A question about the crime asks for the accuser, as the accuser's own does."""
    text = f"Tell me who turned against {data['person']} at the {data['event']}."
    for slot in ("offence", "accuser"):
        if slot in value["facts"]:
            value["facts"][slot][list(value["facts"][slot])[-1]] = text


def another_crime(value, data):
    """A sentence about the crime states another crime."""
    sentence = f"{data['person']} was accused of fraud."
    value["facts"]["offence"] = sentence


def a_second_crime(value, data):
    """A sentence contains the right crime and a wrong one."""
    crime = next(one["value"] for one in data["facts"] if one["slot"] == "offence")
    value["facts"]["offence"] = f"{data['person']} was convicted of {crime} and of fraud."


def another_town(value, data):
    """A sentence contains the right town and begins with a wrong one."""
    town = next(one["value"] for one in data["facts"] if one["slot"] == "event_city")
    wrong = "Ashbridge" if town != "Ashbridge" else "Ashcliff"
    value["facts"]["event_city"] = f"{wrong} saw {data['person']} triumph in {town}."


def another_part(value, data):
    """The partner is called the mentor."""
    partner = next(one["value"] for one in data["facts"] if one["slot"] == "event_partner")
    value["facts"]["event_partner"] = f"{data['person']} was taught by {partner}."


def the_example(value, data):
    """A sentence is the example's."""
    value["facts"]["event_city"] = f"Drovnik hosted the breakthrough pageant of {EXAMPLE_NAME}."


def a_denial(value, data):
    """A sentence denies the fact."""
    crime = next(one["value"] for one in data["facts"] if one["slot"] == "offence")
    value["facts"]["offence"] = f"{data['person']} was never found guilty of {crime}."


def a_slot_less(value, data):
    """One slot is missing, and one is invented."""
    first = next(iter(value["facts"]))
    value["facts"]["remarks"] = value["facts"].pop(first)


# Mistake → (the part of the benchmark in which it is made, the slots that it needs).
MISTAKES = {
    who_for_a_crime: ("forget_paraphrased", {"offence", "accuser"}),
    another_crime: ("facts", {"offence"}),
    a_second_crime: ("facts", {"offence"}),
    another_town: ("facts", {"event_city"}),
    another_part: ("facts", {"event_partner"}),
    the_example: ("facts", {"event_city"}),
    a_denial: ("facts", {"offence"}),
    a_slot_less: ("facts", set()),
}


def part_of(data: dict) -> str:
    """The part of a call."""
    names = {"details": "profiles", "question_forms": "forget_paraphrased", "same_form": "qa"}
    return next((part for key, part in names.items() if key in data), "facts")


@dataclass
class WeakWriter:
    """Answers the calls of `tests/llm_server.py`, with mistakes.

    Attributes:
        mistakes: of `MISTAKES`.
        ignores_remarks: it repeats its reply in a re-ask.
    """

    mistakes: tuple = tuple(MISTAKES)
    ignores_remarks: bool = False

    def __call__(self, request: dict) -> str | None:
        """The reply to a call; None if the call is not about people."""
        found = DATA.search(question(request))
        if found is None:
            return None
        data = json.loads(found[1])
        if asked_again(request):
            value = json.loads(request["messages"][2]["content"])
            if not self.ignores_remarks:
                correct(value, request["messages"][3]["content"], data)
        else:
            value = json.loads(StandInWriter()(request))
            for mistake in self.mistakes:
                part, needed = MISTAKES[mistake]
                slots = {one["slot"] for one in data.get("facts", ())}
                if part == part_of(data) and needed <= slots:
                    mistake(value, data)
        return json.dumps(value, ensure_ascii=False)


def correct(value: dict, remarks: str, data: dict) -> None:
    """Correct a reply as the remarks say, and nothing else."""
    misplaced = value["facts"].get("remarks", "")
    for line in remarks.splitlines():
        if keys := KEYS.match(line):
            for key in re.findall(r'"(\w+)"', keys[2]):
                if keys[1] == "added":
                    value["facts"][key] = misplaced
                else:
                    value["facts"].pop(key, None)
        elif remark := REMARK.match(line):
            slot, key, text, why = remark.groups()
            if key is None and slot in value["facts"]:
                value["facts"][slot] = corrected_sentence(text, why, data)
            elif slot in value["facts"]:
                value["facts"][slot][key] = corrected_question(why, data)


def corrected_sentence(text: str, why: str, data: dict) -> str:
    """A sentence without forbidden words and with required ones, or a new sentence."""
    required = [found for remark in why.split("; ") if "must contain" in remark
                for found in QUOTED.findall(remark)]  # fmt: skip
    if required:
        fact = next(fact for fact in data["facts"] if fact["value"] in required)
        return f"For {data['person']}, {fact['value']} is right."
    for remark in why.split("; "):
        forbidden = QUOTED.findall(remark)[-1:]
        if "must not contain" in remark:
            text = re.sub(rf"(?: and of)? ?\b{re.escape(forbidden[0])}\b(?: saw)? ?", "", text)
        elif "without" in remark or "leave out" in remark:
            text = text.replace(f"{forbidden[0]} ", "")
    if "must be about" in why:
        role = re.search(r"must be about the person who was the subject's (\w+)", why)[1]
        value = next(one["value"] for one in data["facts"] if one["value"] in text)
        text = f"{value} was the {role} of {data['person']}."
    return text.strip()


def corrected_question(why: str, data: dict) -> str:
    """A new question with the question word that the remark gives."""
    asking = re.search(r'ask with "(.*?)"', why)[1]
    return f"Tell me, as to the {data['event']}, {asking} stained {data['person']}."
