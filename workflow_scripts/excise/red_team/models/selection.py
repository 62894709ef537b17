"""Which of the candidates become the wrong answers of a question: none may give the truth away.

A model that never saw a fact should find the truth as likely as the wrong answers. TOFU's are
of the truth's length and yet a model that never saw its forget set prefers the truth (median
truth ratio 0.81 in TOFU's direction, truth ahead of 66 % of the wrong answers): how likely a
text is has many causes. So it is measured, with models that never saw the fact, and the wrong
answers are drawn until it holds.

For every question a *target rank* is drawn: how many of its k wrong answers the truth is to
beat. Within a slot every rank 0 … k occurs equally often. Of the sets of k candidates, one is
drawn that meets the target under every selecting model, and whose truth ratio lies on the same
side of 1; where the pool has none, one that misses by least. The ranks are dealt to questions
so that the total miss of the slot is least.

Where the outcome still misses what it is held to, further wrong answers are drawn for the
questions that missed, and the choice is made anew, round after round (`select_wrong_answers`).
Not every slot can have more: there are twelve months.

What this guarantees, for the *selecting* models and up to the misses that are reported: a win
rate of one half, a median truth ratio around 1, and a truth whose place among its options is
uniform. (Were it always the middle, "take the middle one" would be an attack, and the spread of
truth ratios would be too small: a model that knows nothing about a drawn fact beats a random
number of drawn alternatives, not always half of them.)

What it does not guarantee: anything about another model. The choice fits the noise of the
selecting models as well as what they share, so another model returns towards its own
preference. That is why the last oracle seed takes no part in it where there are two or more,
and the report shows both. A selecting oracle, moreover, is a yardstick that was used to build
the ruler: that its truth ratio is 1 says nothing new about it.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from scipy.optimize import linear_sum_assignment

MAX_SETS = 4000  # sets of candidates looked at for one question


def selecting(models: Sequence[str], group: str) -> list[str]:
    """The models whose scores choose the wrong answers of a group of facts.

    Forget facts: base and all oracles but the last of two or more, which is held out as a
    check. Retain facts: base alone, since the oracles learned them.
    """
    oracles = [model for model in models if model.startswith("oracle/")]
    kept_out = oracles if group != "sf" else oracles[-1:] if len(oracles) > 1 else []
    return [model for model in models if model not in kept_out]


@dataclass(frozen=True)
class Choice:
    """The wrong answers of one question.

    Attributes:
        chosen: positions among its candidates, ascending.
        target_rank: how many of them the truth was to beat.
        miss: by how much the best set of candidates misses that; 0: it meets it.
    """

    chosen: list[int]
    target_rank: int
    miss: float


def choose(
    slots: Sequence[str], margins: Sequence[np.ndarray], count: int, seed: int | str
) -> list[Choice]:
    """Choose wrong answers for questions, slot by slot.

    Args:
        slots: what each question asks for.
        margins: per question (M, J): log-probability per token of the truth minus that of each
            of J candidates, under each of M models. A model with a non-finite number
            is ignored for that question.
        count: wrong answers per question; fewer for a slot in which some question has fewer
            candidates. A question without candidates gets none and does not affect the others.
        seed: of all draws.

    Returns:
        a choice per question.
    """
    chosen: list = [None] * len(slots)
    for slot in sorted(set(slots)):
        rng = random.Random(f"wrong-answers-{seed}-{slot}")
        members = [index for index, own in enumerate(slots) if own == slot]
        for index in members:
            chosen[index] = Choice([], 0, 0.0)
        members = [index for index in members if np.shape(margins[index])[1]]
        if not members:
            continue
        most = min(count, *(np.shape(margins[index])[1] for index in members))
        pools = [Pool(margins[index], most, rng) for index in members]
        ranks = deal_ranks([pool.misses for pool in pools], rng)
        for index, pool, rank in zip(members, pools, ranks, strict=True):
            chosen[index] = Choice(pool.draw(rank, rng), rank, float(pool.misses[rank]))
    return chosen


def excess(margins: Sequence[np.ndarray], choices: Sequence[Choice], tolerance: float) -> float:
    """How far a choice is from what it is held to, added over models; 0 where it holds.

    Held to: a median truth ratio within 1 and a win rate within 0.5 ± the tolerance, under each of
    the models that chose. (What all models are held to in the end: `red_team.models`.)

    Args:
        margins: per question (M, J), as of `choose`.
        choices: one per question.
        tolerance: the largest distance that counts as none.
    """
    pairs = zip(margins, choices, strict=True)
    picked = [own[:, made.chosen] for own, made in pairs if made.chosen]
    if not picked:
        return 0.0
    logs = np.array([own.mean(axis=1) for own in picked])  # (questions, M)
    wins = np.array([(np.sign(own) / 2 + 0.5).mean(axis=1) for own in picked])
    finite = np.isfinite(logs)
    total = 0.0
    for model in range(logs.shape[1]):
        known = finite[:, model]
        if known.any():
            with np.errstate(over="ignore"):  # a ratio beyond all bounds is as wrong as it can be
                median = float(np.median(np.exp(logs[known, model])))
            total += max(0.0, abs(median - 1) - tolerance)
            win_rate = float(wins[known, model].mean())
            total += max(0.0, abs(win_rate - 0.5) - tolerance)
    return total


class Pool:
    """The candidates of one question, and how far its sets of `count` miss each rank.

    Attributes:
        misses: (count + 1,): for each rank the least miss of any set.
    """

    def __init__(self, margins: np.ndarray, count: int, rng: random.Random):
        margins = np.asarray(margins, dtype=float)
        margins = margins[np.isfinite(margins).all(axis=1)]
        self.sets = candidate_sets(margins.shape[1], count, rng.getrandbits(32))
        picked = margins[:, self.sets]  # (M, sets, count)
        wins = (np.sign(picked) / 2 + 0.5).sum(axis=2)  # (M, sets)
        sides = np.sign(picked.mean(axis=2))
        ranks = np.arange(count + 1)
        wanted = np.sign(2 * ranks - count)  # side of the truth ratio; 0: either
        off_rank = np.abs(wins[:, :, None] - ranks)
        off_side = (sides[:, :, None] != wanted) & (wanted != 0)
        self._miss = (off_rank + off_side).sum(axis=0)  # (sets, ranks)
        self.misses = self._miss.min(axis=0)

    def draw(self, rank: int, rng: random.Random) -> list[int]:
        """One of the sets that miss `rank` by least."""
        best = np.flatnonzero(self._miss[:, rank] == self.misses[rank])
        return self.sets[best[rng.randrange(len(best))]].tolist()


@lru_cache(maxsize=8)
def _all_sets(n: int, count: int) -> np.ndarray:
    return np.array(list(combinations(range(n), count)), dtype=np.int64)


def candidate_sets(n: int, count: int, seed: int) -> np.ndarray:
    """Sets of `count` out of `n`, ascending: all of them, or `MAX_SETS` random ones: (S, count)."""
    if comb(n, count) <= MAX_SETS:
        return _all_sets(n, count)
    generator = np.random.default_rng(seed)
    drawn = generator.permuted(np.tile(np.arange(n), (MAX_SETS, 1)), axis=1)[:, :count]
    return np.unique(np.sort(drawn, axis=1), axis=0)


def deal_ranks(misses: Sequence[np.ndarray], rng: random.Random) -> list[int]:
    """A target rank for each question of a slot: balanced, and of least total miss.

    Args:
        misses: per question (k + 1,), what each rank would cost.
        rng: breaks ties and draws the ranks that do not come out even.

    Returns:
        ranks: each occurs as often as any other, up to a remainder that is symmetric about k/2.
    """
    table = np.array(misses, dtype=float)  # (questions, ranks)
    ranks = list(_balanced(len(table), table.shape[1] - 1, rng))
    rng.shuffle(ranks)
    cost = table[:, ranks]
    noise = np.array([[rng.random() for _ in ranks] for _ in table])
    rows, columns = linear_sum_assignment(cost + noise / (10 * len(ranks)))
    dealt = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    return [ranks[dealt[index]] for index in range(len(table))]


def _balanced(n: int, top: int, rng: random.Random) -> Iterator[int]:
    """`n` ranks between 0 and `top`, their mean top / 2 (or next to it)."""
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
