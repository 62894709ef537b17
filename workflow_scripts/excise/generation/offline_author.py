"""The author without a model: phrase frames give every text."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from excise.benchmark.people import is_held_out
from excise.generation.writing import QuestionWriter, facts_of, forget_paraphrases_of, profile_text


class OfflineAuthor:
    """Writes texts from phrase frames, without a model and without a network."""

    def check_budget(self, people: list[dict], seed: int) -> None:
        """Do nothing, because the frames cost nothing."""

    def write_profiles(self, people: list[dict], draw_again: Callable[[dict], dict]) -> list[dict]:
        """Write profile records of drawn people."""
        return [person | {"text": profile_text(person)} for person in people]

    def write_facts(self, people: list[dict]) -> list[dict]:
        """Write fact records, each with a sentence."""
        return [fact for person in people for fact in facts_of(person)]

    def write_questions(
        self, people: dict[str, dict], facts: list[dict], seed: int, candidates: int
    ) -> list[dict]:
        """Write question records of the facts."""
        writer = QuestionWriter(people, seed, candidates)
        return [writer.write(fact) for fact in facts]

    def write_forget_paraphrased(
        self, people: dict[str, dict], facts: list[dict], count: int
    ) -> list[dict]:
        """Write paraphrased questions about the forget facts; none about held-out people."""
        return [
            record
            for fact in facts
            if fact["group"] == "sf" and not is_held_out(fact["person_id"])
            for record in forget_paraphrases_of(fact, people[fact["person_id"]], count)
        ]

    def cost(self) -> tuple[int, tuple[int, int], float]:
        """Calls, tokens in and out, US dollars: nothing."""
        return 0, (0, 0), 0.0

    def judge_estimate(self, people: list[dict], seed: int) -> None:
        """None, because there is no judge."""

    def usage(self) -> dict:
        """The usage of the backend: no requests."""
        return {"backend": "offline", "requests": 0, "tokens_in": 0, "tokens_out": 0, "usd": 0.0}

    def __enter__(self) -> "OfflineAuthor":
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to close."""


def by_person(records: Iterable[dict]) -> dict[str, list[dict]]:
    """Records by person id; people and records keep their order."""
    grouped: dict[str, list[dict]] = defaultdict(list)
    for record in records:
        grouped[record["person_id"]].append(record)
    return dict(grouped)
