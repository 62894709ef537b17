"""A stand-in for open-unlearning, for readers who have not fetched it. It is not its code.

It does what open-unlearning (d3d7cf9) does, with its parts of transformers: one process trains the
full model to one epoch count, with a copy of the start model as reference in every step. One
process evaluates one model: batches of 32 in the order of the file, logits of all positions, one
padded forward pass for each kind of answer, HF `generate`. Every use of a question renders it
anew.
"""

import argparse
import copy
from pathlib import Path

import stock
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "evaluate"))
    parser.add_argument("--work", type=Path, required=True, help="work.json")
    parser.add_argument("--model", type=Path, required=True, help="full model folder")
    parser.add_argument("--trajectory", help="whose settings to train with")
    parser.add_argument("--epochs", type=int, help="how long to train")
    parser.add_argument("--out", type=Path, required=True, help="model folder, or file, to write")
    args = parser.parse_args()
    work = stock.read_work(args.work)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    attention = "eager" if args.what == "train" else "sdpa"
    model = AutoModelForCausalLM.from_pretrained(
        args.model, dtype=torch.float32, attn_implementation=attention
    )
    if args.what == "train":
        train(model, tokenizer, work, work["trajectories"][args.trajectory], args.epochs)
        model.save_pretrained(args.out)
        tokenizer.save_pretrained(args.out)
    else:
        evaluate(model.eval(), tokenizer, work, args.out)


def train(model, tokenizer, work: dict, settings: dict, epochs: int) -> None:
    """Train all weights, with a second model as the reference."""
    reference = copy.deepcopy(model).eval()
    model.train()
    parameters = list(model.parameters())
    optimizer = stock.adamw(parameters, settings)
    number = 0
    for batches in work["batches"][:epochs]:
        for chosen in batches:
            number += 1
            forget, retain = (
                stock.padded(
                    [
                        stock.encoded(tokenizer, work[name][i]["question"], work[name][i]["answer"])
                        for i in indices
                    ],
                    tokenizer.pad_token_id,
                )
                for name, indices in zip(("forget", "retain"), chosen, strict=True)
            )
            with torch.no_grad():
                reference_losses = stock.answer_losses(reference, forget)
            hyperparameters = settings["hyperparameters"]
            beta, weight = hyperparameters["beta"], hyperparameters["retain_weight"]
            loss = stock.npo_loss(model, forget, reference_losses, retain, beta, weight)
            stock.step(optimizer, loss, number, settings, parameters)


@torch.no_grad()
def evaluate(model, tokenizer, work: dict, out: Path) -> None:
    """Ask one model every question and score every answer, set by set."""
    questions = work["questions"]
    texts = [""] * len(questions)
    logprobs = [[0.0] * len(one["answers"]) for one in questions]
    kinds = {(one["set"], len(one["answers"])): [] for one in questions}
    for index, one in enumerate(questions):
        kinds[one["set"], len(one["answers"])].append(index)
    for (_, count), indices in kinds.items():
        for batch in stock.in_batches(indices):
            prompts = [stock.prompt_ids(tokenizer, questions[i]["question"]) for i in batch]
            said = stock.generated(model, tokenizer, prompts, work["max_new_tokens"])
            for index, text in zip(batch, said, strict=True):
                texts[index] = text
        for kind in range(count):
            for batch in stock.in_batches(indices):
                rows = [
                    stock.encoded(
                        tokenizer, questions[i]["question"], questions[i]["answers"][kind]
                    )
                    for i in batch
                ]
                losses = stock.answer_losses(model, stock.padded(rows, tokenizer.pad_token_id))
                for index, loss in zip(batch, losses.tolist(), strict=True):
                    logprobs[index][kind] = -loss
    stock.write_said(out, work, texts, logprobs)


if __name__ == "__main__":
    main()
