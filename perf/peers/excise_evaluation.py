"""Excise's `evaluate.py`, without the pass of the base model over the generations.

That pass gives the metric `base_nll`. The other ways have no such metric, so it is not equal work.
`compare_peers.py` runs this program; the arguments are those of `evaluate.py`.
"""

import evaluate
from excise.errors import run


def no_scores(base, tokenizer, records: list[dict], *_) -> list[dict]:
    """In place of `base_scores`: nothing for each record."""
    return [{} for _ in records]


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    evaluate.base_scores = no_scores
    evaluate.main(argv)


if __name__ == "__main__":
    run(main)
