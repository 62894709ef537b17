"""Models that come from elsewhere: check a new folder, and note where it comes from."""

import os
from pathlib import Path

from excise.files import sha256
from excise.modeling.settings import ModelCheckSettings
from excise.records import write_json
from excise.settings import json_of
from excise.workflow.preflight import check_model_folder, model_files


def check_incoming(folder: Path, name: str) -> None:
    """Check that a new folder can serve the experiment.

    The Snakefile puts the settings of the experiment into the environment, because they must not
    decide whether a model is fetched again: `EXCISE_MODEL` (how models are checked) and
    `EXCISE_UNLEARNING` (blocks of trajectories, whose methods check the model).

    Raises:
        InputError: it cannot.
    """
    check_model_folder(folder, name)
    if settings := os.environ.get("EXCISE_MODEL"):
        from excise.workflow.model_check import check_model  # takes seconds to import

        check_model(folder, json_of(ModelCheckSettings, "EXCISE_MODEL")(settings))
    if unlearning := os.environ.get("EXCISE_UNLEARNING"):
        from excise.config.trajectories import check_methods_fit

        check_methods_fit(json_of(dict, "EXCISE_UNLEARNING")(unlearning), folder)


def write_manifest(folder: Path, source: dict) -> int:
    """Write `manifest.json`: the source, and the digest of every file; returns their number."""
    files = model_files(folder)
    digests = {Path(path).name: sha256(path) for path in files}
    write_json(folder / "manifest.json", source | {"sha256": digests})
    return len(files)
