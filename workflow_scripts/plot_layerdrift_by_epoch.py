"""Plot how far hidden states move, layer by layer, as unlearning goes on.

Rows of `repr_layers.json` in, a PNG out.
"""

from excise.drift_plots import layerdrift_by_epoch
from excise.errors import run
from excise.plot_style import plot_program


def main(argv: list[str] | None = None) -> None:
    """Draw `--rows` into `--out`."""
    plot_program(layerdrift_by_epoch, __doc__, argv)


if __name__ == "__main__":
    run(main)
