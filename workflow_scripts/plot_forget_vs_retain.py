"""Plot forgetting against retention, every checkpoint.

Rows of `sweep_results.json` in, a PNG out.
"""

from excise.errors import run
from excise.plots.forgetting import forget_vs_retain
from excise.plots.style import plot_program


def main(argv: list[str] | None = None) -> None:
    """Draw `--rows` into `--out`."""
    plot_program(forget_vs_retain, __doc__, argv)


if __name__ == "__main__":
    run(main)
