"""The requests that the whole benchmark needs, for an estimate before the first call."""

from excise.config.presets import resolve
from excise.generation.offline_author import OfflineAuthor, by_person
from excise.generation.verbalising import facts, forget_paraphrased, profiles, qa
from excise.llm import Request
from excise.llm.prompts import Prompt
from excise.red_team.dataset.loading import Dataset
from excise.red_team.judge.cases import VARIANTS, cases_of
from excise.red_team.judge.judge import requests_of


def requests_of_all_parts(
    people: list[dict], prompts: dict[str, Prompt], hp: dict
) -> dict[str, list[Request]]:
    """The first request of every call of the four files.

    Some calls quote the texts of earlier calls. Here they quote the texts of the offline frames:
    the number of calls is the same, and their size nearly so.

    Args:
        people: drawn people.
        prompts: part → its prompt file.
        hp: preset, seed, and settings that override the preset's sizes.
    """
    dataset = offline_dataset(people, hp)
    written, questions = dataset.profiles, by_person(list(dataset.details.values()))
    facts_by_person = by_person(OfflineAuthor().write_facts(list(written.values())))
    false_values = {
        record["id"]: record["wrong_answers"][0]["value"] for record in dataset.details.values()
    }
    paraphrase_calls = forget_paraphrased.calls_of(written, questions, resolve(hp).paraphrases)
    return {
        "profiles": [profiles.profile_request(person, prompts["profiles"], 0) for person in people],
        "facts": [
            facts.facts_request(facts.Call(written[person_id], person_facts), prompts["facts"], 0)
            for person_id, person_facts in facts_by_person.items()
        ],
        "qa": [
            qa.qa_request(call, prompts["qa"], 0)
            for person_id, person_facts in facts_by_person.items()
            for call in qa.calls_of(written[person_id], person_facts, hp["seed"], false_values)
        ],
        "forget_paraphrased": [
            forget_paraphrased.forget_paraphrased_request(call, prompts["forget_paraphrased"], 0)
            for call in paraphrase_calls.values()
        ],
    }


def requests_of_judge(
    people: list[dict], prompts: dict[str, Prompt], hp: dict, judge: dict
) -> list[Request]:
    """The first request of every case that the judge needs for the benchmark.

    Args:
        people: drawn people.
        prompts: the judge's prompts, by name.
        hp: as of `requests_of_all_parts`.
        judge: `cases` and `planted` of `red_team.judge`.
    """
    cases = cases_of(offline_dataset(people, hp), judge["cases"], judge["planted"], hp["seed"])
    return requests_of(cases, prompts)


def offline_dataset(people: list[dict], hp: dict) -> Dataset:
    """The dataset that the offline frames write about the people; nothing is dropped from it.

    `public_figures` holds the people's own names, because only their length matters here.
    """
    offline = OfflineAuthor()
    written = {
        person["person_id"]: person
        for person in offline.write_profiles(people, lambda person: person)
    }
    records = offline.write_questions(written, offline.write_facts(list(written.values())), hp)
    forget = [record for record in records if record["group"] == "sf"]
    return Dataset(
        profiles=written,
        sf=forget,
        sr=[record for record in records if record["group"] != "sf"],
        details={record["id"]: record for record in records},
        forget_paraphrased=offline.write_forget_paraphrased(written, records, hp),
        utility=[],
        public_figures=[person["name"] for person in people] * VARIANTS,
        validation={},
        files={},
    )
