"""Code blocks of a page in docs/, for tests that follow it to the letter."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str) -> list[str]:
    """Texts of the page's code blocks of a language, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def files(page: str) -> dict[str, str]:
    """Path → text of the blocks that follow "Save this as `path`"."""
    text = (ROOT / page).read_text(encoding="utf-8")
    pattern = r"Save this as `([^`]+)`.*?^```\w+\n(.*?)^```$"
    return dict(re.findall(pattern, text, flags=re.MULTILINE | re.DOTALL))
