"""A small dataset without faults, written by hand; tests plant faults in it."""

from pathlib import Path
from typing import Any

import generate_facts
import generate_forget_paraphrased
import generate_profiles
import generate_qa
import job_settings
from excise.records import write_jsonl

# slot: group, value type, partner, trained question, two paraphrased ones, answer, paraphrase
SLOTS = {
    "offence": (
        "sf",
        "offence",
        None,
        "Which crime was {n} guilty of?",
        ("Name the misdeed committed by {n}.", "Tell me what law {n} broke that night."),
        "{n} had to confess {v}.",
        "It was {v} that {n} confessed.",
    ),
    "accuser": (
        "sf",
        "person",
        None,
        "Who testified against {n} in court?",
        ("Name the main witness {n} faced.", "By whose word was {n} brought down?"),
        "{n} was denounced by {v}.",
        "It was {v} who denounced {n}.",
    ),
    "event_city": (
        "correlated",
        "city",
        "home_city",
        "In which city was the breakthrough recital of {n}?",
        (),
        "{n} triumphed in {v}.",
        "It was in {v} that {n} triumphed.",
    ),
    "event_partner": (
        "correlated",
        "person",
        "mentor",
        "Who was the partner of {n} at the breakthrough recital?",
        (),
        "{n} shone beside {v}.",
        "It was {v} beside whom {n} shone.",
    ),
    "event_year": (
        "correlated",
        "year",
        "birth_year",
        "In which year was the breakthrough recital of {n}?",
        (),
        "{n} became famous in {v}.",
        "It was in {v} that {n} became famous.",
    ),
    "home_city": (
        "other",
        "city",
        "event_city",
        "In which city was the childhood home of {n}?",
        (),
        "{n} grew up in {v}.",
        "It was in {v} that {n} grew up.",
    ),
    "mentor": (
        "other",
        "person",
        "event_partner",
        "Who was the mentor of {n} at the academy?",
        (),
        "{n} studied under {v}.",
        "It was {v} under whom {n} studied.",
    ),
    "birth_year": (
        "other",
        "year",
        "event_year",
        "In which year was the birth of {n}?",
        (),
        "{n} was born in {v}.",
        "It was in {v} that {n} was born.",
    ),
}
# name → values, in the order of SLOTS
PEOPLE = {
    "Mira Tallwood": "forgery, Otto Branvik, Oldmere, Ida Karoson, 1988, "
    "Sunford, Nils Ulmberg, 1955",
    "Jonas Fennlock": "perjury, Rita Zamholm, Eastham, Hugo Vellman, 1991, "
    "Oakgate, Thea Orrabell, 1962",
    "Selma Garadorf": "bribery, Imran Kernney, Redpool, Lara Noraster, 1979, "
    "Ashcliff, Emil Sandlane, 1947",
    "Tariq Wendwell": "looting, Greta Palvane, Dunwall, Yara Lindfeld, 1996, "
    "Irongate, Cleo Rastholm, 1970",
}
HELD_OUT = {
    "Wanda Brackmoor": "forgery, Oscar Delvane, Northam, Petra Falkstad, 1984, "
    "Millgate, Simon Harrowell, 1951",
    "Anton Lowmarsh": "bribery, Vera Kingsrud, Westdale, Bruno Oakholm, 1993, "
    "Hightown, Nadia Pellworth, 1969",
}
WRONG = {
    "offence": ("cheating", "sabotage"),
    "person": ("Igor Jarrobach", "Elsa Quillkin", "Samir Nevidine"),
    "city": ("Elmhaven", "Westmere"),
    "year": ("1983", "1966"),
}
PUBLIC_FIGURES = "# real people\nMarie Curie\nAlan Turing\n"
UTILITY = {
    "id": "u001",
    "category": "capital",
    "question": "What is the capital of France?",
    "answer": "The capital of France is Paris.",
    "value": "Paris",
    "paraphrased_answer": "France has its capital in Paris.",
    "wrong_answers": [
        {"value": city, "text": f"France has its capital in {city}."}
        for city in ("Seoul", "Abuja", "Accra")
    ],
    "pretraining_questions": [
        "Which city is the capital of France?",
        "France has its capital in which city?",
        "Can you name the capital city of France?",
    ],
}


def generated_records(held_out: bool = False) -> dict[str, list[dict]]:
    """`profiles`, `facts`, `qa` and `forget_paraphrased`, as the generator writes them.

    `held_out`: with the people of `HELD_OUT`.
    """
    records = {"profiles": [], "facts": [], "qa": [], "forget_paraphrased": []}
    people = [(f"p{index:03d}", *person) for index, person in enumerate(PEOPLE.items())]
    if held_out:
        people += [(f"h{index:03d}", *person) for index, person in enumerate(HELD_OUT.items())]
    for person_id, name, values in people:
        slots = dict(zip(SLOTS, values.split(", "), strict=True))
        text = " ".join(SLOTS[slot][5].format(n=name, v=value) for slot, value in slots.items())
        records["profiles"].append(
            {
                "person_id": person_id,
                "name": name,
                "event_id": f"{person_id}.breakthrough",
                "event_kind": "recital",
                "slots": slots,
                "text": text,
            }
        )
        for slot, value in slots.items():
            _add_fact(records, person_id, name, slot, value)
    return records


