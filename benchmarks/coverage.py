"""How often intervals over people hold the truth, and how wide they are, by method.

Simulated studies: people × questions with a known truth, many of each kind. What the library
uses is measured through the library itself; other methods from the literature stand beside it.

    python benchmarks/coverage.py                       all kinds, a line per kind × people × truth
    python benchmarks/coverage.py proportion ratio      some kinds
    python benchmarks/coverage.py --summary             a line per kind × people × method
    python benchmarks/coverage.py --studies 4000        more studies (default 1,000)

Columns: the worst and the mean coverage over intra-person correlations and sizes, mean width and
share of intervals without a width. `*` marks what excise uses. An undefined interval counts as
one that misses; of ratios only those are counted whose denominator is large enough (see
`excise.statistics.recovery`).
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

PEOPLE = (8, 16, 32, 200)
CORRELATIONS = (0.0, 0.1, 0.4, 0.8)
SHAPES = ("one", "equal", "unequal")
TAIL = 0.025
RESAMPLES = 500
