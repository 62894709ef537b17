"""Chromium for tests: pages of files, with the network off."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

TIMEOUT_MS = 60_000
"""How long a step may take, on a busy machine."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)


@dataclass
class Visit:
    """An open page, and what happened on it.

    Attributes:
        page: Playwright's page.
        errors: messages of errors in the console, and exceptions that nothing caught.
        requests: addresses that were asked for, but for files and data within the page.
    """

    page: object
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def heed_console(self, message) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def heed_request(self, request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.requests.append(request.url)


@dataclass(frozen=True)
class Chromium:
    """A running Chromium."""

    browser: object

    @contextmanager
    def visit(self, file: Path, fragment: str = "", **options: object) -> Iterator[Visit]:
        """Open a file; `options` are those of Playwright's `new_context`."""
        options = {"viewport": {"width": 1280, "height": 900}} | options
        context = self.browser.new_context(offline=True, **options)
        context.set_default_timeout(TIMEOUT_MS)
        try:
            visit = Visit(context.new_page())
            visit.page.on("console", visit.heed_console)
            visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
            visit.page.on("request", visit.heed_request)
            visit.page.goto(file.resolve().as_uri() + fragment)
            yield visit
        finally:
            context.close()


@contextmanager
def running() -> Iterator[Chromium]:
    """Start the Chromium of this machine; a test is skipped where there is none."""
    if PROGRAM is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
    with playwright.sync_playwright() as started:
        arguments = ["--no-sandbox", "--disable-gpu"]  # root in a container has no sandbox
        browser = started.chromium.launch(executable_path=PROGRAM, args=arguments)
        yield Chromium(browser)
        browser.close()
