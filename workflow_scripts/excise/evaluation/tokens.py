"""Scores of single tokens on disk: `tokens.parquet` beside `items.jsonl`.

`pandas.read_parquet(path)` gives one row per scored answer:

| column | meaning |
|---|---|
| `id` | the question |
| `answer` | `answer` (the true one), `paraphrase` or `wrong` |
| `number` | which of the wrong answers, from 0; 0 for the other two |
| `logprob`, `rank`, `mean`, `variance` | arrays, one number per token, the end-of-turn token last |

`excise.modeling.tree_scoring.TokenScores` defines the arrays. The same records give the same bytes.
"""

import io
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from excise.errors import InputError
from excise.files import atomic_path

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("answer", pa.string()),
        ("number", pa.int16()),
        ("logprob", pa.list_(pa.float32())),
        ("rank", pa.list_(pa.int32())),
        ("mean", pa.list_(pa.float32())),
        ("variance", pa.list_(pa.float32())),
    ]
)
FLOATS = ("logprob", "mean", "variance")


def write_tokens(path: str | Path, records: Iterable[dict]) -> None:
    """Write records of scored answers with the columns of this module, atomically.

    In a column, the first bytes of all numbers stand together, then the second bytes, and so on.

    This packs them best.
    """
    table = pa.Table.from_pylist(list(records), schema=SCHEMA)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        pq.write_table(
            table,
            file,
            compression="zstd",
            use_dictionary=["id", "answer", "rank.list.element"],
            column_encoding={f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in FLOATS},
        )


def read_tokens(path: str | Path) -> pa.Table:
    """Read a file that `write_tokens` wrote.

    Raises:
        InputError: the file is missing, is not Parquet, or lacks a column.
    """
    try:
        table = pq.read_table(io.BytesIO(Path(path).read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror or error})") from error
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: not a Parquet file ({error})") from error
    if missing := set(SCHEMA.names) - set(table.column_names):
        raise InputError(f"{path}: no column {sorted(missing)[0]!r}; is it another file?")
    return table
