"""Section `audit` of the config: models that others made, and what they are compared with."""

from collections.abc import Sequence

from excise.config.messages import Key, Source, refuse, shown
from excise.unlearning.registry import names as method_names

KINDS = ("path", "adapter", "gguf")
TAKEN = ("base", "finetuned")
"""Names of the study's own models."""


def check_audit(config: dict, sources: Sequence[Source] = ()) -> None:
    """Check section `audit` of a config that fits config.schema.yaml, with its defaults.

    Raises:
        InputError: the first fault, in one line.
    """
    audit = config["audit"]
    for section in ("models", "references"):
        _check_names(audit[section], section, sources)
        for index, entry in enumerate(audit[section]):
            _check_one_kind(entry, ("audit", section, index), sources)
    _check_methods(config, sources)
    known = _known(config)
    for index, entry in enumerate(audit["models"]):
        key = ("audit", "models", index, "compare")
        if entry["compare"]["finetuned"] is not None:
            _check_known(entry["compare"]["finetuned"], known[0], (*key, "finetuned"), sources)
        for place, name in enumerate(entry["compare"]["oracle"]):
            _check_known(name, known[1], (*key, "oracle", place), sources)
            if name == entry["compare"]["finetuned"]:
                problem = f"found {shown(name)}, which is the finetuned model, too"
                refuse(sources, (*key, "oracle", place), f"{problem}; allowed: another model")
    used = {name for entry in audit["models"] for name in compared_names(entry)}
    for index, entry in enumerate(audit["references"]):
        if entry["name"] not in used:
            problem = (
                f"found {shown(entry['name'])}; allowed: a name that audit.models compares with"
            )
            refuse(sources, ("audit", "references", index, "name"), problem)
    if audit["only"] and not audit["models"]:
        refuse(sources, ("audit", "only"), "found true; allowed: false without audit.models")


def _check_names(entries: list[dict], section: str, sources: Sequence[Source]) -> None:
    seen: dict[str, int] = {}
    for index, entry in enumerate(entries):
        key = ("audit", section, index, "name")
        if entry["name"] in TAKEN:
            problem = f"found {shown(entry['name'])}, the name of a model of the study"
            refuse(sources, key, f"{problem}; allowed: another name")
        first = seen.setdefault(entry["name"], index)
        if first != index:
            problem = f"found {shown(entry['name'])}, the name of {section}[{first}]"
            refuse(sources, key, f"{problem}; allowed: another name")


def _check_one_kind(entry: dict, key: Key, sources: Sequence[Source]) -> None:
    given = [kind for kind in KINDS if entry[kind] is not None]
    if len(given) != 1:
        listed = f"{', '.join(KINDS[:-1])} and {KINDS[-1]}"
        found = f"found {' and '.join(given) or 'none'} of {listed}"
        refuse(sources, key, f"{found}; allowed: exactly one")


def _check_methods(config: dict, sources: Sequence[Source]) -> None:
    """An audited model stands beside the study's methods, under its own name."""
    for index, entry in enumerate(config["audit"]["models"]):
        if entry["name"] in method_names():
            problem = f"found {shown(entry['name'])}, the name of a method; allowed: another name"
            refuse(sources, ("audit", "models", index, "name"), problem)


def _known(config: dict) -> tuple[list[str], list[str]]:
    """What a model may be compared with: as finetuned model, and as oracle."""
    references = [entry["name"] for entry in config["audit"]["references"]]
    if config["audit"]["only"]:
        return references, references
    oracles = [f"oracle/seed_{seed}" for seed in config["oracle"]["seeds"]]
    return [*references, "finetuned"], [*references, *oracles]


def _check_known(name: str, known: list[str], key: Key, sources: Sequence[Source]) -> None:
    if name not in known:
        allowed = f"one of {', '.join(known)}" if known else "nothing (audit.references is empty)"
        refuse(sources, key, f"found {shown(name)}; allowed: {allowed}")


def compared_names(entry: dict) -> list[str]:
    """The names that an audited model is compared with."""
    finetuned = entry["compare"]["finetuned"]
    return [*([finetuned] if finetuned else []), *entry["compare"]["oracle"]]
