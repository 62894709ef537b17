"""Early version: the interface only."""

from collections.abc import Callable
from pathlib import Path

from excise.llm.requests import Outcome, Request

Check = Callable[[Request, dict], list[str]]


class Session:
    """Asks an OpenAI-compatible endpoint; early version."""

    def __init__(self, settings: dict, journal: str | Path, progress: bool = True):
        self.settings, self.journal = settings, Path(journal)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exc: object) -> None: ...

    def complete(self, requests: list[Request], check: Check) -> list[Outcome]:
        """Outcomes in the order of the requests."""
        raise NotImplementedError

    def usage(self) -> dict:
        """Totals of the journal."""
        raise NotImplementedError
