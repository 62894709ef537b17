"""Predictors of the damage to a retain fact, from the finetuned model alone, before unlearning.

| predictor | of a retain fact; higher forecasts more damage |
|---|---|
| `gradient_person_mean`, `_max` | cosine of its gradient with those of its person's forget facts |
| `gradient_all_mean`, `_max` | the same with all forget facts |
| `gradient_forget_set` | cosine with the mean gradient of all forget facts, a step's direction |
| `gradient_product` | its product with that mean: first-order change of its loss by the step |
| `state_prompt_person`, `_all` | largest cosine of its hidden state at the last prompt token with \
those of its person's, or of all, forget facts |
| `state_answer_person`, `_all` | the same of the mean state over the answer |
| `finetuned_loss` | its own loss, nats per token: a forecast without the forget set |
| `same_event` | 1 for a fact of the forget facts' event, else 0: a forecast without a model |

Hidden states are those of one layer, minus their mean over all facts: what all prompts share makes
every raw cosine large. A predictor is None where it is undefined, as of a gradient that is zero.
"""

import math
from collections.abc import Sequence

import torch
from torch.nn.functional import normalize

from excise.benchmark.items import UNGROUPED_SET, Item
from excise.errors import InputError
from excise.modeling.hidden_states import Reader

PREDICTORS = (
    *("gradient_person_mean", "gradient_person_max", "gradient_all_mean", "gradient_all_max"),
    *("gradient_forget_set", "gradient_product"),
    *("state_prompt_person", "state_prompt_all", "state_answer_person", "state_answer_all"),
    *("finetuned_loss", "same_event"),
)
STATES = {"prompt": "last_prompt", "answer": "answer"}
"""Part of a predictor's name → position of `hidden_states`."""


def mean_states(reader: Reader, model: torch.nn.Module, layer: int) -> dict[str, torch.Tensor]:
    """The model's hidden states at one layer, averaged over the tokens of each position.

    Args:
        reader: of the facts, at the positions of `STATES`.
        model: the model.
        layer: 0 is the embeddings, L the last block.

    Returns:
        {position: (facts, hidden) in fp64 on the CPU}.

    Raises:
        InputError: the model has no such layer.
    """
    read = []
    for states in reader.read(model):
        if not 0 <= layer < states.shape[1]:
            raise InputError(
                f"representations.middle_layer: found {layer}; allowed: 0 to {states.shape[1] - 1}"
            )
        read.append(states[:, layer].cpu())
    states = torch.cat(read)
    found = {}
    for position in reader.positions:
        chosen = [i for i, token in enumerate(reader.tokens) if token.position == position]
        items = torch.tensor([reader.tokens[i].item for i in chosen])
        sums = torch.zeros(len(reader.items), states.shape[1], dtype=states.dtype)
        sums.index_add_(0, items, states[chosen])
        counts = torch.bincount(items, minlength=len(reader.items))
        found[position] = sums / counts[:, None]
    return found


def forecast(
    items: Sequence[Item],
    gradients: torch.Tensor,
    losses: Sequence[float],
    states: dict[str, torch.Tensor],
) -> list[dict]:
    """Predictors of every retain fact.

    Args:
        items: forget facts (set `sf`) and retain facts.
        gradients: one row per item, (items, width).
        losses: one per item.
        states: position → (items, hidden).

    Returns:
        {id, person_id, slot, set, and `PREDICTORS`} per retain fact. A predictor is None if it is
        undefined, or if the person has no forget facts.
    """
    forget = [i for i, item in enumerate(items) if item.set == "sf"]
    retain = [i for i, item in enumerate(items) if item.set != "sf"]
    own = torch.tensor([[_same_person(items[i], items[j]) for j in forget] for i in retain])
    forgotten, retained = gradients[forget], gradients[retain]
    lengths = gradients.norm(dim=1)
    cosines = (retained @ forgotten.T) / torch.outer(lengths[retain], lengths[forget])
    step = forgotten.mean(dim=0)
    products = retained @ step
    columns = {
        "gradient_person_mean": _mean(cosines, own),
        "gradient_person_max": _largest(cosines, own),
        "gradient_all_mean": cosines.mean(dim=1),
        "gradient_all_max": cosines.amax(dim=1),
        "gradient_forget_set": products / (lengths[retain] * step.norm()),
        "gradient_product": products,
    }
    for name, position in STATES.items():
        centred = normalize(states[position] - states[position].mean(dim=0), eps=0)
        cosines = centred[retain] @ centred[forget].T
        columns[f"state_{name}_person"] = _largest(cosines, own)
        columns[f"state_{name}_all"] = cosines.amax(dim=1)
    columns["finetuned_loss"] = torch.tensor([losses[i] for i in retain])
    columns["same_event"] = torch.tensor([_same_event(items[i]) for i in retain])
    rows = torch.stack([columns[name].double() for name in PREDICTORS], dim=1).tolist()
    keys = ("id", "person_id", "slot", "set")
    return [
        {key: getattr(items[i], key) for key in keys} | dict(zip(PREDICTORS, row, strict=True))
        for i, row in zip(retain, rows, strict=True)
    ]


def _same_event(item: Item) -> float:
    """NaN where retain facts have no groups."""
    return math.nan if item.set == UNGROUPED_SET else float(item.set == "correlated")


def _same_person(one: Item, other: Item) -> bool:
    return one.person_id is not None and one.person_id == other.person_id


def _mean(cosines: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Mean over a row's chosen columns; NaN without any."""
    return torch.where(own, cosines, 0.0).sum(dim=1) / own.sum(dim=1)


def _largest(cosines: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Largest of a row's chosen columns; NaN without any, or if one is NaN."""
    largest = torch.where(own, cosines, -torch.inf).amax(dim=1)
    return torch.where(own.any(dim=1), largest, torch.nan)
