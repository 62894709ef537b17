"""Test a small copy of a model with one question of each kind and the experiment's settings.

Snakemake runs it before the first job, once per model and settings. It writes no files.
"""

import argparse
import json

from excise.errors import run
from excise.modeling.base import set_determinism
from excise.workflow.model_check import check_model


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="base model folder")
    parser.add_argument(
        "--hp", type=json.loads, required=True, help="system_prompt, lora, max_new_tokens; JSON"
    )
    args = parser.parse_args(argv)

    set_determinism()
    check_model(args.base, args.hp)
    print(f"{args.base}: works")


if __name__ == "__main__":
    run(main)
