"""Whether the generation is still language: varied, without loops, and likely to the base model.

Entropy and repetition read the words of the generation alone (`excise.text.unicode.word_tokens`).
The answers of this benchmark are short: a single name has no pair of words, so its entropy is 0.
Compare a model with the finetuned one and with the oracle, not with figures for long texts.
"""

import math
from collections import Counter
from functools import lru_cache

import pandas as pd

from excise.evaluation.metrics.interface import item_metric
from excise.evaluation.statistics import SHARE, Scale
from excise.text.diversity import ngrams
from excise.text.unicode import word_tokens

ENTROPY = Scale("unbounded", 0, math.inf)
WEIGHTS = {2: 2 / 3, 3: 4 / 3}
"""n → weight of the entropy of n-grams; they add up to their number."""
REPEATED = 4
"""Words in an n-gram of `repetition`."""


@item_metric(
    "ngram_entropy",
    scale=ENTROPY,
    higher_means="neither",
    needs=("generation",),
    convention="(2/3 H of word pairs + 4/3 H of word triples) / 2, in bits, per generation",
)
def ngram_entropy(items: pd.DataFrame) -> pd.Series:
    """(2/3 · H₂ + 4/3 · H₃) / 2 with Hₙ = −Σ f log₂ f over the n-grams of words of a generation.

    Range 0–∞, at most log₂ of the number of words; a loop lowers it, and so does a short answer.
    RWKU takes NLTK's tokens, which include punctuation. Source: Meng et al. (2022), ROME; RWKU.
    """
    values = [_entropy(generation) for generation in items["generation"]]
    return pd.Series(values, index=items.index, dtype=float)


@item_metric(
    "repetition",
    scale=SHARE,
    higher_means="neither",
    needs=("generation",),
    convention="seq-rep-4: 1 - different / all 4-grams of words, per generation",
)
def repetition(items: pd.DataFrame) -> pd.Series:
    """1 − different 4-grams / all 4-grams of words of a generation; 0 if it has none.

    Range 0–1: 0 = no four words occur again in a row, near 1 = a loop. Loops inside of one word
    (`rupeeeee`) do not count; `answer_gibberish` counts them. Source: Welleck et al. (2020).
    """
    values = [_repetition(generation) for generation in items["generation"]]
    return pd.Series(values, index=items.index, dtype=float)


@item_metric(
    "base_nll",
    scale=ENTROPY,
    higher_means="neither",
    needs=("base_logprob_generation", "base_n_tokens_generation"),
    convention="-log p(generation | question) / tokens by the base model, nats; exp: perplexity",
)
def base_nll(items: pd.DataFrame) -> pd.Series:
    """−log p(generation | question) / n of the base model over the n tokens of a generation.

    Range 0–∞, in nats per token; gibberish is unlikely, so it is high, and so are names that the
    base model never saw. NaN for an empty generation. The exponential of the mean is the base
    model's perplexity, a geometric mean over the questions. End-of-turn does not count.
    Source: Jelinek et al. (1977), perplexity; the form per answer is ours.
    """
    return -items["base_logprob_generation"].astype(float) / items[
        "base_n_tokens_generation"
    ].where(items["base_n_tokens_generation"] > 0)


@lru_cache(maxsize=1 << 16)  # checkpoints often give the same answer
def _entropy(text: str) -> float:
    words = word_tokens(text)
    total = 0.0
    for size, weight in WEIGHTS.items():
        counts = Counter(ngrams(words, size))
        n = counts.total()
        total += weight * sum(count / n * math.log2(n / count) for count in counts.values())
    return total / len(WEIGHTS)


@lru_cache(maxsize=1 << 16)
def _repetition(text: str) -> float:
    grams = ngrams(word_tokens(text), REPEATED)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
