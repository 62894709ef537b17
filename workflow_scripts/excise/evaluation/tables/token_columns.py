"""Scores of tokens as columns of the records, for the metrics that read them."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc

from excise.benchmark.completeness import check_ids
from excise.benchmark.items import GENERATED_SETS
from excise.evaluation.metrics.registry import METRICS
from excise.evaluation.tokens import read_tokens

TOKEN_COLUMNS = sorted({one for metric in METRICS.values() for one in metric.needs if "." in one})
"""Columns of `tokens.parquet` that some metric needs."""


def with_tokens(
    items: pd.DataFrame, path: Path, columns: Iterable[str] = TOKEN_COLUMNS
) -> pd.DataFrame:
    """Records with columns of `tokens.parquet`.

    Args:
        items: records of one model, indexed by id.
        path: the file.
        columns: such as `answer.rank`: answer and column of `excise.evaluation.tokens`. A cell of
            `answer` and `paraphrase` is an array, of `wrong` a list of arrays. Questions of
            `GENERATED_SETS` have NaN.

    Raises:
        InputError: the file is missing or broken, or lacks a scored question.
    """
    tokens = read_tokens(path)
    if items.empty:  # of a model that does not run in a precision
        return items
    added = {}
    for column in columns:
        answer, name = column.split(".")
        own = tokens.filter(pc.field("answer") == answer).select(["id", name]).to_pandas()
        if answer == "answer":
            scored = items.index[~items["set"].isin(GENERATED_SETS)]
            check_ids(path, own["id"], scored, "items.jsonl")
        cells = own.set_index("id")[name]
        added[column] = cells.groupby(level=0).agg(list) if answer == "wrong" else cells
    return items.join(pd.DataFrame(added, index=items.index))
