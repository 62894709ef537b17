"""Read waiting times and rate limits from the headers of a response."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that the server requests to wait; None if the header is missing or unreadable.

    Reads `retry-after-ms`, and `retry-after` in seconds or as an HTTP date (a past one: 0).
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def duration(text: str | None) -> float | None:
    """Seconds in a duration such as `1s`, `6m0s`, `1m30.5s` or `20ms`; a bare number is seconds."""
    number = _number(text)
    if number is not None or not text:
        return number
    pieces = _PIECE.findall(text)
    if not pieces or "".join(amount + unit for amount, unit in pieces) != text.strip():
        return None
    return sum(float(amount) * _SECONDS[unit] for amount, unit in pieces)


@dataclass(frozen=True)
class RateLimits:
    """`x-ratelimit-*` of one response; None where a header is absent or not a number."""

    limit_requests: float | None
    limit_tokens: float | None
    remaining_requests: float | None
    remaining_tokens: float | None
    reset_requests: float | None  # seconds
    reset_tokens: float | None  # seconds


def rate_limits(headers: Mapping[str, str]) -> RateLimits:
    """The limits that a response announces, usually per minute."""
    return RateLimits(
        limit_requests=_number(headers.get("x-ratelimit-limit-requests")),
        limit_tokens=_number(headers.get("x-ratelimit-limit-tokens")),
        remaining_requests=_number(headers.get("x-ratelimit-remaining-requests")),
        remaining_tokens=_number(headers.get("x-ratelimit-remaining-tokens")),
        reset_requests=duration(headers.get("x-ratelimit-reset-requests")),
        reset_tokens=duration(headers.get("x-ratelimit-reset-tokens")),
    )
