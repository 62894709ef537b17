"""Classify a response by status, headers and body; all functions are pure.

ok            the text is a JSON object and nothing else
repair        there is other text; it may contain a JSON object
longer        the length limit cut the answer off
resample      a refusal or a content filter: ask about something else
retry         not paid for; wait and send again
unknown       perhaps paid for; wait and send again
lower_rung    the endpoint does not accept `response_format`
token_name    the endpoint has the other name for the length limit
temperature   the model accepts only its own temperature
fatal         no request can succeed
rejected      this request cannot succeed with this server configuration; a later run may ask again
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from excise.llm.headers import retry_after
from excise.llm.repair import json_object

QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
FILTERS = ("content_filter", "content_policy", "responsibleai")
TOO_LONG = (
    *("context_length_exceeded", "maximum context length", "string_above_max_length"),
    *("too large", "exceed_context_size", "available context size"),
)
TOKEN_NAMES = ("max_tokens", "max_completion_tokens")
NOT_TAKEN = (
    *("unsupported", "not support", "instead", "unrecognized", "unexpected", "permitted"),
    "only the default",
)
_NO_MODEL = re.compile(
    r"model_not_found|(unknown|no such|invalid) model\b"
    r"|\bmodel\b.{0,120}(not found|not exist|n't exist|not a valid|not a local folder)"
    r"|not a valid model"
)
_PATH = re.compile(r"[./~\\]|[A-Za-z]:[\\/]")  # start of a path, never of a model name
STRUCTURED = (
    *("response_format", "json_schema", "json_object", "json schema", "structured output"),
    "grammar",  # llama.cpp and vLLM compile a schema to a grammar
)


@dataclass(frozen=True)
class Reply:
    """A classified response."""

    kind: str
    text: str = ""  # the text of the model
    message: str = ""  # the failure, one line
    wait_s: float | None = None  # waiting time that the server requests
    rate_limited: bool = False
    html: bool = False
    no_model: bool = False  # the endpoint does not know the model


def tokens_billed(body: str) -> tuple[int, int] | None:
    """Billed tokens in and out, according to a body.

    An error inside a 200 without usage costs nothing. None: the body gives no usage.
    """
    content = json_object(body)
    if content is None:
        return None
    usage = content.get("usage")
    if isinstance(usage, dict):
        counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if all(isinstance(count, int) and count >= 0 for count in counts):
            return counts
    return (0, 0) if content.get("error") else None


def model_named(body: str) -> str | None:
    """The model name in an answer; of a path on the server, the last part."""
    name = (json_object(body) or {}).get("model")
    if not isinstance(name, str) or not name.strip():
        return None
    name = _line(name)
    return re.split(r"[\\/]", name.rstrip("\\/"))[-1] if _PATH.match(name) else name


def classify(status: int, headers: Mapping[str, str], body: str) -> Reply:
    """Classify a response.

    Args:
        status: HTTP status.
        headers: with case-insensitive or lower-case names.
        body: as received.
    """
    content = json_object(body)  # the content type may be wrong
    html = "text/html" in headers.get("content-type", "") or body.lstrip()[:1] == "<"
    html = html and content is None
    if status == 200:
        if html:
            return Reply("unknown", message="HTTP 200 with an HTML page", html=True)
        if content is None:
            return Reply("unknown", message="HTTP 200 with a body that is not JSON or was cut")
        if content.get("error"):
            return _error_in_200(headers, content["error"])
        return _completion(content)
    message, code = _error_details(content, body, html)
    return _by_status(status, headers, f"HTTP {status}{message and ': '}{message}", code, html)


def _error_details(content: dict | None, body: str, html: bool) -> tuple[str, str]:
    """One line for people, and all identifiers of the error in lower case."""
    error: Any = (content or {}).get("error", content)
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or json.dumps(error)
        named = [error.get(key) for key in ("code", "type", "param")]
        named.append(message)
    else:
        message = "an HTML page" if html else str(error or body)
        named = [message]
    line = " ".join(str(message).split())
    return line[:200], " ".join(str(name) for name in named if name).lower()


def _error_in_200(headers: Mapping[str, str], error: Any) -> Reply:
    message, code = _error_details({"error": error}, "", False)
    number = error.get("code") if isinstance(error, dict) else None
    known = str(number).isascii() and str(number).isdigit()
    status = int(number) if known and 400 <= int(number) < 600 else 500
    return _by_status(status, headers, f"error in HTTP 200: {message}", code, False)


def _by_status(
    status: int, headers: Mapping[str, str], message: str, code: str, html: bool
) -> Reply:
    wait = retry_after(headers)
    if any(name in code for name in QUOTA) or status == 402:
        return Reply("fatal", message=message)
    if status == 429:
        return Reply("retry", message=message, wait_s=wait, rate_limited=True)
    no_model = bool(_NO_MODEL.search(code)) or (status == 404 and "model" in code)
    if no_model and status >= 500:
        return Reply("fatal", message=message, no_model=True)
    if status in (408, 409, 425) or status >= 500:
        return Reply("retry", message=message, wait_s=wait, html=html)
    if status in (400, 413, 422):
        if any(name in code for name in FILTERS):
            return Reply("resample", message=message)
        if any(name in code for name in STRUCTURED):
            return Reply("lower_rung", message=message)
        if any(name in code for name in TOO_LONG):
            return Reply("rejected", message=message)
        named = any(name in code for name in TOKEN_NAMES)
        not_taken = any(word in code for word in NOT_TAKEN)
        if named and not_taken:
            return Reply("token_name", message=message)
        if "temperature" in code and not_taken:
            return Reply("temperature", message=message)
    return Reply("fatal", message=message, html=html, no_model=no_model)


def _completion(content: dict) -> Reply:
    choices = content.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return Reply("unknown", message="HTTP 200 without an answer in it")
    if message.get("refusal"):
        return Reply("resample", message=f"refused: {_line(message['refusal'])}")
    finish = choice.get("finish_reason")
    if finish == "content_filter":
        return Reply("resample", message="refused: the endpoint's content filter")
    text = _text(message.get("content"))
    if finish == "length":
        return Reply("longer", text=text, message="the answer was cut off by the length limit")
    if not text.strip():  # on some servers, thinking models answer here
        text = _text(message.get("reasoning") or message.get("reasoning_content"))
        return Reply("repair", text=text)
    return Reply("ok" if json_object(text) is not None else "repair", text=text)


def _text(content: Any) -> str:
    if isinstance(content, list):  # content in parts
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _line(value: Any) -> str:
    return " ".join(str(value).split())[:200]
