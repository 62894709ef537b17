"""Measure what the hidden states of models still tell the finetuned model, layer by layer.

For each question and layer, the program patches a model's states into the target (finetuned) model.
It writes the log-probability that the target then gives the answer's value, and the one that the
target's head gives if it reads these states directly. For each layer, the program also tests
whether a linear probe finds the values that people share. All computations are in fp32.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from excise.benchmark.items import DEPTH_SETS, FORGET_SETS, Item, load_items
from excise.errors import run
from excise.evaluation.probes import probe, probed_people
from excise.evaluation.settings import DepthSettings
from excise.modeling.adapters import AdapterHost
from excise.modeling.base import pick_device, set_determinism, unwrapped
from excise.modeling.hidden_states import Reader
from excise.modeling.patching import SpanModel, Spans
from excise.records import write_jsonl
from excise.settings import json_of

HELD_BYTES = 2**30
"""Memory of the states that are held at once."""


def main(argv: list[str] | None = None) -> None:
    """Write `<out-dir>/<model>/items.jsonl` and `probes.jsonl` for each model in `--models`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="base model folder")
    parser.add_argument("--data", type=Path, required=True, help="benchmark folder")
    settings = json_of(DepthSettings)
    parser.add_argument("--hp", type=settings, required=True, help="settings, JSON")
    parser.add_argument("--models-dir", type=Path, required=True, help="folder of the adapters")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the records")
    parser.add_argument("--target", required=True, help="the model that states are patched into")
    parser.add_argument("--models", nargs="+", required=True, help="names below --models-dir")
    args = parser.parse_args(argv)

    set_determinism(threads=args.hp.threads)
    device = pick_device(args.hp.gpu)
    host = AdapterHost(args.base, "float32", device)
    items = load_items(args.data, args.data, args.hp.depth_sets or DEPTH_SETS, answers=None)
    reading = (args.hp.batch_size, args.hp.system_prompt, device)
    spans = Spans(host.tokenizer, items, *reading)
    for name in args.models:
        folders = [None if one == "base" else args.models_dir / one for one in (args.target, name)]
        records = patched_records(host, spans, items, *folders)
        write_jsonl(args.out_dir / name / "items.jsonl", records)
        probes = probe_records(host, items, args.hp, device, folders[1])
        write_jsonl(args.out_dir / name / "probes.jsonl", probes)
        print(f"{name}: {len(records)} records of patching, {len(probes)} of probes")


def patched_records(
    host: AdapterHost,
    spans: Spans,
    items: Sequence[Item],
    target_folder: Path | None,
    source_folder: Path | None,
) -> list[dict]:
    """Records of the questions in order; log-probabilities are means over the value's tokens.

    `logprob` is that of the target itself. `patched` and `lens` have one number per block: from
    the source's states patched in after that block, and read there by the target's head.
    """
    config = unwrapped(host.model).config.get_text_config()
    most = HELD_BYTES // (4 * config.num_hidden_layers * config.hidden_size)
    whole = SpanModel(host.use(target_folder), spans).whole
    found: dict[int, dict] = {}
    for part in spans.parts(max(1, most)):
        source = SpanModel(host.use(source_folder), spans, whole)
        states = [source.states(batch) for batch in part]
        target = SpanModel(host.use(target_folder), spans, whole)
        for batch, own in zip(part, states, strict=True):
            unpatched, patched = target.patched(batch, own)
            read = zip(batch, unpatched, patched, target.lens(batch, own), strict=True)
            for span, *numbers in read:
                item = items[spans.indices[span]]
                keys = {key: getattr(item, key) for key in ("id", "set", "person_id", "slot")}
                keys["n_tokens_value"] = len(spans.spans[span].value)
                names = ("logprob", "patched", "lens")
                found[span] = keys | dict(zip(names, map(_rounded, numbers), strict=True))
    return [found[span] for span in sorted(found)]


def _rounded(numbers: torch.Tensor) -> float | list[float]:
    """Numbers to 6 significant digits."""
    if numbers.ndim:
        return [float(f"{one:.6g}") for one in numbers.tolist()]
    return float(f"{numbers.item():.6g}")


def probe_records(
    host: AdapterHost,
    items: Sequence[Item],
    settings: DepthSettings,
    device: torch.device,
    folder: Path | None,
) -> list[dict]:
    """One record per question of a person whose value someone else shares: hits per layer.

    `hit` is 1 where the probe finds the value at the last token of the prompt, `control` the same
    averaged over control tasks; layer 0 is the embeddings.
    """
    asked = [
        item
        for item in items
        if item.set in FORGET_SETS and item.slot is not None and item.person_id is not None
    ]
    values = {slot: {} for slot in dict.fromkeys(item.slot for item in asked)}
    for item in asked:
        values[item.slot][item.person_id] = item.value
    tested = {slot: set(probed_people(own)) for slot, own in values.items()}
    asked = [item for item in asked if tested[item.slot]]
    if not asked:
        return []
    reader = Reader(
        host.tokenizer, asked, settings.batch_size, ["last_prompt"], settings.system_prompt, device
    )
    read = torch.cat([states.float().cpu() for states in reader.read(host.use(folder))])
    states = np.empty(read.shape, dtype=np.float32)
    states[[token.item for token in reader.tokens]] = read.numpy()
    records = []
    for slot in dict.fromkeys(item.slot for item in asked):
        own = [index for index, item in enumerate(asked) if item.slot == slot]
        held = [asked[index] for index in own]
        hits, control = probe(
            states[own], [one.value for one in held], [one.person_id for one in held]
        )
        for item, hit, by_chance in zip(held, hits, control, strict=True):
            if item.person_id in tested[slot]:
                keys = {key: getattr(item, key) for key in ("id", "set", "person_id", "slot")}
                chance = [float(f"{one:.6g}") for one in by_chance]
                records.append(keys | {"hit": hit.tolist(), "control": chance})
    return records


if __name__ == "__main__":
    run(main)
