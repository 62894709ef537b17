"""The small dataset of `small_dataset` as the benchmark folder that models are evaluated on."""

from pathlib import Path

from excise.records import write_jsonl
from small_dataset import UTILITY, generated_records


def write_benchmark(folder: Path, people: int | None = None) -> list[str]:
    """Write `data/*.jsonl` and the utility questions; returns the `--data --utility` arguments.

    `people`: only so many of them.
    """
    records = generated_records()
    if people is not None:
        kept = {f"p{number:03d}" for number in range(people)}
        records = {
            name: [line for line in lines if line["person_id"] in kept]
            for name, lines in records.items()
        }
    answers = ("paraphrased_answer", "wrong_answers")
    items = [{k: v for k, v in line.items() if k not in answers} for line in records["qa"]]
    data = folder / "data"
    write_jsonl(data / "sf.jsonl", [item for item in items if item["group"] == "sf"])
    write_jsonl(data / "sr.jsonl", [item for item in items if item["group"] != "sf"])
    keys = ("id", "person_id", "slot", "value", *answers)
    details = [{key: line[key] for key in keys} for line in records["qa"]]
    for name in ("perturbed_candidates", "wrong_details"):
        write_jsonl(data / f"{name}.jsonl", details)
    write_jsonl(data / "forget_paraphrased.jsonl", records["forget_paraphrased"])
    write_jsonl(data / "holdout.jsonl", [])
    write_jsonl(folder / "utility_qa.jsonl", [UTILITY])
    return ["--data", str(data), "--utility", str(folder / "utility_qa.jsonl")]
