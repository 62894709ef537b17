"""Run the generating programs with a model as author, as the rules do, for tests."""

import json
from pathlib import Path

import generate_facts
import generate_forget_paraphrased
import generate_profiles
import generate_qa
import job_settings
import small_dataset

ROOT = Path(__file__).parents[1]
MODEL_KEYS = ("base_url", "model", "extra_body", "structured", "resample_max")
PROGRAMS = {
    "profiles": generate_profiles,
    "facts": generate_facts,
    "qa": generate_qa,
    "forget_paraphrased": generate_forget_paraphrased,
}
HP = {
    **{"preset": "smoke", "people": 4, "holdout": 0, "seed": 0, "max_value_share": 0.5},
    **{"perturbed_candidates": 3, "forget_paraphrases": 1},
}
# The files of a run that must not depend on kills.
RECORDS = tuple(f"{part}.jsonl" for part in PROGRAMS)


def arguments(
    part: str,
    folder: Path,
    settings: dict,
    hp: dict,
    incomplete: float,
    judge: dict | None = None,
    people: int | None = None,
) -> list[str]:
    """The command line of one of the four programs.

    Args:
        part: `profiles`, `facts`, `qa` or `forget_paraphrased`.
        folder: where everything goes, in the layout of a data folder.
        settings: section `generation.llm`.
        hp: generation settings.
        incomplete: `validation.incomplete_people`.
        judge: settings of the judge, if any.
        people: number of people needed, if that is not the number drawn.
    """
    generated, figures = folder / "generated", folder / "public_figures.txt"
    generated.mkdir(parents=True, exist_ok=True)
    figures.write_text(small_dataset.PUBLIC_FIGURES, encoding="utf-8")
    hp = HP | hp
    author = {"incomplete_people": incomplete, "judge": judge, "people": people or hp["people"]}
    author |= {key: hp[key] for key in ("holdout", "forget_paraphrases")}
    model = {key: value for key, value in settings.items() if key in MODEL_KEYS}
    client = {key: value for key, value in settings.items() if key not in MODEL_KEYS}
    inputs = {
        "profiles": ["--public-figures", str(figures)],
        "facts": ["--profiles", str(generated / "profiles.jsonl")],
        "qa": [
            "--profiles",
            str(generated / "profiles.jsonl"),
            "--facts",
            str(generated / "facts.jsonl"),
        ],
        "forget_paraphrased": [
            "--profiles",
            str(generated / "profiles.jsonl"),
            "--qa",
            str(generated / "qa.jsonl"),
        ],
    }
    return [
        *inputs[part],
        *("--hp", job_settings.part_hp(part, **hp, backend="openai", llm=model)),
        *("--client", json.dumps(client)),
        *("--author", json.dumps(author)),
        *("--prompt", str(ROOT / f"data/inputs/prompts/{part}.md")),
        *("--journal", str(generated / f"journal/{part}.jsonl")),
        *("--usage", str(generated / f"{part}.usage.json")),
        *("--out", str(generated / f"{part}.jsonl")),
    ]


def generate(
    folder: Path,
    settings: dict,
    hp: dict | None = None,
    incomplete: float = 0,
    people: int | None = None,
) -> None:
    """Run all four programs."""
    for part, program in PROGRAMS.items():
        program.main(arguments(part, folder, settings, hp or {}, incomplete, people=people))


def digests(folder: Path) -> dict[str, bytes]:
    """The records that the four programs wrote."""
    return {name: (folder / "generated" / name).read_bytes() for name in RECORDS}
