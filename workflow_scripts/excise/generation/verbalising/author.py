"""The author that lets a language model write."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from excise.benchmark.people import is_held_out
from excise.errors import InputError
from excise.generation.offline_author import by_person
from excise.generation.settings import BudgetSettings, WritingLimits
from excise.generation.verbalising import facts as facts_part
from excise.generation.verbalising import forget_paraphrased as forget_paraphrased_part
from excise.generation.verbalising import profiles as profiles_part
from excise.generation.verbalising import qa as qa_part
from excise.generation.verbalising.asking import Answers, Asker
from excise.generation.verbalising.estimate import requests_of_all_parts, requests_of_judge
from excise.generation.writing import QuestionWriter, facts_of
from excise.llm import Request, Session, load_settings
from excise.llm.prompts import read_prompt
from excise.records import read_json, write_json
from excise.red_team.judge.judge import read_prompts

PARTS = {
    "profiles": profiles_part,
    "facts": facts_part,
    "qa": qa_part,
    "forget_paraphrased": forget_paraphrased_part,
}


class ModelAuthor:
    """Lets a model write texts around given values; has the methods of `OfflineAuthor`.

    Args:
        part: which of the four files it writes.
        prompt: the prompt file of the part.
        journal: the journal of the part, with requests and answers.
        llm: config section `generation.llm`.
        whole: what the author must know of the whole dataset.
        limits: what the texts are held to; None for the profiles.
        may_leave_out_all: whether it is no error if all people stay without a text.

    Raises:
        InputError: prompt file, settings, key or endpoint are wrong.
    """

    def __init__(
        self,
        part: str,
        prompt: str | Path,
        journal: str | Path,
        llm: dict,
        whole: BudgetSettings,
        limits: WritingLimits | None,
        may_leave_out_all: bool = False,
    ):
        self.part, self.prompt_file, self.journal = part, Path(prompt), Path(journal)
        self.refused_file = self.journal.with_name("refused.json")
        self.prompt = read_prompt(prompt, PARTS[part].PLACEHOLDERS)
        self.settings = load_settings(llm)
        self.whole, self.limits = whole, limits
        held_out = 0 if part == "forget_paraphrased" else whole.holdout
        wanted = {False: whole.people, True: held_out}
        self.needed = dict.fromkeys(wanted, 0) if may_leave_out_all else wanted
        self.session = Session(self.settings, self.journal)
        self.report: dict = {}

    def __enter__(self) -> "ModelAuthor":
        self.session.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.session.__exit__(*exc)

    @property
    def resample_max(self) -> int:
        """Samples of a call after its first."""
        return self.settings["resample_max"]

    @property
    def asker(self) -> Asker:
        """Asks the calls of this part."""
        return Asker(self.session, self.prompt, self.resample_max)

    def check_budget(self, people: list[dict], seed: int) -> None:
        """Check that the budget covers all four files and the judge.

        Prompts and journals of the other parts are in the same folders as those of this part.

        Args:
            people: drawn people.
            seed: of the questions.

        Raises:
            InputError: the budget is too small (the message gives the estimate), or a prompt file
                of another part is wrong.
        """
        journals = {part: self.journal.with_name(f"{part}.jsonl") for part in PARTS}
        prompts = {
            part: read_prompt(self.prompt_file.with_stem(part), PARTS[part].PLACEHOLDERS)
            for part in PARTS
            if part != self.part
        }
        journals[self.part], prompts[self.part] = self.journal, self.prompt
        requests = requests_of_all_parts(people, prompts, seed, self.whole.forget_paraphrases)
        if self.whole.judge:
            journals["judge"] = self.journal.with_name("red_team_judge.jsonl")
            requests["judge"] = self._requests_of_judge(people, seed)
        parts = {journals[part]: part_requests for part, part_requests in requests.items()}
        self.session.check_budget(parts, spare=self.whole.incomplete_people)

    def write_profiles(self, people: list[dict], draw_again: Callable[[dict], dict]) -> list[dict]:
        """Write profile records; replace people whom the model refuses, also in later parts."""
        later = [
            (entry["person_id"], entry["name"])
            for entry in self._refused_later()
            if entry["asked"] == self.session.model_and_endpoint  # another model may accept
        ]
        profiles, refused, answers = profiles_part.write_profiles(
            self.asker, people, draw_again, later
        )
        self._settle({person["person_id"]: person for person in people}, profiles, answers)
        self.report["redrawn"] = refused
        return profiles

    def write_facts(self, people: list[dict]) -> list[dict]:
        """Write fact records, each with a sentence."""
        profiles = {person["person_id"]: person for person in people}
        drawn = {person_id: facts_of(person) for person_id, person in profiles.items()}
        facts, answers = facts_part.write_sentences(self.asker, profiles, drawn, self.limits)
        self._stop_at_refusals(profiles, answers)
        self._settle(profiles, facts, answers)
        return facts

    def write_questions(
        self, people: dict[str, dict], facts: list[dict], seed: int, candidates: int
    ) -> list[dict]:
        """Write question records of the facts."""
        grouped = by_person(facts)
        draw_wrong_values = QuestionWriter(people, seed, candidates).wrong_values
        records, answers = qa_part.write_questions(
            self.asker, people, grouped, draw_wrong_values, seed, self.limits
        )
        self._stop_at_refusals({person_id: people[person_id] for person_id in grouped}, answers)
        self._settle(grouped, records, answers)
        return records

    def write_forget_paraphrased(
        self, people: dict[str, dict], qa: list[dict], count: int
    ) -> list[dict]:
        """Write paraphrased questions about the forget facts; none about held-out people."""
        grouped = by_person(record for record in qa if not is_held_out(record["person_id"]))
        records, answers = forget_paraphrased_part.write_paraphrases(
            self.asker, people, grouped, count, self.limits
        )
        self._stop_at_refusals({person_id: people[person_id] for person_id in grouped}, answers)
        self._settle(grouped, records, answers)
        return records

    def cost(self) -> tuple[int, tuple[int, int], float]:
        """Cost of the calls, including earlier runs: calls, tokens in and out, USD."""
        calls, tokens = self.session.cost()
        return calls, tokens, self.session.usd(tokens)

    def judge_estimate(
        self, people: list[dict], seed: int
    ) -> tuple[int, tuple[int, int], float] | None:
        """Estimated cost of the judge's calls; None if no judge is enabled."""
        if not self.whole.judge:
            return None
        requests = self._requests_of_judge(people, seed)
        cost = self.session.estimate(requests)
        return len(requests), cost, self.session.usd(cost)

    def _requests_of_judge(self, people: list[dict], seed: int) -> list[Request]:
        prompts = read_prompts(self.prompt_file.parent)
        judged = people[: self.whole.people]  # the dataset contains no spare people
        paraphrases = self.whole.forget_paraphrases
        return requests_of_judge(judged, prompts, seed, paraphrases, self.whole.judge)

    def usage(self) -> dict:
        """Model, totals of the journal, people left out and people replaced."""
        about = {"backend": "openai", "model": self.settings["model"]}
        return self.session.usage() | about | self.report

    def _refused_later(self) -> list[dict]:
        """People of whom a model wrote the profile and refused a later part, in order.

        Returns:
            {person_id, name, part, asked: the model and its endpoint}

        Raises:
            InputError: the file has another form.
        """
        if not self.refused_file.exists():
            return []
        entries = read_json(self.refused_file)
        keys = {"person_id", "name", "part", "asked"}
        if not isinstance(entries, list) or any(keys - set(entry) for entry in entries):
            raise InputError(
                f"{self.refused_file}: not a list of refused people, each with "
                f"{', '.join(sorted(keys))}; without this file, the first people are tried again"
            )
        return entries

    def _stop_at_refusals(self, people: dict[str, dict], answers: Answers) -> None:
        """Stop if the model refused people and too few spare people are left to replace them.

        Values are drawn with the profile, so this part cannot draw replacements. It records the
        refused people, and the next run replaces them. After `resample_max` replacements, a place
        stays empty.

        Args:
            people: the people of this part, by person id.
            answers: the results of its calls.

        Raises:
            InputError: the next run can draw replacements. The journal keeps all answers.
        """
        left_out = {call.split(".")[0] for call in answers.failed}
        if not any(self._lacking(people.keys() - left_out).values()):
            return
        known, new = self._refused_later(), []
        for person_id in dict.fromkeys(call.split(".")[0] for call in answers.refused):
            name = people[person_id]["name"]
            place = {"person_id": person_id, "asked": self.session.model_and_endpoint}
            earlier = {entry["name"] for entry in known if place.items() <= entry.items()}
            if len(earlier - {name}) < self.resample_max:
                new.append(place | {"name": name, "part": self.part})
        if not new:
            return
        write_json(self.refused_file, known + [entry for entry in new if entry not in known])
        names = ", ".join(f"{entry['person_id']} {entry['name']}" for entry in new)
        raise InputError(
            f"{self.part}: the model refuses to write about {len(new)} of {len(people)} people "
            f"({names}); {self.refused_file} lists them, and {self.journal} keeps all answers: "
            "run the same command again to draw other people instead"
        )

    def _lacking(self, written: Iterable[str]) -> dict[bool, int]:
        """Held out or not → how many of these people are missing."""
        counts = Counter(map(is_held_out, written))
        return {one: max(0, number - counts[one]) for one, number in self.needed.items()}

    def _settle(self, people: Iterable[str], records: list[dict], answers: Answers) -> None:
        """Report the people without records.

        Raises:
            InputError: too many people have none.
        """
        people, written = list(people), {record["person_id"] for record in records}
        faults = {}
        for call, errors in answers.failed.items():
            faults.setdefault(call.split(".")[0], "; ".join(errors))
        left_out = [person_id for person_id in people if person_id not in written]
        for person_id in left_out:
            print(f"left out {person_id}: {faults[person_id]}")
        self.report = {
            "people": len(people),
            "left_out": left_out,
            "refused": list(dict.fromkeys(call.split(".")[0] for call in answers.refused)),
            "resampled": answers.resampled,
        }
        lacking = self._lacking(written)
        share = self.whole.incomplete_people
        if left_out and any(lacking[one] > share * self.needed[one] for one in lacking):
            first = left_out[0]
            raise InputError(
                f"{self.part}: {len(left_out)} of {len(people)} people have no text without faults "
                f"after {self.resample_max + 1} samples each ({first}: {faults[first][:200]}); "
                f"allowed: {self.whole.incomplete_people:.0%} (validation.incomplete_people); "
                f"{self.journal} keeps all answers"
            )
