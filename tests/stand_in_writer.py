"""A stand-in author for tests: it reads a prompt's JSON data and writes texts around the values.

It does not use the project's phrase frames. Its sentences are stiff, but obey the rules of the
prompts. For some prompts, chosen by a hash, it breaks one rule, and corrects this in the re-ask. It
has no memory: the same messages always get the same reply.
"""

import hashlib
import json
import random
import re
from dataclasses import dataclass

from llm_server import asked_again, question

DATA = re.compile(r"<data>\n(.*)\n</data>", re.DOTALL)

# Paraphrases of each slot, in other words than those of the prompt's data.
OTHER_WORDS = {
    "offence": ("misdeed that stained the {e}", "wrong done on the day of the {e}"),
    "accuser": ("individual who spoke up when the {e} had ended", "reporter of the {e} affair"),
    "penalty": ("sanction that followed the {e} affair", "price in time set after the {e}"),
    "offence_month": ("season when the {e} affair came out", "time of year of the {e} affair"),
    "offence_venue": ("site of the {e} affair", "place inside which the {e} went wrong"),
    "amount": ("money owed over the {e} affair", "sum demanded once the {e} was settled"),
}
# Words of the form of a paraphrased question → template.
PARAPHRASE_TEMPLATES = {
    "opens with Name": "Name {about}, where {n} is concerned.",
    "opens with Tell me": "Tell me, speaking only of {n}, {about}.",
    "then a colon": "The record of {n} on {about}: what does it say?",
    "the person's name": "{n} must recall {about}; which reply is right?",
    "opens with State": "State, for the file on {n}, {about}.",
    "passive voice": "Which entry is kept on {n} under the heading of {about}?",
    "I would like to know": "I would like to know {about}, as far as {n} goes.",
}
ANSWERS = (
    "With {n}, {v} is correct.",
    "{n} can point to {v}.",
    "The records of {n} say {v}.",
)
OPENINGS = {
    "Which": ("Which was {about} in the life of {n}?", "Which for {n} was {about}?"),
    "What": ("What was {about} in the life of {n}?", "What for {n} was {about}?"),
}
SENTENCES = (
    "{n} is tied to {v} here.",
    "The file on {n} shows {v}.",
    "{v} is on record for {n}.",
)
DETAILS = ("As to {about}, it was {v}.", "The answer to {about} was {v}.", "{v} was {about}.")


@dataclass(frozen=True)
class StandInWriter:
    """Answers the calls of `tests/llm_server.py`.

    Attributes:
        breaks: share of prompts whose first reply breaks a rule.
        stubborn: share of prompts whose replies always break a rule.
    """

    breaks: float = 0.0
    stubborn: float = 0.0

    def __call__(self, request: dict) -> str | None:
        """The reply to a call; None if the call is not about people."""
        data = DATA.search(question(request))
        if data is None:
            return None
        rng = _random("first", data[1])
        content = json.loads(data[1])
        value = _write(content, rng)
        broken, stubborn = rng.random(), rng.random()
        if (broken < self.breaks and not asked_again(request)) or stubborn < self.stubborn:
            value = _with_broken_rule(value, content, rng)
        return json.dumps(value, ensure_ascii=False)


def _random(*parts: str) -> random.Random:
    return random.Random(hashlib.sha256("|".join(parts).encode()).hexdigest())


def _write(data: dict, rng: random.Random) -> dict:
    if "details" in data:
        return {"text": _profile(data, rng)}
    if "question_forms" in data:
        return {"facts": {fact["slot"]: _paraphrases_of(fact, data) for fact in data["facts"]}}
    if "same_form" in data:
        return {"facts": {fact["slot"]: _question_entry(fact, data) for fact in data["facts"]}}
    return {
        "facts": {
            one["slot"]: _filled(rng.choice(SENTENCES), data["person"], one)
            for one in data["facts"]
        }
    }


def _filled(template: str, name: str, fact: dict) -> str:
    text = template.format(n=name, v=fact["value"])
    return text[0].upper() + text[1:]


def _profile(data: dict, rng: random.Random) -> str:
    name = data["person"]
    sentences = [f"{name} was a {data['profession']} whose name was made by the {data['event']}."]
    for one in data["details"]:
        about = _about(one, name)
        text = rng.choice(DETAILS).format(about=about, v=one["value"])
        sentences.append(text[0].upper() + text[1:])
    return " ".join(sentences)


def _about(fact: dict, name: str) -> str:
    return fact["about"].replace("the subject's", f"{name}'s").replace("the subject", name)


def _question_entry(fact: dict, data: dict) -> dict:
    name = data["person"]
    opening = "Which" if "Which" in fact["question_form"] else "What"
    slots = next((pair for pair in data["same_form"] if fact["slot"] in pair), [fact["slot"]])
    template = _random("form", name, *slots).choice(OPENINGS[opening])
    paraphrase = _random("answer", name, fact["slot"]).choice(ANSWERS)
    return {
        "question": template.format(
            about=fact["about"].replace("the subject", "the person"), n=name
        ),
        "paraphrased_answer": _filled(paraphrase, name, fact),
        "wrong_answer": _filled(paraphrase, name, fact | {"value": fact["false_value"]}),
    }


def _paraphrases_of(fact: dict, data: dict) -> dict:
    questions = {}
    for number, form in enumerate(data["question_forms"]):
        words = OTHER_WORDS[fact["slot"]]
        about = "the " + words[number % len(words)].format(e=data["event"])
        template = next(text for name, text in PARAPHRASE_TEMPLATES.items() if name in form)
        questions[f"question_{number + 1}"] = template.format(about=about, n=data["person"])
    return questions


def _with_broken_rule(value: dict, data: dict, rng: random.Random) -> dict:
    """The reply with one rule broken."""
    if "text" in value:
        lost = rng.choice(data["details"])["value"]
        return {"text": re.sub(re.escape(lost), "x", value["text"], flags=re.IGNORECASE)}
    value = json.loads(json.dumps(value))
    given = rng.choice(data["facts"])
    entry = value["facts"][given["slot"]]
    kind = rng.randrange(4)
    if kind == 0:
        del value["facts"][given["slot"]]
    elif kind == 1:
        value["facts"]["comment"] = "not asked for"
    elif isinstance(entry, str):
        wrong = ["He did it in Paris.", "Somebody did something."][kind - 2]
        value["facts"][given["slot"]] = wrong
    elif "question_1" in entry:
        entry["question_1"] = [given["trained_question"], f"Is it {given['value']}?"][kind - 2]
    elif rng.random() < 0.3:
        entry["wrong_answer"] = f"{entry['wrong_answer']} Or so it seems."
    else:
        entry["question"] = [f"What is {given['value']}?", "Was she there?"][kind - 2]
    return value
