"""The author without a model: phrase frames write every text."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from excise.config.presets import perturbed_candidates, resolve
from excise.generation.writing import QuestionWriter, facts_of, forget_paraphrases_of, profile_text


class OfflineAuthor:
    """Phrase frames, no model and no network."""

    def check_budget(self, people: list[dict], hp: dict) -> None:
        """Nothing is bought."""

    def profiles(self, people: list[dict], draw_again: Callable[[dict], dict]) -> list[dict]:
        """Profile records of drawn people."""
        return [person | {"text": profile_text(person)} for person in people]

    def facts(self, people: list[dict]) -> list[dict]:
        """Fact records, each with a sentence."""
        return [fact for person in people for fact in facts_of(person)]

    def questions(self, people: dict[str, dict], facts: list[dict], hp: dict) -> list[dict]:
        """Question records of the facts."""
        writer = QuestionWriter(people, hp["seed"], perturbed_candidates(hp))
        return [writer.write(fact) for fact in facts]

    def held_out(self, people: dict[str, dict], facts: list[dict], hp: dict) -> list[dict]:
        """Held-out questions about the forget facts."""
        count = resolve(hp).paraphrases
        return [
            record
            for fact in facts
            if fact["group"] == "sf"
            for record in forget_paraphrases_of(fact, people[fact["person_id"]], count)
        ]

    def took(self) -> tuple[int, tuple[int, int], float]:
        """Calls, tokens in and out, US dollars: nothing."""
        return 0, (0, 0), 0.0

    def judge_estimate(self, people: list[dict], hp: dict) -> None:
        """Nobody judges."""

    def usage(self) -> dict:
        """Nothing was asked of anybody."""
        return {"backend": "offline", "requests": 0, "tokens_in": 0, "tokens_out": 0, "usd": 0.0}

    def __enter__(self) -> "OfflineAuthor":
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to close."""


def by_person(records: Iterable[dict]) -> dict[str, list[dict]]:
    """Records by person id, both in the order of first appearance."""
    own: dict[str, list[dict]] = defaultdict(list)
    for record in records:
        own[record["person_id"]].append(record)
    return dict(own)
