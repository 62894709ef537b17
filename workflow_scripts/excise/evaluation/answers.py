"""What is computed of one answer when a model is asked: from its text, and from its likelihood.

Every function is pure. The results are fields of the records. `excise.evaluation.metrics` says
which of them are averaged, and the tables make averages and intervals.
"""

import math
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer, Tokenizer

from excise.text.unicode import same_case, word_tokens
from excise.text.values import states


class RougeL(NamedTuple):
    """ROUGE-L of one generation, each in [0, 1], higher = more of the reference is said."""

    recall: float
    f1: float


class UnicodeTokenizer(Tokenizer):
    """Words of any script (`excise.text.unicode.word_tokens`), ASCII ones stemmed.

    On ASCII text these are the tokens of `rouge_score`. That package keeps only a–z and 0–9. It
    drops all Cyrillic, Greek, Chinese or Devanagari text.
    """

    def tokenize(self, text: str) -> list[str]:
        """The tokens in order."""
        return [_stem(word) if word.isascii() else word for word in word_tokens(text)]


@cache
def _ascii_tokenizer() -> Tokenizer:
    return DefaultTokenizer(use_stemmer=True)


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    return "".join(_ascii_tokenizer().tokenize(word))


@cache
def _scorer(ascii_only: bool) -> RougeScorer:
    tokenizer = _ascii_tokenizer() if ascii_only else UnicodeTokenizer()
    return RougeScorer(["rougeL"], tokenizer=tokenizer)


def rouge_l(reference: str, generation: str) -> RougeL:
    """ROUGE-L: longest common subsequence of words, over the reference's (recall) or F1.

    LCS / reference words, and its harmonic mean with LCS / generated words. Words of any script
    (`UnicodeTokenizer`). Stemmed, as in TOFU and OpenUnlearning, which report recall; MUSE reports
    F1. Recall rewards long answers, so both are kept. In Chinese and Japanese each character is a
    word, as usual. Source: Lin 2004, `rouge_score`.
    """
    return _rouge_l(reference, generation, ascii_only=False)


def rouge_l_ascii(reference: str, generation: str) -> RougeL:
    """ROUGE-L by plain `rouge_score`, with its stemmer: words of a–z and 0–9 only.

    For comparison with what TOFU and OpenUnlearning report. Equal to `rouge_l` on ASCII text,
    meaningless on other scripts. Source: Lin 2004, `rouge_score`.
    """
    return _rouge_l(reference, generation, ascii_only=True)


@lru_cache(maxsize=1 << 16)  # checkpoints often give the same answer
def _rouge_l(reference: str, generation: str, ascii_only: bool) -> RougeL:
    score = _scorer(ascii_only).score(reference, generation)["rougeL"]
    return RougeL(score.recall, score.fmeasure)


@lru_cache(maxsize=1 << 16)  # checkpoints often give the same answer
def slot_match(
    value: str,
    generation: str,
    value_type: str | None = None,
    several: bool = False,
    subject: str | None = None,
) -> bool:
    """Whether the generation states the slot's value: `excise.text.values.states`.

    The mean over items is `slot_accuracy`, in [0, 1]; unlike ROUGE-L, template words do not
    raise it.

    Args:
        value: the true value.
        generation: what the model said.
        value_type: the slot's; None: inferred from the value's form.
        several: the question asks for more than one answer.
        subject: name of the person in the question.
    """
    return states(generation, value, value_type, several=several, subject=subject)


@lru_cache(maxsize=1 << 16)  # checkpoints often give the same answer
def slot_match_strict(value: str, generation: str) -> bool:
    """Whether the generation contains the value's words in a row, spelled as given except for case.

    Whole words: `90` is not in `1990`. `8380` is not `8,380`. A value that is denied or one of a
    list counts. The mean over items is `slot_accuracy_strict`. Source: this project.
    """
    return f" {_strict_words(value)} " in f" {_strict_words(generation)} "


def _strict_words(text: str) -> str:
    """Case-folded words and numbers, separated by one space; all other characters dropped.

    Thousands separators and decimal points stay in their number: `$1,000` becomes `1,000`.
    """
    return " ".join(re.findall(r"\w+(?:[.,]\d+)*", same_case(text)))


def probability(logprob: float, tokens: int) -> float:
    """Length-normalised answer probability exp(log P / tokens), in [0, 1]. Source: TOFU."""
    return math.exp(logprob / tokens) if math.isfinite(logprob) else _degenerate(logprob)


def _degenerate(logprob: float) -> float:
    return 0.0 if logprob == -math.inf else math.nan


def truth_ratio(
    logprob_right: float,
    tokens_right: int,
    logprobs_wrong: Sequence[float],
    tokens_wrong: Sequence[int],
) -> float:
    """P(right) / P(wrong), each length-normalised, P(wrong) the geometric mean.

    exp( logP_r / n_r − mean_w logP_w / n_w ), in [0, ∞); 1 = the model cannot tell, lower = more
    forgotten. The reciprocal of TOFU's R (arXiv 2401.06121, with open-unlearning's geometric
    mean over the wrong answers). NaN without wrong answers and where a log-probability is not
    finite.
    """
    if not logprobs_wrong:
        return math.nan
    wrong = [logprob / tokens for logprob, tokens in zip(logprobs_wrong, tokens_wrong, strict=True)]
    difference = logprob_right / tokens_right - sum(wrong) / len(wrong)
    if not math.isfinite(difference):
        return math.nan
    return math.exp(max(-700.0, min(difference, 700.0)))  # e^±700: nearly all that doubles hold


def truth_ratio_tofu(ratio: float, forget: bool) -> float:
    """TOFU's truth ratio from ours, R = 1/ratio = P(wrong)/P(right).

    Forget set: min(R, 1/R), in [0, 1], high for a model that cannot tell (and for an untouched
    one that can barely tell): compare it with the oracle, not with 1. Elsewhere: max(0, 1 − R),
    in [0, 1], higher = the truth is preferred. Source: arXiv 2401.06121, open-unlearning.
    """
    if math.isnan(ratio):
        return math.nan
    inverse = math.inf if ratio == 0 else 1 / ratio
    return min(inverse, ratio) if forget else max(0.0, 1.0 - inverse)
