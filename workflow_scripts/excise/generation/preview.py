"""Show a few people of the benchmark, and estimate the cost of the whole."""

import textwrap
from dataclasses import dataclass, field

from excise.config.presets import resolve
from excise.generation.offline_author import by_person

WIDTH = 100
PARTS = {
    "profiles": "profiles",
    "facts": "facts",
    "qa": "questions",
    "forget_paraphrased": "held-out questions",
}
GROUPS = {"sf": "to be forgotten", "correlated": "of the same event", "other": "of other times"}

Took = tuple[int, tuple[int, int], float]  # calls, tokens in and out, US dollars


@dataclass
class Shown:
    """What was written about the people shown, and its cost.

    Attributes:
        drawn: the people, without texts.
        profiles, facts, qa, held_out: records of those four files.
        took: part → its cost, and the number of people.
        judge: estimated cost of judging the whole dataset, if a judge is enabled.
        openai: whether a model writes.
    """

    drawn: list[dict]
    profiles: list[dict] = field(default_factory=list)
    facts: list[dict] = field(default_factory=list)
    qa: list[dict] = field(default_factory=list)
    held_out: list[dict] = field(default_factory=list)
    took: dict[str, tuple[Took, int]] = field(default_factory=dict)
    judge: Took | None = None
    openai: bool = False

    def enter(self, part: str, author, people: int) -> None:
        """Record the cost of a part, and the number of people that its author wrote about."""
        self.took[part] = author.took(), people
        self.openai = author.usage()["backend"] != "offline"


def people_text(shown: Shown) -> str:
    """Profile, facts, questions and held-out questions of the people shown, as far as written."""
    profiles = {person["person_id"]: person for person in shown.profiles}
    facts, qa, held_out = map(by_person, (shown.facts, shown.qa, shown.held_out))
    blocks = []
    for person in shown.drawn:
        own = person["person_id"]
        person = profiles.get(own, person)  # or the replacement
        lines = [f"== {own} {person['name']}, {person['event_kind']} ==", ""]
        if own not in profiles:
            lines.append(f"No profile was accepted; drawn: {', '.join(person['slots'].values())}")
        else:
            lines.append(_wrapped(person["text"]))
        lines += _facts(facts.get(own, []), qa.get(own, []), held_out.get(own, []))
        for part, records in (("facts", facts), ("qa", qa), ("forget_paraphrased", held_out)):
            if own in profiles and own not in records:
                lines += ["", f"Not written: {PARTS[part]}"]
        blocks.append("\n".join(lines))
    return "\n\n".join(["", *blocks, ""])


def _facts(facts: list[dict], qa: list[dict], held_out: list[dict]) -> list[str]:
    asked = {record["id"]: record for record in qa}
    again: dict[str, list[str]] = {}
    for record in held_out:
        again.setdefault(record["fact_id"], []).append(record["question"])
    lines, group = [], None
    for fact in facts:
        if fact["group"] != group:
            group = fact["group"]
            lines += ["", f"-- Facts {GROUPS[group]} --"]
        lines += ["", _wrapped(f"{fact['slot']} = {fact['value']}. {fact['sentence']}")]
        if record := asked.get(fact["id"]):
            wrong = record["wrong_answers"]
            lines += [
                _wrapped(f"question: {record['question']}", 2),
                _wrapped(f"answer: {record['answer']}", 2),
                _wrapped(f"paraphrased: {record['paraphrased_answer']}", 2),
                _wrapped(f"wrong, 1 of {len(wrong)}: {wrong[0]['text']}", 2),
            ]
        lines += [_wrapped(f"held out: {question}", 2) for question in again.get(fact["id"], ())]
    return lines


def _wrapped(text: str, indent: int = 0) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2)
    )


def cost_text(shown: Shown, hp: dict, people: int, spare: int) -> str:
    """The cost of the people shown, and the estimate for all people.

    Args:
        shown: what was written.
        hp: generation settings.
        people: how many will be written about.
        spare: how many of them are spare.
    """
    wanted = resolve(hp).people
    who = f"{wanted} people" + (f" and {spare} spare" if spare else "")
    if not shown.openai:
        return f"The phrase frames write all of it ({who}) without a model. This costs nothing."
    total, whole, missing = _nothing(), _nothing(), []
    for part, name in PARTS.items():
        if part not in shown.took:
            missing.append(name)
            continue
        took, asked = shown.took[part]
        total = _sum(total, took)
        whole = _sum(whole, _times(took, people / asked))
    count = len(shown.drawn)
    lines = [
        f"These {count} people took {_words(total)}, including repeated calls and earlier runs.",
        f"The whole run ({who}) would take about {_words(whole)}, if the others cost as "
        f"much. It uses the answers about these {count} again; they are already paid.",
    ]
    if missing:
        lines.append(f"Not counted, because no text was accepted before: {', '.join(missing)}.")
    if shown.judge:
        lines.append(f"The judge (red_team.judge) would take about {_words(shown.judge)} more.")
    if not total[2]:
        lines.append("No prices are set (generation.llm.budget.usd_per_million_in and _out).")
    return "\n".join(lines)


def _nothing() -> Took:
    return 0, (0, 0), 0.0


def _sum(one: Took, two: Took) -> Took:
    tokens = one[1][0] + two[1][0], one[1][1] + two[1][1]
    return one[0] + two[0], tokens, one[2] + two[2]


def _times(took: Took, factor: float) -> Took:
    calls, (tokens_in, tokens_out), usd = took
    return (
        round(calls * factor),
        (round(tokens_in * factor), round(tokens_out * factor)),
        usd * factor,
    )


def _words(took: Took) -> str:
    calls, (tokens_in, tokens_out), usd = took
    money = f", ${usd:.2f}" if usd else ""
    return f"{calls:,} calls, {tokens_in:,} tokens in, {tokens_out:,} out{money}"
