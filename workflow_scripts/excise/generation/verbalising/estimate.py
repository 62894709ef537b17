"""What writing the whole benchmark will ask, before the first call of it."""

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
    """The first request of every call that the four files take.

    Where a call quotes what an earlier one will have written, it quotes the offline frames here:
    as many calls, of about the same size.

    Args:
        people: drawn people.
        prompts: part → its prompt file.
        hp: preset and seed, and whatever overrides the preset's sizes.
    """
    dataset = offline_dataset(people, hp)
    written, questions = dataset.profiles, by_person(list(dataset.details.values()))
    own = by_person(OfflineAuthor().facts(list(written.values())))
    false_values = {
        record["id"]: record["wrong_answers"][0]["value"] for record in dataset.details.values()
    }
    held_out = forget_paraphrased.calls_of(written, questions, resolve(hp).paraphrases)
    return {
        "profiles": [profiles.profile_request(one, prompts["profiles"], 0) for one in people],
        "facts": [
            facts.facts_request(written[person_id], each, prompts["facts"], 0)
            for person_id, each in own.items()
        ],
        "qa": [
            qa.qa_request(call, prompts["qa"], 0)
            for person_id, each in own.items()
            for call in qa.calls_of(written[person_id], each, hp["seed"], false_values)
        ],
        "forget_paraphrased": [
            forget_paraphrased.forget_paraphrased_request(call, prompts["forget_paraphrased"], 0)
            for call in held_out.values()
        ],
    }


def requests_of_judge(
    people: list[dict], prompts: dict[str, Prompt], hp: dict, asked: dict
) -> list[Request]:
    """The first request of every case that a judge will be asked about the benchmark.

    Args:
        people: drawn people.
        prompts: the judge's prompts, by name.
        hp: as above.
        asked: `cases` and `planted` of `red_team.judge`.
    """
    cases = cases_of(offline_dataset(people, hp), asked["cases"], asked["planted"], hp["seed"])
    return requests_of(cases, prompts)


def offline_dataset(people: list[dict], hp: dict) -> Dataset:
    """What the offline frames write about the people, as a dataset that nothing was dropped from.

    In `public_figures` stand the people's own names, as often as needed: as long as others.
    """
    offline = OfflineAuthor()
    written = {person["person_id"]: person for person in offline.profiles(people, lambda one: one)}
    records = offline.questions(written, offline.facts(list(written.values())), hp)
    forget = [record for record in records if record["group"] == "sf"]
    return Dataset(
        profiles=written,
        sf=forget,
        sr=[record for record in records if record["group"] != "sf"],
        details={record["id"]: record for record in records},
        forget_paraphrased=offline.held_out(written, records, hp),
        utility=[],
        public_figures=[person["name"] for person in people] * VARIANTS,
        validation={},
        files={},
    )
