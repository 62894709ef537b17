"""Test a small copy of a model with one question of each kind and the experiment's settings.

Snakemake runs it before the first job, once per model and settings. It writes no files.
"""

import argparse

from excise.errors import run
from excise.modeling.base import set_determinism
from excise.modeling.settings import ModelCheckSettings
from excise.settings import json_of
from excise.workflow.model_check import check_model


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="base model folder")
    settings = json_of(ModelCheckSettings)
    parser.add_argument("--hp", type=settings, required=True, help="settings, JSON")
    args = parser.parse_args(argv)

    set_determinism()
    check_model(args.base, args.hp)
    print(f"{args.base}: works")


if __name__ == "__main__":
    run(main)
