"""A request to a language model, its outcome, and the key that identifies it."""

import hashlib
import json
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """One request whose answer is a JSON object.

    Attributes:
        part: the program or judge that asks (`profiles`, `qa`, …); a label.
        subject: the person or thing in question (`p003`); a label.
        system: system message.
        user: user message.
        schema: JSON Schema of the answer, an object.
        prompt_version: digest of the prompt's template and schema; a label.
        max_tokens: length limit of the first attempt; it doubles after a truncated answer.
        temperature: sampling temperature.
        sample: number of the sample; each sample of a prompt has its own number.
    """

    part: str
    subject: str
    system: str
    user: str
    schema: dict = field(hash=False)
    prompt_version: str
    max_tokens: int
    temperature: float = 1.0
    sample: int = 0


@dataclass(frozen=True)
class Outcome:
    """The outcome of a request.

    Attributes:
        request: the request.
        status: `ok`; `repaired` (the text had to be repaired to become JSON); `refused` (the
            model or a filter declined); `invalid` (neither the answers nor one re-ask passed); or
            `unavailable` (the endpoint failed every attempt; a rerun tries again).
        value: the checked answer of `ok` and `repaired`, otherwise None.
        errors: reasons if there is no value.
    """

    request: Request
    status: str
    value: dict | None
    errors: list[str]


OPENAI_URL = "https://api.openai.com/v1"


def endpoint_id(base_url: str | None) -> str:
    """16 hex digits for the host, port and path of an endpoint; no user, password or query."""
    parts = urlsplit(base_url or OPENAI_URL)
    place = f"{parts.hostname or ''}:{parts.port or ''}{parts.path.rstrip('/')}"
    return hashlib.sha256(place.encode()).hexdigest()[:16]


def request_key(request: Request, endpoint: str, model: str, extra_body: dict) -> str:
    """SHA-256 of everything that affects the endpoint's answer.

    The schema, the caller's check and the length limit are not part of it. If they change, paid
    answers are judged again before new ones are bought. A changed prompt text is another request.
    """
    meaning = {
        "endpoint": endpoint,
        "model": model,
        "messages": [request.system, request.user],
        "params": {"temperature": float(request.temperature), "extra_body": extra_body},
        "sample": request.sample,
    }
    text = json.dumps(meaning, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
