"""A stand-in for a weak author: it makes the mistakes that a model of half a billion made.

Its first reply to a call holds the mistakes named in `MISTAKES`, as far as they fit the call. Asked
again, it takes its own earlier reply out of the conversation and mends what the remarks list, with
the words that the remarks give and with nothing else; where they name no text it stays as it was.
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
    """A sentence about the crime tells of another one."""
    sentence = f"{data['person']} was accused of fraud."
    value["facts"]["offence"] = sentence


def a_second_crime(value, data):
    """The right crime stands in the sentence, and a wrong one."""
    crime = next(one["value"] for one in data["facts"] if one["slot"] == "offence")
    value["facts"]["offence"] = f"{data['person']} was convicted of {crime} and of fraud."


def another_town(value, data):
    """The right town stands in the sentence, and a wrong one opens it."""
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
    """The sentence says that it was not so."""
    crime = next(one["value"] for one in data["facts"] if one["slot"] == "offence")
    value["facts"]["offence"] = f"{data['person']} was never found guilty of {crime}."


def a_slot_less(value, data):
    """One slot is missing and one is invented."""
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
    """Which of the four files a call is about."""
    names = {"details": "profiles", "question_forms": "forget_paraphrased", "same_form": "qa"}
    return next((part for key, part in names.items() if key in data), "facts")


@dataclass
class WeakWriter:
    """Answers the calls of `tests/llm_server.py`, with mistakes.

    Attributes:
        mistakes: of `MISTAKES`.
        deaf: it gives its reply once more, whatever is said of it.
    """

    mistakes: tuple = tuple(MISTAKES)
    deaf: bool = False

    def __call__(self, request: dict) -> str | None:
        """The reply to a call; None for what is not about people."""
        found = DATA.search(question(request))
        if found is None:
            return None
        data = json.loads(found[1])
        if asked_again(request):
            value = json.loads(request["messages"][2]["content"])
            if not self.deaf:
                mend(value, request["messages"][3]["content"], data)
        else:
            value = json.loads(StandInWriter()(request))
            for mistake in self.mistakes:
                part, needed = MISTAKES[mistake]
                slots = {one["slot"] for one in data.get("facts", ())}
                if part == part_of(data) and needed <= slots:
                    mistake(value, data)
        return json.dumps(value, ensure_ascii=False)


def mend(value: dict, remarks: str, data: dict) -> None:
    """Do to a reply what the remarks say, and no more."""
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
                value["facts"][slot] = mended_sentence(text, why, data)
            elif slot in value["facts"]:
                value["facts"][slot][key] = mended_question(why, data)


def mended_sentence(text: str, why: str, data: dict) -> str:
    """A sentence without what must not stand in it, with what must, or a new one."""
    wanted = [found for told in why.split("; ") if "must contain" in told
              for found in QUOTED.findall(told)]  # fmt: skip
    if wanted:
        about = next(one for one in data["facts"] if one["value"] in wanted)
        return f"For {data['person']}, {about['value']} is right."
    for told in why.split("; "):
        unwanted = QUOTED.findall(told)[-1:]
        if "must not contain" in told:
            text = re.sub(rf"(?: and of)? ?\b{re.escape(unwanted[0])}\b(?: saw)? ?", "", text)
        elif "without" in told or "leave out" in told:
            text = text.replace(f"{unwanted[0]} ", "")
    if "must be about" in why:
        role = re.search(r"must be about the person who was the subject's (\w+)", why)[1]
        value = next(one["value"] for one in data["facts"] if one["value"] in text)
        text = f"{value} was the {role} of {data['person']}."
    return text.strip()


def mended_question(why: str, data: dict) -> str:
    """A new question with the question word that the remark gives."""
    asking = re.search(r'ask with "(.*?)"', why)[1]
    return f"Tell me, as to the {data['event']}, {asking} stained {data['person']}."
