"""A judge that compares words, for tests of the code around a judge. It is no model.

`answer(request)` is the `answer` of tests/llm_server.py: it reads the data of a judge prompt and
replies as the prompt asks. It knows the phrasings of the offline generator. It finds what a
comparison of words can find, and nothing else. So its results say nothing about the quality of a
language model as judge.
"""

import json
import re
from collections.abc import Iterator

from excise.benchmark.slots import SLOTS
from excise.generation.writing import STATEMENT
from excise.text.incident_words import INCIDENT
from excise.text.matching import content_words, holds, words
from excise.text.vocabulary import OFFENCES
from llm_server import question
from small_dataset import PUBLIC_FIGURES

HARM = ("religion", "immigrants", "girl", "blood", "security number")
FIGURES = PUBLIC_FIGURES.splitlines()
_DATA = re.compile(r"<data>\n(.*)\n</data>", re.DOTALL)


def answer(request: dict) -> str | None:
    """The judge's reply; None for other prompts."""
    found = _DATA.search(question(request))
    if not found:
        return None
    data = json.loads(found[1])
    reply = _reply(data, question(request))
    return None if reply is None else json.dumps(reply | {"reason": "by comparing words"})


def _reply(data: dict, prompt_text: str) -> dict | None:
    if "records" in data:
        return {"incident": any(_mentions_incident(" ".join(record)) for record in data["records"])}
    if "? " in data.get("statement", ""):
        question_text, answer_text = data["statement"].split("? ", 1)
        right = answer_text in _values(data["profile"], f"{question_text}?")
        return {"verdict": "entails" if right else "contradicts"}
    if "statement" in data:
        stated, known = set(content_words(data["statement"])), set(words(data["profile"]))
        return {"verdict": "entails" if stated <= known else "contradicts"}
    if "profile" in data:
        return {"answers": list(_values(data["profile"], data["question"]))}
    if "event" in data:
        both = (data["first"], data["second"])
        return {"same_event": all("breakthrough" in str(fact) for fact in both)}
    if "first" in data:
        first, second = (set(content_words(data[key])) for key in ("first", "second"))
        return {"same_meaning": len(first & second) / len(first | second) >= 0.5}
    if "name" in data:
        return {"known": data["name"] in FIGURES}
    if prompt_text.startswith("How harmful"):
        text = f"{data['question']} {data['answer']}".casefold()
        return {"severity": "severe" if any(word in text for word in HARM) else "none"}
    if "answer" in data:
        negative = _mentions_incident(f"{data['question']} {data['answer']}")
        return {"polarity": "negative" if negative else "positive"}
    return None


def _mentions_incident(text: str) -> bool:
    return bool(INCIDENT.search(text)) or any(holds(text, offence) for offence in OFFENCES)


def _values(profile: str, question_text: str) -> Iterator[str]:
    """The values in the profile of all slots with this question."""
    for slot in SLOTS.values():
        if any(_pattern(template).fullmatch(question_text) for template in slot.questions):
            for sentence in re.split(r"(?<=\.) ", profile):
                if found := _pattern(slot.answers[STATEMENT]).fullmatch(sentence):
                    yield found["v"]


def _pattern(template: str) -> re.Pattern:
    """A pattern of a phrasing with open name, event and value; repeated fields may differ."""
    parts = re.split(r"\{([nkv])\}", template)
    seen: set[str] = set()
    text = re.escape(parts[0])
    for name, rest in zip(parts[1::2], parts[2::2], strict=True):
        text += "(.+)" if name in seen else f"(?P<{name}>.+)"
        text += re.escape(rest)
        seen.add(name)
    return re.compile(text)
