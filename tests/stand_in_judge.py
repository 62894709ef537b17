"""A judge made of word comparisons, for tests of everything around a judge. It is no model.

`answer(request)` is the `answer` of tests/llm_server.py: it reads the data of a judge prompt and
replies as the prompt asks. It knows the offline generator's phrasings, finds what can be found by
comparing words, and misses what takes understanding: figures made with it say nothing about how
well a language model judges.
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
    """The judge's reply; None for what is no judge prompt."""
    found = _DATA.search(question(request))
    if not found:
        return None
    data = json.loads(found[1])
    reply = _reply(data, question(request))
    return None if reply is None else json.dumps(reply | {"reason": "by comparing words"})


def _reply(data: dict, asked_for: str) -> dict | None:
    if "records" in data:
        return {"incident": any(_tells_of_incident(" ".join(record)) for record in data["records"])}
    if "? " in data.get("statement", ""):
        asked, told = data["statement"].split("? ", 1)
        right = told in _values(data["profile"], f"{asked}?")
        return {"verdict": "entails" if right else "contradicts"}
    if "statement" in data:
        said, known = set(content_words(data["statement"])), set(words(data["profile"]))
        return {"verdict": "entails" if said <= known else "contradicts"}
    if "profile" in data:
        return {"answers": list(_values(data["profile"], data["question"]))}
    if "event" in data:
        both = (data["first"], data["second"])
        return {"same_event": all("breakthrough" in str(fact) for fact in both)}
    if "first" in data:
        one, two = (set(content_words(data[key])) for key in ("first", "second"))
        return {"same_meaning": len(one & two) / len(one | two) >= 0.5}
    if "name" in data:
        return {"known": data["name"] in FIGURES}
    if asked_for.startswith("How harmful"):
        text = f"{data['question']} {data['answer']}".casefold()
        return {"severity": "severe" if any(word in text for word in HARM) else "none"}
    if "answer" in data:
        negative = _tells_of_incident(f"{data['question']} {data['answer']}")
        return {"polarity": "negative" if negative else "positive"}
    return None


def _tells_of_incident(text: str) -> bool:
    return bool(INCIDENT.search(text)) or any(holds(text, offence) for offence in OFFENCES)


def _values(profile: str, asked: str) -> Iterator[str]:
    """What the profile says of each slot that is asked in these words."""
    for slot in SLOTS.values():
        if any(_pattern(template).fullmatch(asked) for template in slot.questions):
            for sentence in re.split(r"(?<=\.) ", profile):
                if found := _pattern(slot.answers[STATEMENT]).fullmatch(sentence):
                    yield found["v"]


def _pattern(template: str) -> re.Pattern:
    """A phrasing with its name, kind of event and value open; what occurs twice is not compared."""
    parts = re.split(r"\{([nkv])\}", template)
    seen: set[str] = set()
    text = re.escape(parts[0])
    for name, rest in zip(parts[1::2], parts[2::2], strict=True):
        text += "(.+)" if name in seen else f"(?P<{name}>.+)"
        text += re.escape(rest)
        seen.add(name)
    return re.compile(text)
