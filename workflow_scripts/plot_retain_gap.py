"""Plot correlated against other retain facts along unlearning.

Rows of `retain_compare_results.json` in, a PNG out.
"""

from excise.errors import run
from excise.plots.forgetting import retain_gap
from excise.plots.style import plot_program


def main(argv: list[str] | None = None) -> None:
    """Draw `--rows` into `--out`."""
    plot_program(retain_gap, __doc__, argv)


if __name__ == "__main__":
    run(main)
