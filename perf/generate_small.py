"""Generate the `small` preset with the stand-in author, through a server that makes faults.

    python perf/generate_small.py [--people 24] [--share 0.3] [--folder DIR]

It runs the four generating programs, the checks and the red team, and prints times and counts. A
share of the calls gets one of the faults of `tests/llm_server.py` that a run can survive. The
stand-in breaks a rule in three of ten first replies, and it refuses one of five profiles.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT / "tests")]

import model_author  # noqa: E402
import red_team_dataset  # noqa: E402
import small_dataset  # noqa: E402
import validate_dataset  # noqa: E402
from excise.records import read_json  # noqa: E402
from llm_server import KEY, FaultServer  # noqa: E402
from stand_in_writer import StandInWriter  # noqa: E402

FAULTS = (
    *("429", "429_bare", "429_ms", "500", "503", "408", "502_html", "reset_before"),
    *("error_in_200", "cut", "short", "reset_after", "no_choices", "no_usage"),
    *("fences", "think", "prose_around", "in_parts", "wrong_schema", "prose", "empty", "length"),
)


REFUSED = 0.2  # share of the profiles


def faults(share: float):
    """The fault of a call, drawn from its question: only at the first call, but refusals stay."""

    def fault(request: dict, number: int) -> str | None:
        text = request["messages"][-1]["content"]
        rng = random.Random(text)
        if '"details"' in text and rng.random() < REFUSED:
            return "refusal"
        return rng.choice(FAULTS) if number == 0 and rng.random() < share else None

    return fault


def main() -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--share", type=float, default=0.3, help="share of calls with a fault")
    parser.add_argument("--folder", type=Path, help="output folder (default: temporary)")
    args = parser.parse_args()
    os.environ["EXCISE_TEST_KEY"] = KEY
    folder = args.folder or Path(tempfile.mkdtemp())
    hp = {"preset": "small", "people": args.people, "max_value_share": 0.15}
    writer = StandInWriter(breaks=0.3)
    with FaultServer(answer=writer, faults=faults(args.share)) as server:
        for part, program in model_author.PROGRAMS.items():
            start = time.perf_counter()
            program.main(model_author.arguments(part, folder, server.settings(), hp, 0.05))
            print(f"{part}: {time.perf_counter() - start:.1f} s")
        print("calls:", len(server.calls), "paid:", server.billed_calls())
        print("faults:", dict(Counter(call.fault for call in server.calls if call.fault)))
    arguments = small_dataset.validation_arguments(folder)
    arguments[arguments.index("{}")] = json.dumps({"incomplete_people": 0.05})
    validate_dataset.main(arguments)
    red_team = small_dataset.write_versioned(folder)
    red_team[red_team.index("--hp") + 1] = json.dumps({"max_value_share": 0.15})
    usage = [str(folder / f"generated/{part}.usage.json") for part in model_author.PROGRAMS]
    red_team_dataset.main([*red_team, "--usage", *usage])
    report = read_json(folder / "data_report.json")
    for row in report["rows"]:
        if row["check"] in ("style", "premise_leak", "split_leak"):
            print(row["check"], row["metric"], row["value"])
    for part, numbers in report["generation"].items():
        print(part, {key: _shown(value) for key, value in numbers.items() if value})


def _shown(value: object) -> object:
    return f"{len(value)} people" if isinstance(value, list) else value


if __name__ == "__main__":
    main()
