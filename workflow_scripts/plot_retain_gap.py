"""Plot correlated against other retain facts along unlearning.

Rows of `retain_compare_results.json` in, a PNG out.
"""

from excise.errors import run
from excise.plot_style import plot_program
from excise.plots import retain_gap


def main(argv: list[str] | None = None) -> None:
    """Draw `--rows` into `--out`."""
    plot_program(retain_gap, __doc__, argv)


if __name__ == "__main__":
    run(main)
