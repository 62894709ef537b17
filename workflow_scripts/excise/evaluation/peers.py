"""What each model is compared with: its finetuned model and its oracles. No torch, no pandas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


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
