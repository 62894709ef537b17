"""The author that asks a language model."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from excise.config.presets import perturbed_candidates, resolve
from excise.errors import InputError
from excise.generation.offline_author import by_person
from excise.generation.verbalising import facts as facts_part
from excise.generation.verbalising import forget_paraphrased as forget_paraphrased_part
from excise.generation.verbalising import profiles as profiles_part
from excise.generation.verbalising import qa as qa_part
from excise.generation.verbalising.asking import Answers
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
    """Has a model write around given values; same methods as `OfflineAuthor`.

    Args:
        part: which of the four files is written.
        prompt: its prompt file.
        journal: its journal, of requests and answers.
        llm: config section `generation.llm`.
        settings: `people`, how many are wanted, where more are drawn; `incomplete_people`, the
            largest share of them that may stay without a text; `forget_paraphrases`, where it is
            not the preset's; `judge`, what will be asked of one afterwards, where one is.

    Raises:
        InputError: prompt file, settings, key or endpoint.
    """

    def __init__(
        self, part: str, prompt: str | Path, journal: str | Path, llm: dict, settings: dict
    ):
        self.part, self.prompt_file, self.journal = part, Path(prompt), Path(journal)
        self.refused_file = self.journal.with_name("refused.json")
        self.prompt = read_prompt(prompt, PARTS[part].PLACEHOLDERS)
        self.settings = load_settings(llm)
        self.people = settings.get("people")
        self.left_out_share = settings.get("incomplete_people", 0.0)
        self.paraphrases = settings.get("forget_paraphrases")
        self.judge = settings.get("judge")
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

    def check_budget(self, people: list[dict], hp: dict) -> None:
        """Refuse a benchmark that the budget cannot pay for: all four files of it, and its judge.

        Their prompts and journals lie beside this part's.

        Args:
            people: drawn people.
            hp: of `generate_profiles`: preset and seed.

        Raises:
            InputError: with the estimate; or a prompt file of another part is wrong.
        """
        if self.paraphrases:
            hp = hp | {"forget_paraphrases": self.paraphrases}
        journals = {part: self.journal.with_name(f"{part}.jsonl") for part in PARTS}
        prompts = {
            part: read_prompt(self.prompt_file.with_stem(part), PARTS[part].PLACEHOLDERS)
            for part in PARTS
            if part != self.part
        }
        journals[self.part], prompts[self.part] = self.journal, self.prompt
        requests = requests_of_all_parts(people, prompts, hp)
        if self.judge:
            journals["judge"] = self.journal.with_name("red_team_judge.jsonl")
            requests["judge"] = self._requests_of_judge(people, hp)
        parts = {journals[part]: own for part, own in requests.items()}
        self.session.check_budget(parts, spare=self.left_out_share)

    def profiles(self, people: list[dict], draw_again: Callable[[dict], dict]) -> list[dict]:
        """Profile records; a person the model refuses, now or in a later part, is drawn again."""
        later = [
            (one["person_id"], one["name"])
            for one in self._refused_later()
            if one["asked"] == self.session.asked  # another model may not mind
        ]
        profiles, refused, answers = profiles_part.write_profiles(
            self.session, self.prompt, people, draw_again, self.resample_max, later
        )
        self._settle({person["person_id"]: person for person in people}, profiles, answers)
        self.report["redrawn"] = refused
        return profiles

    def facts(self, people: list[dict]) -> list[dict]:
        """Fact records, each with a sentence."""
        profiles = {person["person_id"]: person for person in people}
        own = {person_id: facts_of(person) for person_id, person in profiles.items()}
        facts, answers = facts_part.write_sentences(
            self.session, self.prompt, profiles, own, self.resample_max
        )
        self._stop_at_refusals(profiles, answers)
        self._settle(profiles, facts, answers)
        return facts

    def questions(self, people: dict[str, dict], facts: list[dict], hp: dict) -> list[dict]:
        """Question records of the facts."""
        own = by_person(facts)
        wrong = QuestionWriter(people, hp["seed"], perturbed_candidates(hp)).wrong_values
        records, answers = qa_part.write_questions(
            self.session, self.prompt, people, own, wrong, hp["seed"], self.resample_max
        )
        self._stop_at_refusals({one: people[one] for one in own}, answers)
        self._settle(own, records, answers)
        return records

    def held_out(self, people: dict[str, dict], qa: list[dict], hp: dict) -> list[dict]:
        """Held-out questions about the forget facts among question records."""
        own, count = by_person(qa), resolve(hp).paraphrases
        records, answers = forget_paraphrased_part.write_paraphrases(
            self.session, self.prompt, people, own, count, self.resample_max
        )
        self._stop_at_refusals({one: people[one] for one in own}, answers)
        self._settle(own, records, answers)
        return records

    def took(self) -> tuple[int, tuple[int, int], float]:
        """Cost of the calls, including earlier runs: calls, tokens in and out, USD."""
        calls, cost = self.session.took()
        return calls, cost, self.session.usd(cost)

    def judge_estimate(
        self, people: list[dict], hp: dict
    ) -> tuple[int, tuple[int, int], float] | None:
        """Estimated cost of the judge's calls; None without a judge."""
        if not self.judge:
            return None
        requests = self._requests_of_judge(people, hp)
        cost = self.session.estimate(requests)
        return len(requests), cost, self.session.usd(cost)

    def _requests_of_judge(self, people: list[dict], hp: dict) -> list[Request]:
        judges = read_prompts(self.prompt_file.parent)
        judged = people[: resolve(hp).people]  # spare people are in no dataset
        return requests_of_judge(judged, judges, hp, self.judge)

    def usage(self) -> dict:
        """Model, totals of the journal, people left out and drawn again."""
        about = {"backend": "openai", "model": self.settings["model"]}
        return self.session.usage() | about | self.report

    def _refused_later(self) -> list[dict]:
        """Whom a model refused after it had written their profile, in the order of refusal.

        Returns:
            {person_id, name, part, asked: which model it was, and where}

        Raises:
            InputError: the file is none of ours.
        """
        if not self.refused_file.exists():
            return []
        entries = read_json(self.refused_file)
        keys = {"person_id", "name", "part", "asked"}
        if not isinstance(entries, list) or any(keys - set(entry) for entry in entries):
            raise InputError(
                f"{self.refused_file}: not a list of refused people, each with "
                f"{', '.join(sorted(keys))}; without it the first people are asked about again"
            )
        return entries

    def _stop_at_refusals(self, people: dict[str, dict], answers: Answers) -> None:
        """Remember who was refused to the end, if too few others are left to take their places.

        Values are drawn with the profile, so this part cannot: the next run draws others. Whose
        place was filled `resample_max` times stays empty.

        Args:
            people: those whom this part was asked about, by person id.
            answers: what came of it.

        Raises:
            InputError: somebody else can be drawn; what was answered is in the journal.
        """
        left_out = {call.split(".")[0] for call in answers.failed}
        if len(people) - len(left_out) >= self._wanted(people):
            return
        known, new = self._refused_later(), []
        for person_id in dict.fromkeys(call.split(".")[0] for call in answers.refused):
            name = people[person_id]["name"]
            place = {"person_id": person_id, "asked": self.session.asked}
            earlier = {one["name"] for one in known if place.items() <= one.items()}
            if len(earlier - {name}) < self.resample_max:
                new.append(place | {"name": name, "part": self.part})
        if not new:
            return
        write_json(self.refused_file, known + [one for one in new if one not in known])
        names = ", ".join(f"{one['person_id']} {one['name']}" for one in new)
        raise InputError(
            f"{self.part}: the model refuses to write about {len(new)} of {len(people)} people "
            f"({names}); they are kept in {self.refused_file}, and everything answered in "
            f"{self.journal}: the same command again draws others in their place"
        )

    def _wanted(self, people: Collection[str]) -> int:
        """How many people are to have texts; everybody beyond is spare."""
        return len(people) if self.people is None else self.people

    def _settle(self, wanted: Iterable[str], records: list[dict], answers: Answers) -> None:
        """Name the people without records; too few with them end the stage."""
        wanted, there = list(wanted), {record["person_id"] for record in records}
        why = {}
        for call, errors in answers.failed.items():
            why.setdefault(call.split(".")[0], "; ".join(errors))
        left_out = [person_id for person_id in wanted if person_id not in there]
        for person_id in left_out:
            print(f"left out {person_id}: {why[person_id]}")
        self.report = {
            "people": len(wanted),
            "left_out": left_out,
            "refused": list(dict.fromkeys(call.split(".")[0] for call in answers.refused)),
            "resampled": answers.resampled,
        }
        needed = self._wanted(wanted)
        if left_out and needed - len(there) > self.left_out_share * needed:
            first = left_out[0]
            raise InputError(
                f"{self.part}: {len(left_out)} of {len(wanted)} people without a text that keeps "
                f"to its values, after {self.resample_max + 1} samples each ({first}: "
                f"{why[first][:200]}); allowed: {self.left_out_share:.0%} "
                f"(validation.incomplete_people); every answer is kept in {self.journal}"
            )
