"""Ask models the forget questions with somebody else's name in them, and the base who people are.

What a model says about the right person and equally about a wrong one, it did not know: the
wording of the question told it. What the base says of a name alone, it knew before; how sure it is
of that is held against names that nobody has. One file a model, one line a question.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from excise.errors import run
from excise.evaluation import metrics
from excise.modeling.adapters import AdapterHost
from excise.modeling.base import pick_device, set_determinism
from excise.modeling.chat import Encoded, encode_prompt, end_of_turn
from excise.modeling.decoding import Generation, generate
from excise.modeling.differentiable_logprobs import answer_logprobs
from excise.records import read_jsonl, write_jsonl
from excise.red_team.models.name_probe import (
    TOKENS,
    confidence_records,
    name_probe_records,
    names_to_ask,
    question,
)
from excise.red_team.models.name_swap import swapped
from excise.text.public_figures import read_public_figures


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="base model folder")
    parser.add_argument("--sf", type=Path, required=True, help="sf.jsonl")
    parser.add_argument("--sr", type=Path, required=True, help="sr.jsonl")
    parser.add_argument("--public-figures", required=True, help="real names, one a line")
    parser.add_argument("--hp", type=json.loads, required=True, help="settings, JSON")
    parser.add_argument("--models-dir", type=Path, required=True, help="folder of the adapters")
    parser.add_argument("--models", nargs="+", required=True, help="base and the oracles")
    parser.add_argument("--out-dir", type=Path, required=True, help="one file a model goes here")
    args = parser.parse_args(argv)

    hp = args.hp
    forget = read_jsonl(args.sf, "item")
    asked, facts = swapped(forget, args.sf), forget + read_jsonl(args.sr, "item")
    people = {item["person_id"]: item["name"] for item in forget}
    names = names_to_ask(facts, read_public_figures(args.public_figures))
    set_determinism(0, hp["threads"])
    host = AdapterHost(args.base, hp["dtype"], pick_device(hp["gpu"]))
    for name in args.models:
        answer = partial(
            generate,
            host.use(None if name == "base" else args.models_dir / name),
            host.tokenizer,
            batch_size=hp["batch_size"],
            system_prompt=hp["system_prompt"],
        )
        made = answer([item["question"] for item in asked], max_new_tokens=hp["max_new_tokens"])
        records = [
            item
            | {
                "generation": one.text,
                "stopped": one.stopped,
                "rougeL_recall": metrics.rouge_l(item["answer"], one.text).recall,
                "slot_match": int(
                    metrics.slot_match(
                        item["value"],
                        one.text,
                        item["value_type"],
                        subject=people[item["other_person_id"]],
                    )
                ),
            }
            for item, one in zip(asked, made, strict=True)
        ]
        if name == "base":
            everybody = [one for kind in names.values() for one in kind.values()]
            said = answer([question(one) for one in everybody], max_new_tokens=TOKENS)
            told = {one: made.text for one, made in zip(everybody, said, strict=True)}
            sure = logprobs(host, everybody, said, hp["batch_size"], hp["system_prompt"])
            records += name_probe_records(
                facts, {key: told[one] for key, one in names["own"].items()}
            )
            known = confidence_records(names, told, dict(zip(everybody, sure, strict=True)))
            for one in known:
                if one["asked"] == "own" and one["sure"]:
                    print(f"sure of somebody? {one['question']} {one['generation']}")
            records += known
        write_jsonl(args.out_dir / name / "items.jsonl", records)
        print(f"{name}: {len(records)} answers", flush=True)


@torch.inference_mode()
def logprobs(
    host: AdapterHost,
    names: Sequence[str],
    said: Sequence[Generation],
    batch_size: int,
    system_prompt: str | None,
) -> list[float | None]:
    """Natural-log probability of each answer to "Who is …?"; None for an empty one.

    End-of-turn counts where the answer ended by itself, not where it was cut off.
    """
    encoded = {
        place: Encoded(
            tuple(encode_prompt(host.tokenizer, question(name), system_prompt)),
            (*made.ids, *[end_of_turn(host.tokenizer)] * made.stopped),
        )
        for place, (name, made) in enumerate(zip(names, said, strict=True))
        if made.ids
    }
    found: list[float | None] = [None] * len(names)
    places = list(encoded)
    for start in range(0, len(places), batch_size):
        batch = places[start : start + batch_size]
        rows = [encoded[place] for place in batch]
        sums = answer_logprobs(host.model, rows, host.tokenizer.pad_token_id).sums
        for place, value in zip(batch, sums.tolist(), strict=True):
            found[place] = value
    return found


if __name__ == "__main__":
    run(main)
