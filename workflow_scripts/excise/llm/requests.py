"""What is asked of a language model and what comes back, and the key that names a question."""

import hashlib
import json
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """One question whose answer is a JSON object.

    Attributes:
        part: which program or judge asks (`profiles`, `qa`, …); a label.
        subject: who or what it is about (`p003`); a label.
        system: system message.
        user: user message.
        schema: JSON Schema of the answer, an object.
        prompt_version: digest of the prompt's template and schema, from the caller; a label.
        max_tokens: length limit of the first attempt; a truncated answer doubles it.
        temperature: sampling temperature.
        sample: number of the draw; another draw of the same prompt has another number.
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
    """What became of a request.

    Attributes:
        request: the request.
        status: `ok`; `repaired` (the text needed mending before it was JSON); `refused` (the
            model or a filter declined); `invalid` (no answer passed, nor one re-ask); or
            `unavailable` (the endpoint failed every attempt; a rerun tries again).
        value: the checked answer of `ok` and `repaired`, otherwise None.
        errors: why there is no value.
    """

    request: Request
    status: str
    value: dict | None
    errors: list[str]


OPENAI_URL = "https://api.openai.com/v1"


def endpoint_id(base_url: str | None) -> str:
    """16 hex digits naming an endpoint by host, port and path; no user, password or query."""
    parts = urlsplit(base_url or OPENAI_URL)
    place = f"{parts.hostname or ''}:{parts.port or ''}{parts.path.rstrip('/')}"
    return hashlib.sha256(place.encode()).hexdigest()[:16]


def request_key(request: Request, endpoint: str, model: str, extra_body: dict) -> str:
    """SHA-256 of everything that decides which answer the endpoint draws.

    The schema, the caller's check and the length limit are left out: when they change, answers
    already paid for are judged again before anything is bought. Changed prompt text is another
    question.
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
