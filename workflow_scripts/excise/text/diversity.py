"""Metrics of the diversity of texts or values; each is a pure function.

Each docstring gives formula, range, direction and source. Metrics of texts depend on the number and
the length of the texts. So compare samples of the same size, as `generation/diversity_rows.py`
does.
"""

import gzip
import math
from collections import Counter
from collections.abc import Sequence
from itertools import chain, combinations

import numpy as np

Words = Sequence[str]


def compression_ratio(texts: Sequence[str]) -> float:
    """Bytes of all texts divided by their bytes after gzip.

    About 1 and up; lower = more varied. Source: Shaib et al. (2024), arXiv 2403.00553.
    """
    raw = "\n".join(texts).encode()
    return len(raw) / len(gzip.compress(raw, mtime=0))


def ngrams(text: Words, size: int) -> list[tuple[str, ...]]:
    """All runs of `size` words, in order."""
    return [tuple(text[start : start + size]) for start in range(len(text) - size + 1)]


def self_repetition(texts: Sequence[Words], size: int = 4) -> float:
    """Mean over texts of ln(1 + Σ over n-grams of the text of the number of other texts with it).

    0 and up, growing with the number of texts; lower = more varied. Source: Salkar et al.
    (2022), as used by Shaib et al. (2024).
    """
    gram_sets = [set(ngrams(text, size)) for text in texts]
    holders = Counter(chain.from_iterable(gram_sets))
    sums = [sum(holders[gram] - 1 for gram in grams) for grams in gram_sets]
    return float(np.mean([math.log1p(total) for total in sums]))


def distinct(texts: Sequence[Words], size: int, n: int) -> float | None:
    """Number of different n-grams divided by the number of all, for the first `n` n-grams.

    0–1; higher = more varied. It falls with the number of n-grams, so `n` is fixed; None if the
    texts have fewer. Source: Li et al. (2016).
    """
    grams = list(chain.from_iterable(ngrams(text, size) for text in texts))
    return len(set(grams[:n])) / n if n and len(grams) >= n else None


def self_bleu(texts: Sequence[Words], size: int = 4) -> float | None:
    """Mean BLEU-4 of each text with all other texts as references.

    BLEU = exp(min(0, 1 − r/c) + mean over n = 1 … 4 of ln p_n) with clipped precisions p_n, c the
    text's length and r the closest reference length; 0 if some p_n is 0 (no smoothing).
    0–1; lower = more varied. Source: Zhu et al. (2018), Texygen. The result equals
    nltk's `sentence_bleu` (a test compares them), in linear time: for clipping an n-gram, only the
    two texts that contain it most often matter.
    """
    if len(texts) < 2:
        return None
    counts = [[Counter(ngrams(text, n)) for text in texts] for n in range(1, size + 1)]
    most = [_two_largest(of_size) for of_size in counts]
    lengths = [len(text) for text in texts]
    scores = []
    for index, length in enumerate(lengths):
        logs = []
        for of_size, largest in zip(counts, most, strict=True):
            grams = of_size[index]
            clipped = sum(
                min(count, largest[gram][1] if largest[gram][2] == index else largest[gram][0])
                for gram, count in grams.items()
            )
            logs.append(math.log(clipped / grams.total()) if clipped else -math.inf)
        others = lengths[:index] + lengths[index + 1 :]
        closest = min(others, key=lambda other: (abs(other - length), other))
        penalty = min(0.0, 1 - closest / length) if length else -math.inf
        scores.append(math.exp(penalty + sum(logs) / size))
    return float(np.mean(scores))


def _two_largest(counts: list[Counter]) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """N-gram → its largest and second largest count in a text, and the index of the first text."""
    most: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for index, text_counts in enumerate(counts):
        for gram, count in text_counts.items():
            first, second, holder = most.get(gram, (0, 0, -1))
            if count > first:
                most[gram] = (count, first, index)
            elif count > second:
                most[gram] = (first, count, holder)
    return most


def normalised_entropy(values: Sequence[str]) -> float | None:
    """Shannon entropy of the values divided by its maximum, ln(number of values).

    0 (all equal) – 1 (all different); higher = more varied. None for fewer than two values.
    """
    if len(values) < 2:
        return None
    shares = np.array(list(Counter(values).values())) / len(values)
    return float(-(shares * np.log(shares)).sum() / math.log(len(values)))


def pair_coverage(people: Sequence[dict[str, str]]) -> float | None:
    """Mean over pairs of slots: number of different pairs of values, divided by its maximum.

    The maximum is min(people, values of one slot × values of the other). 0–1; higher = slots vary
    independently; low = one value determines another. This is the strength-2 coverage of
    combinatorial testing (Kuhn et al. 2013), relative to the occurring values.
    """
    shares = []
    for slot, other in combinations(sorted(set.intersection(*map(set, people))), 2):
        pairs = {(person[slot], person[other]) for person in people}
        possible = len({pair[0] for pair in pairs}) * len({pair[1] for pair in pairs})
        shares.append(len(pairs) / min(len(people), possible))
    return float(np.mean(shares)) if shares else None


def mean_cosine(embeddings: np.ndarray) -> float | None:
    """Mean cosine of all pairs of different rows of `embeddings` (n, d).

    −1–1; lower = more varied. Hidden states of language models have similar directions anyway
    (Ethayarajh 2019), so compare the result with the bound, not with 0.
    """
    n = len(embeddings)
    if n < 2:
        return None
    total = cosine_kernel(embeddings).sum()
    return float((total - n) / (n * (n - 1)))


def vendi_score(kernel: np.ndarray) -> float:
    """exp of the Shannon entropy of the eigenvalues of K/n: the effective number of texts.

    1 (all alike) – n (nothing in common); higher = more varied. `kernel`: (n, n), symmetric,
    positive semi-definite, ones on its diagonal. Source: Friedman and Dieng (2023).
    """
    shares = np.linalg.eigvalsh(kernel / len(kernel))
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def cosine_kernel(embeddings: np.ndarray) -> np.ndarray:
    """Cosines of all pairs of rows: (n, n)."""
    embeddings = np.asarray(embeddings, dtype=float)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit @ unit.T
