"""Choose the wrong answers of a question among its candidates, so that none gives the truth away.

A model that never saw a fact should find the truth as likely as the wrong answers. TOFU's wrong
answers have the length of the truth. Yet a model that never saw its forget set prefers the truth:
the median truth ratio is 0.81 in TOFU's direction, and the truth beats 66 % of the wrong answers.
The likelihood of a text has many causes. So models that never saw the fact measure it, and the
wrong answers are chosen by the result.

Every question gets a *target rank*: the number of its k wrong answers that the truth should beat.
Within a slot, every rank 0 … k occurs equally often. A set of k candidates meets the target if the
truth has this rank under every selecting model and the truth ratio is on the same side of 1. One of
these sets is drawn, or, if there is none, one of the sets that miss the target least. The ranks are
assigned to questions so that the total miss of the slot is smallest.

If the result is out of tolerance, further candidates are drawn for the questions that missed, and
the choice is made again (`candidate_pools`). Some slots have no further values: there are only
twelve months.

For the *selecting* models, and up to the reported misses, this gives a win rate of one half, a
median truth ratio near 1, and a uniform rank of the truth. A truth that is always in the middle
would allow the attack "take the middle one". It would also make the spread of truth ratios too
small: a model without knowledge beats a random number of alternatives, not always half of them.

It guarantees nothing about other models. The choice also fits the noise of the selecting models, so
another model moves back towards its own preference. Therefore, with two or more oracle seeds, the
last one takes no part in the choice, and the report shows both kinds of models. The truth ratio of
a selecting oracle is 1 by construction, so it shows nothing new.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from scipy.optimize import linear_sum_assignment

MAX_SETS = 4000  # sets of candidates considered for one question


def selecting(models: Sequence[str], group: str) -> list[str]:
    """The models whose scores choose the wrong answers of a group of facts.

    Forget facts: base and all oracles, except for the last of two or more oracles, which is a
    check. Retain facts: base alone, because the oracles learned them.
    """
    oracles = [model for model in models if model.startswith("oracle/")]
    excluded = oracles if group != "sf" else oracles[-1:] if len(oracles) > 1 else []
    return [model for model in models if model not in excluded]


@dataclass(frozen=True)
class Choice:
    """The wrong answers of one question.

    Attributes:
        chosen: positions among its candidates, ascending.
        target_rank: number of them that the truth should beat.
        miss: by how much the best set misses the target; 0: it meets the target.
    """

    chosen: list[int]
    target_rank: int
    miss: float


def choose(
    slots: Sequence[str], margins: Sequence[np.ndarray], count: int, seed: int | str
) -> list[Choice]:
    """Choose wrong answers for questions, slot by slot.

    Args:
        slots: the slot of each question.
        margins: per question (M, J): log-probability per token of the truth minus that of each
            of J candidates, under each of M models. A model with a non-finite number is ignored
            for that question.
        count: wrong answers per question; fewer in a slot with too few candidates for a question.
            A question without candidates gets none and does not affect the others.
        seed: seed of all draws.

    Returns:
        One choice per question.
    """
    choices: list = [None] * len(slots)
    for slot in sorted(set(slots)):
        rng = random.Random(f"wrong-answers-{seed}-{slot}")
        members = [index for index, other in enumerate(slots) if other == slot]
        for index in members:
            choices[index] = Choice([], 0, 0.0)
        members = [index for index in members if np.shape(margins[index])[1]]
        if not members:
            continue
        most = min(count, *(np.shape(margins[index])[1] for index in members))
        pools = [CandidateSets(margins[index], most, rng) for index in members]
        ranks = assign_ranks([pool.misses for pool in pools], rng)
        for index, pool, rank in zip(members, pools, ranks, strict=True):
            choices[index] = Choice(pool.draw(rank, rng), rank, float(pool.misses[rank]))
    return choices


def excess(margins: Sequence[np.ndarray], choices: Sequence[Choice], tolerance: float) -> float:
    """How far a choice is out of tolerance, summed over models; 0 if it is within.

    Within tolerance, the median truth ratio is 1 ± tolerance and the win rate 0.5 ± tolerance,
    under each selecting model. (`red_team.models.gates` has the limits for all models.)

    Args:
        margins: per question (M, J), as of `choose`.
        choices: one per question.
        tolerance: the largest accepted distance.
    """
    pairs = zip(margins, choices, strict=True)
    picked = [margin[:, choice.chosen] for margin, choice in pairs if choice.chosen]
    if not picked:
        return 0.0
    logs = np.array([margin.mean(axis=1) for margin in picked])  # (questions, M)
    wins = np.array([(np.sign(margin) / 2 + 0.5).mean(axis=1) for margin in picked])
    finite = np.isfinite(logs)
    total = 0.0
    for model in range(logs.shape[1]):
        known = finite[:, model]
        if known.any():
            with np.errstate(over="ignore"):  # an infinite ratio is out of tolerance
                median = float(np.median(np.exp(logs[known, model])))
            total += max(0.0, abs(median - 1) - tolerance)
            win_rate = float(wins[known, model].mean())
            total += max(0.0, abs(win_rate - 0.5) - tolerance)
    return total


class CandidateSets:
    """The sets of `count` candidates of one question, and their misses for each rank.

    Attributes:
        misses: (count + 1,): smallest miss over all sets, for each rank.
    """

    def __init__(self, margins: np.ndarray, count: int, rng: random.Random):
        margins = np.asarray(margins, dtype=float)
        margins = margins[np.isfinite(margins).all(axis=1)]
        self.sets = candidate_sets(margins.shape[1], count, rng.getrandbits(32))
        picked = margins[:, self.sets]  # (M, sets, count)
        wins = (np.sign(picked) / 2 + 0.5).sum(axis=2)  # (M, sets)
        sides = np.sign(picked.mean(axis=2))
        ranks = np.arange(count + 1)
        target_side = np.sign(2 * ranks - count)  # side of the truth ratio; 0: both
        off_rank = np.abs(wins[:, :, None] - ranks)
        off_side = (sides[:, :, None] != target_side) & (target_side != 0)
        self._miss = (off_rank + off_side).sum(axis=0)  # (sets, ranks)
        self.misses = self._miss.min(axis=0)

    def draw(self, rank: int, rng: random.Random) -> list[int]:
        """Draw one of the sets that miss `rank` least."""
        best = np.flatnonzero(self._miss[:, rank] == self.misses[rank])
        return self.sets[best[rng.randrange(len(best))]].tolist()


@lru_cache(maxsize=8)
def _all_sets(n: int, count: int) -> np.ndarray:
    return np.array(list(combinations(range(n), count)), dtype=np.int64)


def candidate_sets(n: int, count: int, seed: int) -> np.ndarray:
    """Sets of `count` out of `n`, ascending: all sets, or `MAX_SETS` random ones: (S, count)."""
    if comb(n, count) <= MAX_SETS:
        return _all_sets(n, count)
    generator = np.random.default_rng(seed)
    drawn = generator.permuted(np.tile(np.arange(n), (MAX_SETS, 1)), axis=1)[:, :count]
    return np.unique(np.sort(drawn, axis=1), axis=0)


def assign_ranks(misses: Sequence[np.ndarray], rng: random.Random) -> list[int]:
    """Assign a target rank to each question of a slot: balanced, and with the smallest total miss.

    Args:
        misses: per question (k + 1,), the miss for each rank.
        rng: breaks ties and draws the remaining ranks.

    Returns:
        The ranks; all occur equally often, up to a remainder that is symmetric about k/2.
    """
    table = np.array(misses, dtype=float)  # (questions, ranks)
    ranks = list(_balanced(len(table), table.shape[1] - 1, rng))
    rng.shuffle(ranks)
    cost = table[:, ranks]
    noise = np.array([[rng.random() for _ in ranks] for _ in table])
    rows, columns = linear_sum_assignment(cost + noise / (10 * len(ranks)))
    assigned = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    return [ranks[assigned[index]] for index in range(len(table))]


def _balanced(n: int, top: int, rng: random.Random) -> Iterator[int]:
    """`n` ranks between 0 and `top`, with a mean of top / 2 or close to it."""
    whole, rest = divmod(n, top + 1)
    for rank in range(top + 1):
        yield from [rank] * whole
    pairs = list(range((top + 1) // 2))
    rng.shuffle(pairs)
    for rank in pairs[: rest // 2]:
        yield from (rank, top - rank)
    if rest % 2:
        middle = [top // 2] if top % 2 == 0 else [top // 2, top // 2 + 1]
        yield rng.choice(middle)
