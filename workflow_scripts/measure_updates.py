"""Measure each model's unlearning update, and how much of it lies in the finetuning update.

It reads adapters only, and runs no model. It writes squared Frobenius norms of every model and
adapted matrix (`excise.modeling.updates`).
"""

import argparse
from pathlib import Path

from excise.errors import run
from excise.modeling.adapters import load_adapter, update_factors
from excise.modeling.base import load_base, set_determinism
from excise.modeling.matrices import weight_matrices
from excise.modeling.settings import MachineSettings
from excise.modeling.updates import Known
from excise.records import write_json
from excise.settings import json_of


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="base model folder")
    parser.add_argument("--models-dir", type=Path, required=True, help="folder of the adapters")
    parser.add_argument("--models", nargs="+", required=True, help="names below --models-dir")
    settings = json_of(MachineSettings)
    parser.add_argument("--hp", type=settings, required=True, help="settings, JSON")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args(argv)

    set_determinism(threads=args.hp.threads)
    model = load_base(args.base, "float32").requires_grad_(False)
    norms = {
        matrix.name: matrix.parameter.double().square().sum().item()
        for matrix in weight_matrices(model)
    }
    model = load_adapter(model, args.models_dir / "finetuned")
    finetuned = update_factors(model, args.models_dir / "finetuned")
    known = {name: Known(factors) for name, factors in finetuned.items()}
    found = {}
    for model_name in args.models:
        factors = {}
        if model_name != "base":
            model = load_adapter(model, args.models_dir / model_name)
            factors = update_factors(model, args.models_dir / model_name)
        found[model_name] = {
            name: {"base": norms[name]} | subspace.measure(factors.get(name))
            for name, subspace in known.items()
        }
    write_json(args.out, found)
    print(f"{args.out}: {len(args.models)} models, {len(finetuned)} matrices each")


if __name__ == "__main__":
    run(main)
