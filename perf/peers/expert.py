"""An expert's script of stock parts: transformers and peft, one process, sorted batches of 32.

One trajectory has all checkpoints of a setting, and NPO's reference is computed once. The base
model is loaded once. In evaluation, adapters are swapped, rows are sorted by length, and each
answer is one padded row.
"""

import argparse
import json
from pathlib import Path

import stock
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "evaluate"))
    parser.add_argument("--work", type=Path, required=True, help="work.json")
    parser.add_argument("--models-dir", type=Path, help="folder of the adapters to evaluate")
    parser.add_argument("--models", nargs="*", default=[], help="their names")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    work = stock.read_work(args.work)
    if args.what == "train":
        train(work, args.out)
    else:
        evaluate(work, {name: args.models_dir / name for name in args.models}, args.out)


def train(work: dict, out: Path) -> None:
    """One run for each setting, up to the last epoch; an adapter is saved at each checkpoint."""
    tokenizer = AutoTokenizer.from_pretrained(work["base"])
    # The fused kernel's backward is slow on a CPU.
    base = AutoModelForCausalLM.from_pretrained(
        work["base"], dtype=torch.float32, attn_implementation="eager"
    )
    model = PeftModel.from_pretrained(base, work["finetuned"], is_trainable=True)
    rows = {
        name: [stock.encoded(tokenizer, one["question"], one["answer"]) for one in work[name]]
        for name in ("forget", "retain")
    }
    pad = tokenizer.pad_token_id
    reference = reference_losses(model, rows["forget"], pad)
    start = {
        name: one.detach().clone() for name, one in model.named_parameters() if one.requires_grad
    }
    for name, settings in work["trajectories"].items():
        model.load_state_dict(start, strict=False)
        model.train()
        parameters = [one for one in model.parameters() if one.requires_grad]
        optimizer = stock.adamw(parameters, settings)
        number = 0
        for epoch, batches in enumerate(work["batches"], start=1):
            for forget, retain in batches:
                number += 1
                loss = stock.npo_loss(
                    model,
                    stock.padded([rows["forget"][index] for index in forget], pad),
                    reference[forget],
                    stock.padded([rows["retain"][index] for index in retain], pad),
                    settings["hyperparameters"]["beta"],
                    settings["hyperparameters"]["retain_weight"],
                )
                stock.step(optimizer, loss, number, settings, parameters)
            if epoch in work["epochs"]:
                model.save_pretrained(out / f"unlearn/{name}/epoch_{epoch}")


@torch.inference_mode()
def reference_losses(model, rows: list[stock.Row], pad: int) -> torch.Tensor:
    """Summed losses of the forget answers before unlearning, (forget items,)."""
    model.eval()
    parts = [
        stock.answer_losses(model, stock.padded([rows[index] for index in batch], pad))
        for batch in stock.in_batches(range(len(rows)))
    ]
    return torch.cat(parts).clone()


@torch.inference_mode()
def evaluate(work: dict, adapters: dict[str, Path], out: Path) -> None:
    """Ask each model every question and score every answer."""
    tokenizer = AutoTokenizer.from_pretrained(work["base"])
    base = AutoModelForCausalLM.from_pretrained(work["base"], dtype=torch.float32)
    questions = work["questions"]
    prompts = [stock.prompt_ids(tokenizer, one["question"]) for one in questions]
    places = [(q, a) for q, one in enumerate(questions) for a in range(len(one["answers"]))]
    rows = [
        stock.encoded(tokenizer, questions[q]["question"], questions[q]["answers"][a])
        for q, a in places
    ]
    by_length = sorted(range(len(rows)), key=lambda index: sum(map(len, rows[index])))
    prompts_by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    model, last = None, None
    for name, folder in adapters.items():
        current = name.replace("/", "_").replace(".", "_")
        if model is None:
            model = PeftModel.from_pretrained(base, folder, adapter_name=current)
        else:
            model.load_adapter(folder, adapter_name=current)
            model.set_adapter(current)
            model.delete_adapter(last)
        last = current
        model.eval()
        texts = [""] * len(prompts)
        for batch in stock.in_batches(prompts_by_length):
            said = stock.generated(
                model, tokenizer, [prompts[index] for index in batch], work["max_new_tokens"]
            )
            for index, text in zip(batch, said, strict=True):
                texts[index] = text
        logprobs = [[0.0] * len(one["answers"]) for one in questions]
        for batch in stock.in_batches(by_length):
            padded = stock.padded([rows[index] for index in batch], tokenizer.pad_token_id)
            losses = stock.answer_losses(model, padded).tolist()
            for index, loss in zip(batch, losses, strict=True):
                question, answer = places[index]
                logprobs[question][answer] = -loss
        stock.write_said(out / name / "said.json", work, texts, logprobs)
        print(json.dumps({"model": name, "questions": len(texts)}), flush=True)


if __name__ == "__main__":
    main()
