"""How the page holds rows and texts: short, and safe inside of HTML.

Rows become columns. A column with few distinct values is a list of these and an index per row.
JavaScript turns them back into rows (`page/store.js`).
"""

import base64
import gzip
import json
import math
import re
from collections.abc import Sequence
from typing import Any

_SURROGATES = re.compile("[\ud800-\udfff]")  # UTF-8 cannot hold them
DIGITS = 6
"""Significant digits of numbers in the page; the result files have all."""
_ESCAPES = {
    code: f"\\u{code:04x}" for code in (*map(ord, "<>&"), 0x2028, 0x2029)
}  # no tag, no entity and no end of line can come from data


def encode_rows(rows: Sequence[dict]) -> dict:
    """Rows as columns: `{"n": 2, "columns": {"set": {"of": ["sf"], "at": [0, 0]}}}`.

    A column has `of` (distinct values) and `at` (an index per row), or `is` (a value per row) where
    this is shorter. A key that a row lacks is null.
    """
    names = dict.fromkeys(key for row in rows for key in row)
    return {
        "n": len(rows),
        "columns": {name: _column([_short(row.get(name)) for row in rows]) for name in names},
    }


def _column(values: list) -> dict:
    found: dict[tuple, int] = {}
    distinct, places = [], []
    for value in values:
        hashable = None if isinstance(value, list | dict) else value
        key = (type(value), json.dumps(value) if hashable is None else hashable)
        if key not in found:
            found[key] = len(distinct)
            distinct.append(value)
        places.append(found[key])
    numbers = all(value is None or isinstance(value, int | float) for value in values)
    if len(distinct) > (len(values) // 8 if numbers else len(values) // 2):
        return {"is": values}
    return {"of": distinct, "at": places}


def _short(value: Any) -> Any:
    """A cell with `DIGITS` significant digits; NaN and infinities are null."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        value = float(f"{value:.{DIGITS}g}")
        return int(value) if value.is_integer() and abs(value) < 1e15 else value
    return value


def safe_json(content: Any) -> str:
    """JSON that may stand in a `<script>`: nothing in it can end the element or start another."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _SURROGATES.sub("\ufffd", text).translate(_ESCAPES)


def packed(content: Any) -> str:
    """JSON, compressed by gzip, in base64; the same content gives the same text."""
    text = safe_json(content).encode("utf-8")
    return base64.b64encode(gzip.compress(text, 9, mtime=0)).decode("ascii")
