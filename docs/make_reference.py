"""Write the reference pages from the code: config keys, metrics, methods, columns, programs.

`make reference` runs it. A test makes the pages again and compares them with the files.
"""

import argparse
from pathlib import Path

from reference_pages import PAGES

ROOT = Path(__file__).parents[1]


def main(argv: list[str] | None = None) -> None:
    """Program entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PAGES, nargs="+", default=list(PAGES), help="these pages")
    for name in parser.parse_args(argv).only:
        path = ROOT / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(PAGES[name](), encoding="utf-8")
        print(name)


if __name__ == "__main__":
    main()
