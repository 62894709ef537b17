"""The requests that the whole benchmark needs, for an estimate before the first call."""

from excise.benchmark.people import is_held_out
from excise.generation.offline_author import OfflineAuthor, by_person
from excise.generation.settings import JudgedCases
from excise.generation.verbalising import facts, forget_paraphrased, profiles, qa
from excise.llm import Request
from excise.llm.prompts import Prompt
from excise.red_team.dataset.loading import Dataset
from excise.red_team.judge.cases import VARIANTS, cases_of
from excise.red_team.judge.judge import requests_of

CANDIDATES = 5
"""Wrong answers of a question in the estimate; a request quotes one of them."""


def requests_of_all_parts(
    people: list[dict], prompts: dict[str, Prompt], seed: int, paraphrases: int
) -> dict[str, list[Request]]:
    """The first request of every call of the four files.

    Some calls quote the texts of earlier calls. Here they quote the texts of the offline frames:
    the number of calls is the same, and their size nearly so.

    Args:
        people: drawn people.
        prompts: part → its prompt file.
        seed: of the questions.
        paraphrases: paraphrased questions of each forget fact.
    """
    dataset = offline_dataset(people, seed, paraphrases)
    written, questions = dataset.profiles, by_person(list(dataset.details.values()))
    facts_by_person = by_person(OfflineAuthor().write_facts(list(written.values())))
    false_values = {
        record["id"]: record["wrong_answers"][0]["value"] for record in dataset.details.values()
    }
    taught = {key: records for key, records in questions.items() if not is_held_out(key)}
    paraphrase_calls = forget_paraphrased.calls_of(written, taught, paraphrases)
    return {
        "profiles": [profiles.profile_request(person, prompts["profiles"], 0) for person in people],
        "facts": [
            facts.facts_request(facts.Call(written[person_id], person_facts), prompts["facts"], 0)
            for person_id, person_facts in facts_by_person.items()
        ],
        "qa": [
            qa.qa_request(call, prompts["qa"], 0)
            for person_id, person_facts in facts_by_person.items()
            for call in qa.calls_of(written[person_id], person_facts, seed, false_values)
        ],
        "forget_paraphrased": [
            forget_paraphrased.forget_paraphrased_request(call, prompts["forget_paraphrased"], 0)
            for call in paraphrase_calls.values()
        ],
    }


def requests_of_judge(
    people: list[dict], prompts: dict[str, Prompt], seed: int, paraphrases: int, judge: JudgedCases
) -> list[Request]:
    """The first request of every case that the judge needs for the benchmark.

    Args:
        people: drawn people.
        prompts: the judge's prompts, by name.
        seed: as of `requests_of_all_parts`.
        paraphrases: as of `requests_of_all_parts`.
        judge: number of cases.
    """
    dataset = offline_dataset(people, seed, paraphrases)
    cases = cases_of(dataset, judge.cases, judge.planted, seed)
    return requests_of(cases, prompts)


def offline_dataset(people: list[dict], seed: int, paraphrases: int) -> Dataset:
    """The dataset that the offline frames write about the people; nothing is dropped from it.

    `public_figures` holds the people's own names, because only their length matters here.
    """
    offline = OfflineAuthor()
    written = {
        person["person_id"]: person
        for person in offline.write_profiles(people, lambda person: person)
    }
    facts_of_all = offline.write_facts(list(written.values()))
    records = offline.write_questions(written, facts_of_all, seed, CANDIDATES)
    forget = [record for record in records if record["group"] == "sf"]
    return Dataset(
        profiles=written,
        sf=forget,
        sr=[record for record in records if record["group"] != "sf"],
        details={record["id"]: record for record in records},
        forget_paraphrased=offline.write_forget_paraphrased(written, records, paraphrases),
        utility=[],
        public_figures=[person["name"] for person in people] * VARIANTS,
        validation={},
        files={},
    )
