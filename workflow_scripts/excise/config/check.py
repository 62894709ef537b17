"""The experiment's config: checked against config.schema.yaml and completed.

Every mistake becomes one line that names the file and the key, what was found and what is
allowed. Parsed in every job, so it knows nothing of torch.
"""

import os
from collections.abc import Sequence

from jsonschema import Draft202012Validator

from excise.config.audit import check_audit
from excise.config.llm import check_llm_keys
from excise.config.messages import (
    Source,
    check_finite,
    refuse,
    refuse_schema_error,
)
from excise.config.presets import PRESETS
from excise.config.schema import filled, schema
from excise.config.trajectories import check_checkpoints, checked_blocks


def check_config(config: dict, sources: Sequence[Source] = ()) -> dict:
    """Check a config and fill in its defaults.

    Args:
        config: the merged config.
        sources: who set what, from `load_config`, in the order of precedence.

    Returns:
        A new config with every key of the schema present, `generation.people` and `holdout` settled
        from the preset, and numbers in the type the schema gives them (so 1 and 1.0 are the same
        value).

    Raises:
        InputError: the first fault, in one line.
    """
    check_finite(config, sources)
    errors = list(Draft202012Validator(schema()).iter_errors(config))
    if errors:
        # A misspelt key explains the missing one beside it, so it goes first.
        error = min(errors, key=lambda error: error.validator != "additionalProperties")
        refuse_schema_error(error, sources)
    resolved = filled(schema(), config)
    resolved["unlearning"]["trajectories"] = checked_blocks(config, sources)
    generation = resolved["generation"]
    preset = PRESETS[generation["preset"]]
    generation["people"] = generation["people"] or preset.people
    if generation["holdout"] is None:
        generation["holdout"] = preset.holdout
    resolved["quantization"]["precisions"] = resolved["quantization"]["precisions"] or []
    resolved["relearning"]["attacks"] = resolved["relearning"]["attacks"] or []
    _check_folders(resolved, sources)
    _check_model_choice(resolved, sources)
    _check_candidates(resolved, sources)
    _check_planted(resolved, sources)
    _check_steps(resolved, sources)
    _check_own_files(resolved, sources)
    _check_quantized_sets(resolved, sources)
    if generation["backend"] == "openai" or resolved["red_team"]["judge"]["enabled"]:
        check_llm_keys(generation["llm"], sources)
    check_checkpoints(resolved, sources)
    check_audit(resolved, sources)
    return resolved


def _check_folders(config: dict, sources: Sequence[Source]) -> None:
    """Refuse unusual spellings: Snakemake compares paths as text, so `results//x` differs."""
    for name, folder in config["pathvars"].items():
        plain = os.path.normpath(folder)
        if plain != folder:
            refuse(sources, ("pathvars", name), f"found {folder!r}; allowed: {plain!r}")


def _check_model_choice(config: dict, sources: Sequence[Source]) -> None:
    kinds = ("path", "hub", "gguf")
    given = [kind for kind in kinds if config["model"][kind] is not None]
    if len(given) != 1:
        refuse(
            sources,
            ("model",),
            f"found {' and '.join(given) or 'none'} of path, hub and gguf; allowed: exactly one "
            "(an experiment that sets hub or gguf also sets path: null)",
        )


def _check_candidates(config: dict, sources: Sequence[Source]) -> None:
    generation = config["generation"]
    if generation["perturbed_candidates"] < generation["wrong_answers"]:
        refuse(
            sources,
            ("generation", "perturbed_candidates"),
            f"found {generation['perturbed_candidates']}; allowed: at least the "
            f"{generation['wrong_answers']} of generation.wrong_answers",
        )


def _check_own_files(config: dict, sources: Sequence[Source]) -> None:
    """Own files need a folder; a judge and a preview read generated people."""
    generation, key = config["generation"], ("generation", "folder")
    own = generation["backend"] == "files"
    if own and generation["folder"] is None:
        refuse(sources, key, "missing; needed: a folder for backend files")
    if not own and generation["folder"] is not None:
        found = f"found {generation['folder']!r}"
        refuse(sources, key, f"{found}; allowed: null with backend {generation['backend']}")
    if own and config["red_team"]["judge"]["enabled"]:
        key = ("red_team", "judge", "enabled")
        refuse(sources, key, "found true; allowed: false with backend files")
    if own and config["preview"] is not None:
        refuse(
            sources, ("preview",), f"found {config['preview']}; allowed: null with backend files"
        )


def _check_quantized_sets(config: dict, sources: Sequence[Source]) -> None:
    """Own files may have a holdout.jsonl whatever generation.holdout says."""
    generation, chosen = config["generation"], config["quantization"]["sets"] or []
    if "holdout" in chosen and not generation["holdout"] and generation["backend"] != "files":
        refuse(
            sources,
            ("quantization", "sets"),
            "found 'holdout'; allowed: a list without it, because generation.holdout is 0",
        )


def _check_planted(config: dict, sources: Sequence[Source]) -> None:
    generation = config["generation"]
    for key, kind in (("entanglement", "bound"), ("shared_answers", "shared")):
        if generation[key] and generation["backend"] != "offline":
            refuse(
                sources,
                ("generation", key),
                f"found {generation[key]}; allowed: 0 with backend "
                f"{generation['backend']} (only offline writes {kind} facts)",
            )
    if generation["entanglement"] and generation["shared_answers"]:
        refuse(
            sources,
            ("generation", "shared_answers"),
            f"found {generation['shared_answers']}; allowed: 0 with a generation.entanglement "
            "above 0 (its partner facts would share answers, too)",
        )


def _check_steps(config: dict, sources: Sequence[Source]) -> None:
    """Every change is measured from step 0, and areas are over ascending steps."""
    steps = config["relearning"]["steps"]
    if steps != sorted(steps) or steps[0] != 0:
        key = ("relearning", "steps")
        refuse(sources, key, f"found {steps}; allowed: ascending steps, the first is 0")
