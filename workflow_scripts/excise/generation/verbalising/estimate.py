"""What writing the whole benchmark will ask, before the first call of it."""

from excise.generation.authors import OfflineAuthor, by_person
from excise.generation.presets import resolve
from excise.generation.verbalising import facts, forget_eval, profiles, qa
from excise.generation.verbalising.prompts import Prompt
from excise.llm import Request


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
    offline = OfflineAuthor()
    written = {person["person_id"]: person for person in offline.profiles(people, lambda one: one)}
    own = by_person(offline.facts(list(written.values())))
    questions = offline.questions(written, [fact for each in own.values() for fact in each], hp)
    held_out = forget_eval.calls_of(written, by_person(questions), resolve(hp).paraphrases)
    return {
        "profiles": [profiles.profile_request(one, prompts["profiles"], 0) for one in people],
        "facts": [
            facts.facts_request(written[person_id], each, prompts["facts"], 0)
            for person_id, each in own.items()
        ],
        "qa": [
            qa.qa_request(call, prompts["qa"], 0)
            for person_id, each in own.items()
            for call in qa.calls_of(written[person_id], each, hp["seed"])
        ],
        "forget_eval": [
            forget_eval.forget_eval_request(call, prompts["forget_eval"], 0)
            for call in held_out.values()
        ],
    }
