"""Hold the benchmark to what models that never saw the forget facts make of it.

Reads what base and oracles were asked and scored, measures and writes red_team_models.json. A
failed gate is one line; whether it stops the run is `on_failure` in --hp.
"""

import argparse
import sys
from pathlib import Path

from excise.errors import InputError, run
from excise.records import read_jsonl
from excise.red_team_models.gates import NOTES, Gates, failures, gate_rows, sure_names
from excise.results import json_object, write_result
from excise.summaries import confidence_of, read_items


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, required=True, help="candidate_scores.jsonl")
    parser.add_argument("--eval-dir", type=Path, required=True, help="evaluation records")
    parser.add_argument("--names-dir", type=Path, required=True, help="of ask_about_names")
    parser.add_argument("--gradients", type=Path, required=True, help="of compare_gradients")
    parser.add_argument("--models", nargs="+", required=True, help="base and the oracles")
    parser.add_argument("--hp", type=json_object, default={}, help="JSON: gates and intervals")
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--config", type=json_object, required=True, help="JSON, for the header")
    parser.add_argument("--out", type=Path, required=True, help="red_team_models.json")
    args = parser.parse_args(argv)

    asked = {model: read_items(args.names_dir / model / "items.jsonl") for model in args.models}
    rows = gate_rows(
        args.models,
        read_jsonl(args.scores, "candidate_scores"),
        {model: read_items(args.eval_dir / model / "items.jsonl") for model in args.models},
        asked,
        read_jsonl(args.gradients, "gradients"),
        Gates(**{key: args.hp[key] for key in Gates.__dataclass_fields__ if key in args.hp}),
        confidence_of(args.hp),
    )
    failed = failures(rows)
    if failed:
        line = f"{len(failed)} gates failed: {'; '.join(failed)}"
        if args.hp.get("on_failure") == "stop":
            raise InputError(f"red_team.models: {line}")
        print(f"warning: {line}", file=sys.stderr)
    known = [f"The base is sure of: {one}" for one in sure_names(asked["base"])]
    notes = [*NOTES, *known]
    write_result(args.out, experiment=args.experiment, config=args.config, notes=notes, rows=rows)
    gated = sum(row["passed"] is not None for row in rows)
    print(f"{args.out}: {len(rows)} rows, {gated - len(failed)} of {gated} gates passed")


if __name__ == "__main__":
    run(main)
