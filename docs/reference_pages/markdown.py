"""Markdown that GitHub and the documentation site show alike."""

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

SPECIAL = re.compile(r"([\\*<>\[\]|])")
CODE = re.compile(r"(`[^`]+`)")
SOURCE = re.compile(r"\s*Source: (?P<source>[^\n].*?)\.?\s*$", re.DOTALL)


def heading(made_by: str, title: str) -> list[str]:
    """First lines of a page: where it comes from, and its title.

    Args:
        made_by: what the page is made from, for whoever wants to edit it.
        title: of the page.
    """
    return [f"<!-- Made by `make reference` from {made_by}. Do not edit. -->", "", f"# {title}", ""]


def code(value: Any) -> str:
    """Text in the font of code, also inside of a table."""
    return "`{}`".format(str(value).replace("|", "\\|"))


def plain(text: str) -> str:
    """One line of text without markup, except for `code`."""
    parts = CODE.split(" ".join(str(text).split()))
    return "".join(
        part.replace("|", "\\|") if CODE.fullmatch(part) else SPECIAL.sub(r"\\\1", part)
        for part in parts
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; its cells are Markdown already. An empty line follows."""
    lines = [head, ["---"] * len(head), *rows]
    return [*("| {} |".format(" | ".join(cells)) for cells in lines), ""]


def paragraphs(docstring: str | None) -> list[str]:
    """A docstring as lines of Markdown: one for each paragraph; a table stays as it is."""
    lines = []
    for part in re.split(r"\n\s*\n", inspect.cleandoc(docstring or "")):
        lines += part.splitlines() if "\n|---" in part else [plain(part)]
        lines.append("")
    return lines


def without_source(docstring: str | None) -> str:
    """A docstring without its last sentence, "Source: …"."""
    return SOURCE.sub("", inspect.cleandoc(docstring or ""))


def source_of(docstring: str | None) -> str:
    """What stands behind "Source:" at the end of a docstring; empty without it."""
    match = SOURCE.search(inspect.cleandoc(docstring or ""))
    return " ".join(match["source"].split()) if match else ""
