"""What models answer about the wrong person, and what the base answers about a name alone.

Answers that a model gives about the right and the wrong person alike come from the wording of the
question, not from knowledge. What the base answers about a name alone, it knew before training.
"""

from collections.abc import Callable, Mapping, Sequence

import torch

from excise.evaluation.answers import rouge_l, slot_match
from excise.modeling.adapters import AdapterHost
from excise.modeling.chat import Encoded, encode_prompt, end_of_turn
from excise.modeling.decoding import Generation
from excise.modeling.differentiable_logprobs import answer_logprobs
from excise.red_team.models.name_probe import (
    TOKENS,
    confidence_records,
    name_probe_records,
    question,
)

Answer = Callable[..., list[Generation]]
"""(questions, max_new_tokens=…) → generations."""


def swapped_records(
    answer: Answer, items: Sequence[dict], names: Mapping[str, str], max_new_tokens: int
) -> list[dict]:
    """Ask the questions with swapped names and score the answers.

    Args:
        answer: lets a model answer questions.
        items: questions, from `name_swap.swapped`.
        names: person id → name.
        max_new_tokens: length limit of an answer.
    """
    generations = answer([item["question"] for item in items], max_new_tokens=max_new_tokens)
    return [
        item
        | {
            "generation": generation.text,
            "stopped": generation.stopped,
            "rougeL_recall": rouge_l(item["answer"], generation.text).recall,
            "slot_match": int(
                slot_match(
                    item["value"],
                    generation.text,
                    item["value_type"],
                    subject=names[item["other_person_id"]],
                )
            ),
        }
        for item, generation in zip(items, generations, strict=True)
    ]


def name_records(
    host: AdapterHost,
    answer: Answer,
    facts: Sequence[dict],
    names: dict[str, dict[str, str]],
    batch_size: int,
    system_prompt: str | None,
) -> list[dict]:
    """Ask the base who each person is, and measure its knowledge and its confidence.

    Args:
        host: the base model.
        answer: lets it answer questions.
        facts: records of `sf.jsonl` and `sr.jsonl`.
        names: kind → id → name, from `name_probe.names_to_ask`.
        batch_size: sequences per batch.
        system_prompt: system message, if any.
    """
    all_names = [name for kind in names.values() for name in kind.values()]
    generations = answer([question(name) for name in all_names], max_new_tokens=TOKENS)
    answers = {
        name: generation.text for name, generation in zip(all_names, generations, strict=True)
    }
    scores = answer_scores(host, all_names, generations, batch_size, system_prompt)
    own_answers = {person_id: answers[name] for person_id, name in names["own"].items()}
    logprobs = dict(zip(all_names, scores, strict=True))
    return name_probe_records(facts, own_answers) + confidence_records(names, answers, logprobs)


@torch.inference_mode()
def answer_scores(
    host: AdapterHost,
    names: Sequence[str],
    generations: Sequence[Generation],
    batch_size: int,
    system_prompt: str | None,
) -> list[float | None]:
    """Natural-log probability of each answer to "Who is …?"; None for an empty answer.

    The end-of-turn token counts if the model ended the answer, but not if the limit cut it off.
    """
    encoded = {
        place: Encoded(
            tuple(encode_prompt(host.tokenizer, question(name), system_prompt)),
            (*generation.ids, *[end_of_turn(host.tokenizer)] * generation.stopped),
        )
        for place, (name, generation) in enumerate(zip(names, generations, strict=True))
        if generation.ids
    }
    scores: list[float | None] = [None] * len(names)
    places = list(encoded)
    for start in range(0, len(places), batch_size):
        batch = places[start : start + batch_size]
        rows = [encoded[place] for place in batch]
        sums = answer_logprobs(host.model, rows, host.tokenizer.pad_token_id).sums
        for place, value in zip(batch, sums.tolist(), strict=True):
            scores[place] = value
    return scores
