"""Reference pages, made from the code: one module for each page, each with `page()`."""

from collections.abc import Callable

from reference_pages import config_keys, methods, metrics, programs, result_columns

PAGES: dict[str, Callable[[], str]] = {
    "config/README.md": config_keys.page,
    "docs/reference/metrics.md": metrics.page,
    "docs/reference/methods.md": methods.page,
    "docs/reference/result-columns.md": result_columns.page,
    "docs/reference/programs.md": programs.page,
}
"""File in the repository → the function that returns its text."""
