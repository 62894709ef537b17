"""Compare texts by their word n-grams."""

import numpy as np
from scipy.sparse import csr_array

from excise.text.matching import words

SIZE = 5  # words in an n-gram


def ngrams(text: str, size: int = SIZE) -> set[tuple[str, ...]]:
    """The word n-grams of a text; a shorter text is one n-gram."""
    all_words = words(text)
    if len(all_words) < size:
        return {all_words}
    return {all_words[start : start + size] for start in range(len(all_words) - size + 1)}


def best_jaccard(texts: list[str], others: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """For each text, the largest n-gram Jaccard index with any other text, and its position.

    Returns:
        (T,) indices 0–1 and (T,) positions in `others`.
    """
    ids: dict[tuple[str, ...], int] = {}
    grams = [[ids.setdefault(gram, len(ids)) for gram in sorted(ngrams(text))] for text in texts]
    other_grams = [
        [ids.setdefault(gram, len(ids)) for gram in sorted(ngrams(text))] for text in others
    ]
    first, second = _incidence(grams, len(ids)), _incidence(other_grams, len(ids))
    sizes = np.array([len(ids) for ids in grams]), np.array([len(ids) for ids in other_grams])
    best, nearest = np.zeros(len(texts)), np.zeros(len(texts), dtype=int)
    common = (first @ second.T).tocsr()  # (T, O): shared n-grams, sparse
    for row in range(len(texts)):
        span = slice(common.indptr[row], common.indptr[row + 1])
        columns, counts = common.indices[span], common.data[span]
        if len(columns):
            index = counts / (sizes[0][row] + sizes[1][columns] - counts)
            best[row], nearest[row] = index.max(), columns[index.argmax()]
    return best, nearest


def _incidence(grams: list[list[int]], width: int) -> csr_array:
    columns = np.array([gram for text_grams in grams for gram in text_grams], dtype=np.int64)
    starts = np.cumsum([0, *(len(text_grams) for text_grams in grams)])
    ones = np.ones(len(columns), dtype=np.float32)
    return csr_array((ones, columns, starts), shape=(len(grams), width))
