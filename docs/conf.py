"""Sphinx configuration: `make docs` builds site/ from docs/, README.md and CHANGELOG.md.

Sphinx reads the same Markdown as GitHub (MyST), checks every link and anchor, and its pages need
no network. Diagrams in Mermaid become SVG when the site is built.
"""

import posixpath
import re
import tomllib
from pathlib import Path

import mmdr
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "config/README.md": "reference/config-keys.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files outside of docs/ → the pages that show them."""

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


def as_page(_app: Sphinx, page: str, source: list[str]) -> None:
    """README.md becomes the first page; links to files that are pages lead to the pages."""
    file = {"index": "README.md"}.get(page, f"docs/{page}.md")
    if page == "index":
        source[0] = (ROOT / file).read_text(encoding="utf-8") + "\n" + source[0]

    def link(match: re.Match) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(file), match["target"]))
        target = f"docs/{PAGES[target]}" if target in PAGES else target
        return f"]({posixpath.relpath(target, posixpath.dirname(f'docs/{page}'))}"

    source[0] = re.sub(r"\]\((?P<target>[^)#:\s]+)(?=[)#])", link, source[0])


def setup(app: Sphinx) -> None:
    """Register what is ours."""
    app.add_directive("mermaid", Mermaid)
    app.connect("source-read", as_page)
