"""Plot forgetting against retention, every checkpoint.

Rows of `sweep_results.json` in, a PNG out.
"""

from excise.errors import run
from excise.plot_style import plot_program
from excise.plots import forget_vs_retain


def main(argv: list[str] | None = None) -> None:
    """Draw `--rows` into `--out`."""
    plot_program(forget_vs_retain, __doc__, argv)


if __name__ == "__main__":
    run(main)
