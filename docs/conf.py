"""Sphinx configuration: `make docs` builds site/ from docs/, README.md and CHANGELOG.md.

Sphinx reads the same Markdown as GitHub (MyST), checks every link and anchor, and its pages need
no network. Diagrams in Mermaid become SVG when the site is built.
"""

import tomllib
from pathlib import Path

import mmdr
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[1]

project = "Excise"
author = "The Excise authors"
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
extensions = ["myst_parser"]
exclude_patterns = ["reference_pages"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
nitpicky = True
smartquotes = False  # they would make one dash of two, also in options of programs
highlight_language = "text"
html_theme = "furo"
html_title = f"Excise {release}"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_static_path = ["style"]
html_css_files = ["tables.css"]


class Mermaid(SphinxDirective):
    """A diagram in Mermaid, drawn as SVG."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The picture as HTML; a text that is no diagram fails the build."""
        try:
            picture = mmdr.render("\n".join(self.content)).svg()
        except ValueError as error:
            raise self.error(f"not a diagram in Mermaid ({error})") from error
        html = f'<div style="background: white; overflow-x: auto">{picture}</div>'
        return [nodes.raw("", html, format="html")]


def link_to_the_first_page(_app: Sphinx, _page: str, source: list[str]) -> None:
    """README.md is the first page of the site."""
    source[0] = source[0].replace("](../../README.md", "](../index.md").replace(
        "](../README.md", "](index.md"
    )


def setup(app: Sphinx) -> None:
    """Register what is ours."""
    app.add_directive("mermaid", Mermaid)
    app.connect("source-read", link_to_the_first_page)
