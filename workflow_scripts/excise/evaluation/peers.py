"""What each model is compared with: its finetuned model and its oracles. No torch, no pandas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

AUDITED, REFERENCES = "audit", "reference"
"""First part of the names of audited models and of their references."""


@dataclass(frozen=True)
class Peers:
    """The models that a model is compared with, by name.

    Attributes:
        finetuned: the model before unlearning; None if there is none.
        oracles: models that never saw the forget facts.
    """

    finetuned: str | None
    oracles: tuple[str, ...]


NOTHING = Peers(None, ())


def peers_of(model: str, models: Sequence[str], given: Mapping[str, Peers]) -> Peers:
    """What a model is compared with: never itself.

    Args:
        model: its name.
        models: all models of the table.
        given: audited models and their references → what the config names. Every other model is
            compared with `finetuned` and all `oracle/…` of the table.
    """
    if model in given:
        own = given[model]
    else:
        finetuned = "finetuned" if "finetuned" in models else None
        own = Peers(finetuned, tuple(one for one in models if one.startswith("oracle/")))
    return Peers(
        None if own.finetuned == model else own.finetuned,
        tuple(one for one in own.oracles if one != model),
    )


def peers_in(config: dict) -> dict[str, Peers]:
    """What audited models and their references are compared with, by their names in result files.

    A reference is compared with what the first model that names it is compared with.
    """
    references = {entry["name"] for entry in config["audit"]["references"]}

    def full(name: str) -> str:
        return f"{REFERENCES}/{name}" if name in references else name

    found: dict[str, Peers] = {}
    for entry in config["audit"]["models"]:
        finetuned, oracles = entry["compare"]["finetuned"], entry["compare"]["oracle"]
        peers = Peers(full(finetuned) if finetuned else None, tuple(map(full, oracles)))
        found[f"{AUDITED}/{entry['name']}"] = peers
        for name in ([finetuned] if finetuned else []) + oracles:
            if name in references:
                found.setdefault(full(name), peers)
    return found


def all_oracles(models: Sequence[str], given: Mapping[str, Peers]) -> list[str]:
    """Every model that some model of the table is compared with as an oracle, in a fixed order."""
    found = [one for model in models for one in peers_of(model, models, given).oracles]
    return list(dict.fromkeys(found))


def notes_on_missing(
    models: Sequence[str], given: Mapping[str, Peers], without: Mapping[str, str]
) -> list[str]:
    """A line for each audited model that has no finetuned model or no oracle.

    Args:
        models: of the table.
        given: as in `peers_of`.
        without: `finetuned` and `oracle` → what the table leaves out then.
    """
    lines = []
    for model in (one for one in models if one in given):
        peers = peers_of(model, models, given)
        if peers.finetuned is None and "finetuned" in without and not _serves(model, given):
            lines.append(f"{model}: compared with no finetuned model; left out: "
                         f"{without['finetuned']}.")  # fmt: skip
        if not peers.oracles and "oracle" in without:
            lines.append(f"{model}: compared with no oracle; left out: {without['oracle']}.")
    return lines


def _serves(model: str, given: Mapping[str, Peers]) -> bool:
    """Whether others take this model for their finetuned one."""
    return any(peers.finetuned == model for peers in given.values())
