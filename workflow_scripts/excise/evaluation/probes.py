"""Linear probes: can the value of a slot be read off the hidden states of a left-out person?

A ridge regression on one-hot values is trained on the questions of all other people and tested on
those of the person left out. So it cannot learn a person's name. It can only succeed if states of
different people encode the same value in the same direction.

Control task: the values are dealt out anew among the people. A probe that can learn those too
is no evidence. Selectivity is accuracy minus control accuracy. Source: Hewitt and Liang
(2019), whose control tasks are random labels by word type; here the type is the person.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

PENALTY = 1.0
"""Ridge penalty, relative to the mean squared length of a standardised state."""
PERMUTATIONS = 100
FEWEST_PEOPLE = 8
"""A slot is probed only if so many people share their value with another person."""


def probed_people(values: dict[str, str]) -> list[str]:
    """The people whose value another person has too; nobody if they are fewer than `FEWEST_PEOPLE`.

    Args:
        values: person → value of the slot.
    """
    holders = Counter(values.values())
    people = [person for person, value in values.items() if holders[value] > 1]
    return people if len(people) >= FEWEST_PEOPLE else []


def probe(
    states: np.ndarray,
    values: Sequence[str],
    people: Sequence[str],
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each question's value is found from its state, with its person left out.

    Features are standardised over all questions, without looking at values. The prediction for a
    person left out is exact, without a fit for each: with G = (K + λI)⁻¹ and K the kernel of the
    features and a constant, it is y_b − (G_bb)⁻¹ (G y)_b for the questions b of that person.

    Args:
        states: of n questions, (n, layers, hidden).
        values: the value that each question asks for, (n,).
        people: the person of each question, (n,); all questions of a person have one value.
        permutations: control tasks.
        seed: of the control tasks.

    Returns:
        Hits, 0 or 1, and control hits, 0 to 1, (n, layers) each. NaN for a person whose value
        nobody else has (in the control: has in no permutation), and where a state is NaN.
    """
    names, person = np.unique(np.asarray(people, dtype=str), return_inverse=True)
    classes, label = np.unique(np.asarray(values, dtype=str), return_inverse=True)
    own = np.empty(len(names), dtype=int)
    own[person] = label
    generator = np.random.default_rng(seed)
    tasks = np.array([own, *(generator.permutation(own) for _ in range(permutations))])
    asked = tasks[:, person]  # (tasks, n): the class that each question asks for
    shared = np.bincount(own, minlength=len(classes))[asked] > 1
    right = np.zeros((states.shape[1], *asked.shape), dtype=bool)
    broken = ~np.isfinite(states).all(axis=(0, 2))  # (layers,)
    blocks = [np.flatnonzero(person == index) for index in range(len(names))]
    targets = np.eye(len(classes))[asked].transpose(1, 0, 2).reshape(len(person), -1)
    for layer in np.flatnonzero(~broken):
        features = states[:, layer].astype(np.float64)
        features -= features.mean(axis=0)
        spread = features.std(axis=0)
        features /= np.where(spread > 0, spread, 1)
        kernel = features @ features.T / features.shape[1] + 1
        inverse = np.linalg.inv(kernel + PENALTY * np.eye(len(kernel)))
        fitted = inverse @ targets
        for block in blocks:
            left_out = np.linalg.solve(inverse[np.ix_(block, block)], fitted[block])
            scores = (targets[block] - left_out).reshape(len(block), len(tasks), -1)
            right[layer][:, block] = asked[:, block] == scores.argmax(axis=2).T
    tested = np.where(shared, 1.0, np.nan) * np.where(right, 1.0, 0.0)  # (layers, tasks, n)
    tested[broken] = np.nan
    counts = shared[1:].sum(axis=0)
    control = np.nansum(tested[:, 1:], axis=1) / np.where(counts, counts, np.nan)
    control[broken] = np.nan
    return tested[:, 0].T, control.T
