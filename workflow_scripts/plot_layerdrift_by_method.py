"""Plot how far hidden states move, layer by layer, method beside method.

Rows of `repr_layers.json` in, a PNG out.
"""

from excise.errors import run
from excise.plots.drift import layerdrift_by_method
from excise.plots.style import plot_program


def main(argv: list[str] | None = None) -> None:
    """Draw `--rows` into `--out`."""
    plot_program(layerdrift_by_method, __doc__, argv)


if __name__ == "__main__":
    run(main)
