"""The text of a preview: a few people of the benchmark, and the estimated cost of the whole."""

import textwrap
from dataclasses import dataclass, field

from excise.generation.offline_author import by_person
from excise.generation.people import Drawn
from excise.generation.settings import PeopleSettings

WIDTH = 100
PARTS = {
    "profiles": "profiles",
    "facts": "facts",
    "qa": "questions",
    "forget_paraphrased": "paraphrased questions",
}
GROUPS = {"sf": "to be forgotten", "correlated": "of the same event", "other": "of other times"}

Cost = tuple[int, tuple[int, int], float]  # calls, tokens in and out, US dollars


@dataclass
class Shown:
    """The texts of the people shown, and their cost.

    Attributes:
        drawn: the people, without texts.
        profiles, facts, qa, forget_paraphrased: records of the four files.
        costs: part → its cost, and the number of people.
        judge: estimated cost of judging the whole dataset, if a judge is enabled.
        openai: whether a model is the author.
    """

    drawn: list[dict]
    profiles: list[dict] = field(default_factory=list)
    facts: list[dict] = field(default_factory=list)
    qa: list[dict] = field(default_factory=list)
    forget_paraphrased: list[dict] = field(default_factory=list)
    costs: dict[str, tuple[Cost, int]] = field(default_factory=dict)
    judge: Cost | None = None
    openai: bool = False

    def enter(self, part: str, author, people: int) -> None:
        """Record the cost of a part and its number of people."""
        self.costs[part] = author.cost(), people
        self.openai = author.usage()["backend"] != "offline"


def people_text(shown: Shown) -> str:
    """The texts of the people shown, as far as they exist."""
    profiles = {person["person_id"]: person for person in shown.profiles}
    facts, qa = by_person(shown.facts), by_person(shown.qa)
    paraphrased = by_person(shown.forget_paraphrased)
    blocks = []
    for person in shown.drawn:
        person_id = person["person_id"]
        person = profiles.get(person_id, person)  # the profile may be that of a replacement
        lines = [f"== {person_id} {person['name']}, {person['event_kind']} ==", ""]
        if person_id not in profiles:
            lines.append(f"No profile was accepted; drawn: {', '.join(person['slots'].values())}")
        else:
            lines.append(_wrapped(person["text"]))
        lines += _fact_lines(
            facts.get(person_id, []), qa.get(person_id, []), paraphrased.get(person_id, [])
        )
        for part, records in (
            ("facts", facts),
            ("qa", qa),
            ("forget_paraphrased", paraphrased),
        ):
            if person_id in profiles and person_id not in records:
                lines += ["", f"Not written: {PARTS[part]}"]
        blocks.append("\n".join(lines))
    return "\n\n".join(["", *blocks, ""])


def _fact_lines(facts: list[dict], qa: list[dict], paraphrased: list[dict]) -> list[str]:
    questions = {record["id"]: record for record in qa}
    paraphrases: dict[str, list[str]] = {}
    for record in paraphrased:
        paraphrases.setdefault(record["fact_id"], []).append(record["question"])
    lines, group = [], None
    for fact in facts:
        if fact["group"] != group:
            group = fact["group"]
            lines += ["", f"-- Facts {GROUPS[group]} --"]
        lines += ["", _wrapped(f"{fact['slot']} = {fact['value']}. {fact['sentence']}")]
        if record := questions.get(fact["id"]):
            wrong = record["wrong_answers"]
            lines += [
                _wrapped(f"question: {record['question']}", 2),
                _wrapped(f"answer: {record['answer']}", 2),
                _wrapped(f"paraphrased answer: {record['paraphrased_answer']}", 2),
                _wrapped(f"wrong answer, 1 of {len(wrong)}: {wrong[0]['text']}", 2),
            ]
        lines += [
            _wrapped(f"paraphrased question: {question}", 2)
            for question in paraphrases.get(fact["id"], ())
        ]
    return lines


def _wrapped(text: str, indent: int = 0) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2)
    )


def cost_text(shown: Shown, drawn: Drawn, settings: PeopleSettings) -> str:
    """The cost of the people shown, and the estimated cost of all people.

    Args:
        shown: what was written.
        drawn: everybody in the whole run.
        settings: how many people are wanted.
    """
    who = f"{settings.people} people"
    who += f", {settings.holdout} held out" if settings.holdout else ""
    who += f" and {drawn.spare} spare" if drawn.spare else ""
    if not shown.openai:
        return f"The phrase frames write all texts ({who}) without a model. This costs nothing."
    total, whole, missing = _nothing(), _nothing(), []
    for part, name in PARTS.items():
        if part not in shown.costs:
            missing.append(name)
            continue
        cost, written_people = shown.costs[part]
        total = _sum(total, cost)
        people = drawn.people if part == "forget_paraphrased" else drawn.everybody
        whole = _sum(whole, _times(cost, len(people) / written_people))
    count = len(shown.drawn)
    lines = [
        f"These {count} people took {_words(total)}, including repeated calls and earlier runs.",
        f"The whole run ({who}) would take about {_words(whole)}, if the other people take as "
        f"much. It uses the answers about these {count} again, which are already paid.",
    ]
    if missing:
        lines.append(
            f"Not counted, because an earlier part has no accepted text: {', '.join(missing)}."
        )
    if shown.judge:
        lines.append(f"The judge (red_team.judge) would take about {_words(shown.judge)} more.")
    if not total[2]:
        lines.append("No prices are set (generation.llm.budget.usd_per_million_in and _out).")
    return "\n".join(lines)


def _nothing() -> Cost:
    return 0, (0, 0), 0.0


def _sum(one: Cost, two: Cost) -> Cost:
    tokens = one[1][0] + two[1][0], one[1][1] + two[1][1]
    return one[0] + two[0], tokens, one[2] + two[2]


def _times(cost: Cost, factor: float) -> Cost:
    calls, (tokens_in, tokens_out), usd = cost
    return (
        round(calls * factor),
        (round(tokens_in * factor), round(tokens_out * factor)),
        usd * factor,
    )


def _words(cost: Cost) -> str:
    calls, (tokens_in, tokens_out), usd = cost
    money = f", ${usd:.2f}" if usd else ""
    return f"{calls:,} calls, {tokens_in:,} tokens in, {tokens_out:,} out{money}"
