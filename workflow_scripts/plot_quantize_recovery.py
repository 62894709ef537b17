"""Plot what quantization brings back of what was forgotten.

Rows of `quantize_results.json` in, a PNG out.
"""

from excise.errors import run
from excise.plots.forgetting import quantize_recovery
from excise.plots.style import plot_program


def main(argv: list[str] | None = None) -> None:
    """Draw `--rows` into `--out`."""
    plot_program(quantize_recovery, __doc__, argv)


if __name__ == "__main__":
    run(main)