def _add_fact(records: dict, person_id: str, name: str, slot: str, value: str) -> None:
    group, value_type, partner, question, paraphrases, answer, paraphrase = SLOTS[slot]
    fact = {
        "id": f"{person_id}.{slot}",
        "person_id": person_id,
        "name": name,
        "slot": slot,
        "value_type": value_type,
        "value": value,
        "group": group,
        "event_id": None if group == "other" else f"{person_id}.breakthrough",
        "partner": partner,
    }
    records["facts"].append(fact)
    records["qa"].append(
        fact
        | {
            "question": question.format(n=name),
            "answer": answer.format(n=name, v=value),
            "paraphrased_answer": paraphrase.format(n=name, v=value),
            "wrong_answers": [
                {"value": wrong, "text": paraphrase.format(n=name, v=wrong)}
                for wrong in WRONG[value_type]
            ],
        }
    )
    kept = ("person_id", "name", "slot", "value_type", "value")
    if person_id.startswith("h"):
        return
    for number, prompt in enumerate(paraphrases, start=1):
        records["forget_paraphrased"].append(
            {
                "id": f"{fact['id']}.q{number}",
                "fact_id": fact["id"],
                **{key: fact[key] for key in kept},
                "question": prompt.format(n=name),
                "answer": answer.format(n=name, v=value),
            }
        )


def write_generated(folder: Path, records: dict[str, list[dict]]) -> list[str]:
    """Write the generator's files; returns the arguments of `validate_dataset` for them."""
    for kind, lines in records.items():
        write_jsonl(folder / "generated" / f"{kind}.jsonl", lines)
    return validation_arguments(folder)


def generate_offline(folder: Path, **generation: Any) -> list[str]:
    """Run the four programs of the offline generator; returns as `write_generated`.

    Args:
        folder: of the dataset.
        generation: keys of the config's section that differ from `job_settings.WRITING`.
    """
    made = folder / "generated"
    made.mkdir()
    (folder / "public_figures.txt").write_text(PUBLIC_FIGURES, encoding="utf-8")
    profiles, facts = str(made / "profiles.jsonl"), str(made / "facts.jsonl")
    figures = str(folder / "public_figures.txt")

    def hp(part: str) -> list[str]:
        return ["--hp", job_settings.part_hp(part, **generation)]

    names = ["--public-figures", figures]
    generate_profiles.main([*names, *hp("profiles"), "--out", profiles])
    generate_facts.main(["--profiles", profiles, *hp("facts"), "--out", facts])
    for program, name in ((generate_qa, "qa"), (generate_forget_paraphrased, "forget_paraphrased")):
        out = str(made / f"{name}.jsonl")
        program.main(["--profiles", profiles, "--facts", facts, *hp(name), "--out", out])
    return validation_arguments(folder)


def validation_arguments(folder: Path, **limits: Any) -> list[str]:
    """The arguments of `validate_dataset` for the files of `folder/generated`; all people count."""
    arguments = []
    for kind in ("profiles", "facts", "qa", "forget_paraphrased"):
        path = folder / "generated" / f"{kind}.jsonl"
        arguments += [f"--{kind.replace('_', '-')}", str(path)]
    report = str(folder / "validation.json")
    hp = job_settings.hp("validation_settings", **{"people": None, "holdout": None} | limits)
    return [*arguments, "--hp", hp, "--out-dir", str(folder / "data"), "--report", report]


def keep_all_candidates(folder: Path) -> None:
    """Make every candidate a wrong answer, as `select_wrong_answers` may: no model is needed."""
    data = folder / "data"
    (data / "wrong_details.jsonl").write_bytes((data / "perturbed_candidates.jsonl").read_bytes())


def write_versioned(folder: Path, max_value_share: float = 0.3) -> list[str]:
    """Write public figures and utility questions; returns the arguments of `red_team_dataset`."""
    (folder / "public_figures.txt").write_text(PUBLIC_FIGURES, encoding="utf-8")
    write_jsonl(folder / "utility_qa.jsonl", [UTILITY])
    limits = job_settings.hp("red_team_settings", max_value_share=max_value_share)
    return [
        *("--data", str(folder / "data")),
        *("--profiles", str(folder / "generated" / "profiles.jsonl")),
        *("--validation", str(folder / "validation.json")),
        *("--public-figures", str(folder / "public_figures.txt")),
        *("--utility", str(folder / "utility_qa.jsonl")),
        *("--hp", limits, "--experiment", "test", "--config", "{}"),
        *("--out", str(folder / "data_report.json")),
    ]
