"""An OpenAI-compatible server on loopback that bills, refuses, stalls and lies as it is told.

Start it in a test with the fixture (tests/conftest.py knows it):

    def test_x(fault_server):
        server = fault_server(faults=["429", "cut", "fences"])
        settings = server.settings()         # a `generation.llm` section that reaches it
        ...
        assert server.billed_calls("p003") == 1

or anywhere with `with FaultServer(...) as server:`.

*Answers.* `answer(request_json) -> str | None` writes the model's words; `request_json` is the
whole body of the call (`messages`, `response_format`, `max_tokens`, …). None, which is also what
to return for questions that are not yours (the client probes the endpoint before its first
question), means the default: JSON made from the schema found in `response_format` or after the
words "JSON Schema:" in the system message, varied by the user message, or a line of prose where
there is no schema. `question(request_json)` gives the user message without the client's re-ask.
The words are cut at `max_tokens` (four characters a token), as a model's would be. Where the
server enforces a schema, words that do not fit it are replaced by the default.

*Faults.* `faults` is a list of names, one played per call in order of arrival (None: no fault),
or a function `(request_json, n) -> name | None` with n = how often this question was asked
before. `FAULTS` lists the names. A call is billed if tokens were made for it.

*Limits.* `Limits(requests_per_minute, tokens_per_minute, …)` are enforced by token buckets,
announced in headers or kept hidden.

*Restarts.* `go_down()` resets all connections and refuses new ones; `come_back()` takes them again,
on the same port. `answers_as` is the model's name in its answers, `no_model` what it says to
another name than `model`.

*Ledger.* `server.calls` holds every call; with `ledger=path` each is also appended to a file.
"""

import asyncio
import hashlib
import json
import math
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import uvicorn
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

KEY = "sk-secret-of-the-tests-0123456789"
NAMES = ("amber", "basalt", "cedar", "dune", "ember", "fjord", "grove", "heath", "islet", "juniper")

UNPAID = {
    "429": (429, "rate_limit_exceeded", {"retry-after": "0"}),
    "429_bare": (429, "rate_limit_exceeded", {}),
    "429_ms": (429, "rate_limit_exceeded", {"retry-after-ms": "40"}),
    "429_date": (429, "rate_limit_exceeded", {"retry-after": "date"}),
    "429_300s": (429, "rate_limit_exceeded", {"retry-after": "300"}),
    "429_garbage": (429, "rate_limit_exceeded", {"retry-after": "soon"}),
    "insufficient_quota": (429, "insufficient_quota", {"retry-after": "0"}),
    "500": (500, "server_error", {}),
    "503": (503, "overloaded", {"retry-after": "0"}),
    "408": (408, "timeout", {}),
    "401": (401, "invalid_api_key", {}),
    "403": (403, "forbidden", {}),
    "404": (404, "model_not_found", {}),
    "prompt_filter": (400, "content_filter", {}),
    "too_long": (400, "context_length_exceeded", {}),
}
OTHERS = (
    *("html", "502_html", "error_in_200", "reset_before"),  # unpaid
    *("cut", "short", "reset_after", "hang", "drip", "no_choices", "no_usage"),  # paid
    *("fences", "think", "prose_around", "broken_json", "in_parts"),  # paid, to be mended
    *("wrong_schema", "prose", "empty", "empty_reasoning", "length"),  # paid, bad words
    *("refusal", "content_filter"),
)
FAULTS = (*UNPAID, *OTHERS)
# What comes with these, or with none, needs no second call.
USABLE = (None, "fences", "think", "prose_around", "broken_json", "in_parts", "no_usage")


def question(request: dict) -> str:
    """The first user message of a call: what is asked, in a re-ask as well."""
    return request["messages"][1]["content"]


def asked_again(request: dict) -> bool:
    """Whether a call is a re-ask: it holds the reply before and what is wrong with it."""
    return len(request["messages"]) > 2


def wanted_schema(request: dict) -> dict | None:
    """The schema that a call asks for."""
    form = request.get("response_format") or {}
    if form.get("type") == "json_schema":
        return form["json_schema"]["schema"]
    _, found, schema = request["messages"][0]["content"].partition("JSON Schema:\n")
    return json.JSONDecoder().raw_decode(schema)[0] if found else None


def default_answer(request: dict) -> str:
    """JSON that fits the wanted schema, the same for the same question; prose without one."""
    schema = wanted_schema(request)
    if schema is None:
        kind = (request.get("response_format") or {}).get("type")
        return '{"words": "Hello."}' if kind == "json_object" else "Hello, how can I help?"
    return json.dumps(example(schema, random.Random(question(request)), schema))


def example(schema: dict, draw: random.Random, root: dict):
    """A value that fits a schema of the usual kinds."""
    if "$ref" in schema:
        target = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return example(target, draw, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return draw.choice(schema["enum"])
    if "anyOf" in schema:
        return example(schema["anyOf"][0], draw, root)
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: example(of, draw, root) for name, of in properties.items()}
    if kind == "array":
        count = schema.get("minItems", 2)
        return [example(schema.get("items", {}), draw, root) for _ in range(count)]
    if kind == "string":
        words = " ".join(draw.choice(NAMES) for _ in range(4))
        return words.ljust(schema.get("minLength", 0), "x")
    low = schema.get("minimum", 0)
    return {
        "integer": low + draw.randrange(100),
        "number": low + draw.random(),
        "boolean": draw.random() < 0.5,
        "null": None,
    }[kind]


@dataclass
class Limits:
    """What the server allows, in buckets that hold `burst_s` seconds of the rate."""

    requests_per_minute: float = math.inf
    tokens_per_minute: float = math.inf
    announced: bool = True  # x-ratelimit headers and Retry-After in milliseconds
    burst_s: float = 1.0
    retry_after: bool = True
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self):
        self.levels = {"requests": 0.0, "tokens": 0.0}
        self.seen = None

    def rates(self) -> dict[str, float]:
        return {
            "requests": self.requests_per_minute / 60,
            "tokens": self.tokens_per_minute / 60,
        }

    def take(self, tokens: int) -> float:
        """Seconds until this call would be let in; 0: it is in."""
        now, wait = self.clock(), 0.0
        self.seen = now if self.seen is None else self.seen
        need = {"requests": 1.0, "tokens": float(tokens)}
        for name, rate in self.rates().items():
            if math.isinf(rate):
                continue
            level = max(0.0, self.levels[name] - (now - self.seen) * rate)
            self.levels[name] = level
            room = max(rate * self.burst_s, need[name])
            wait = max(wait, (level + need[name] - room) / rate)
        self.seen = now
        if wait <= 1e-6:
            for name in self.levels:
                self.levels[name] += need[name]
            return 0.0
        return wait

    def refusal_headers(self, wait: float) -> dict[str, str]:
        """When to come back: to the millisecond, or in whole seconds, or nothing."""
        if self.announced:
            return {"retry-after-ms": f"{wait * 1000:.0f}"}
        return {"retry-after": f"{math.ceil(wait)}"} if self.retry_after else {}

    def headers(self) -> dict[str, str]:
        if not self.announced:
            return {}
        limits = {"requests": self.requests_per_minute, "tokens": self.tokens_per_minute}
        return {
            f"x-ratelimit-limit-{name}": f"{limit:.0f}"
            for name, limit in limits.items()
            if not math.isinf(limit)
        }


@dataclass
class Call:
    """One call as the server saw it."""

    question: str
    hash: str  # of the body
    client_id: str  # X-Client-Request-Id
    status: int
    fault: str | None
    tokens_in: int = 0
    tokens_out: int = 0
    at: float = 0.0
    finish: str | None = None

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out

    @property
    def billed(self) -> bool:
        return self.tokens > 0


@dataclass
class FaultServer:
    """See the head of this file."""

    answer: Callable[[dict], str | None] = default_answer
    faults: Sequence[str | None] | Callable[[dict, int], str | None] = ()
    limits: Limits = field(default_factory=Limits)
    structured: str = "json_schema"  # | "json_object" | "refused" | "ignored"
    token_names: tuple[str, ...] = ("max_tokens", "max_completion_tokens")
    thinks: int = 0  # tokens before its words, paid and against the limit
    any_temperature: bool = True  # False: none but the model's own, as reasoning models
    latency_s: float = 0.0
    model: str = "test-model"
    answers_as: str | None = None
    no_model: tuple[int, str] = (404, "The model {!r} does not exist")
    key: str | None = KEY
    ledger: Path | None = None
    hang_s: float = 30.0

    def __post_init__(self):
        self.calls: list[Call] = []
        self.asked: dict[str, int] = {}
        self.port = 0  # any
        self.in_flight = self.most_in_flight = 0
        self._transports: dict[tuple, asyncio.Transport] = {}
        self._script = None if callable(self.faults) else iter(self.faults)

    # Life

    def __enter__(self) -> "FaultServer":
        transports, server = self._transports, self

        class Protocol(H11Protocol):
            def connection_made(self, transport):
                super().connection_made(transport)
                server._loop = self.loop
                transports[tuple(transport.get_extra_info("peername"))] = transport

        self._socket = socket.create_server(("127.0.0.1", self.port))
        self.port = self._socket.getsockname()[1]
        routes = [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/html/{rest:path}", self._page, methods=["POST"]),
        ]
        # Without log_config=None, uvicorn closes every logging handler of this process. That of
        # absl then closes the file in which pytest captures stderr, and all later tests fail.
        config = uvicorn.Config(
            Starlette(routes=routes),
            http=Protocol,
            log_config=None,
            log_level="critical",
            lifespan="off",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        return self

    def __exit__(self, *_):
        self.go_down()

    def go_down(self) -> None:
        """End as a killed server does: whatever is under way is reset."""
        if not self._thread.is_alive():
            return
        for transport in self._transports.values():
            self._loop.call_soon_threadsafe(transport.abort)
        self._transports.clear()
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
        self._socket.close()

    def come_back(self) -> None:
        """Take connections again, on the same port."""
        self.__enter__()

    # What tests ask

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def settings(self, **changes) -> dict:
        """A `generation.llm` section that reaches this server, quick about waiting."""
        section = {
            "base_url": self.url,
            "model": self.model,
            "api_key_env": "EXCISE_TEST_KEY" if self.key else None,
            "limits": {"requests_per_minute": 1e6, "tokens_per_minute": 1e9},
            "retry": {"max_wait_s": 0.02, "timeout_s": 10},
            "adaptation": {"cooldown_s": 0.05},
        }
        for key, value in changes.items():
            both = isinstance(value, dict) and isinstance(section.get(key), dict)
            section[key] = {**section[key], **value} if both else value
        return section

    def asked_for(self, words: str) -> list[Call]:
        """Calls whose question holds these words."""
        return [call for call in self.calls if words in call.question]

    def billed_calls(self, words: str = "") -> int:
        """Paid calls whose question holds these words."""
        return sum(call.billed for call in self.asked_for(words))

    def billed_tokens(self) -> int:
        """Tokens in and out of all calls."""
        return sum(call.tokens for call in self.calls)

    def billed_by_hash(self, calls: Iterable[Call] | None = None) -> Counter[str]:
        """Hash of a request's body → tokens in and out of all billed calls with that body.

        Args:
            calls: those that count; None: all.
        """
        billed: Counter[str] = Counter()
        for call in self.calls if calls is None else calls:
            if call.billed:
                billed[call.hash] += call.tokens
        return billed

    def whole_answers(self, unknown: Container[str]) -> list[Call]:
        """Calls that were billed and brought a whole, usable answer.

        Args:
            unknown: client ids of the calls that the client has declared perhaps billed; left out.
        """
        return [
            call
            for call in self.calls
            if call.billed
            and call.finish == "stop"
            and call.fault in USABLE
            and call.client_id not in unknown
        ]

    def bought_twice(self, unknown: Container[str]) -> int:
        """Whole, usable answers that were billed after a first one to the same question.

        Args:
            unknown: as of `whole_answers`.
        """
        whole = Counter(call.question for call in self.whole_answers(unknown))
        return sum(count - 1 for count in whole.values())

    # What the server does

    async def _page(self, _: Request) -> Response:
        return HTMLResponse("<html><body>Welcome to our website</body></html>")

    async def _chat(self, http: Request) -> Response:
        raw = await http.body()
        request = json.loads(raw)
        words = question(request)
        call = Call(
            question=words,
            hash=hashlib.sha256(raw).hexdigest(),
            client_id=http.headers.get("x-client-request-id", ""),
            status=0,
            fault=self._next_fault(request, words),
            at=time.monotonic(),
        )
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            response = await self._respond(http, request, call)
        finally:
            self.in_flight -= 1
            if not call.status:  # the connection was dropped
                self._book(call, 0)
        response.headers.update({"x-request-id": f"req-{len(self.calls)}"})
        return response

    def _next_fault(self, request: dict, words: str) -> str | None:
        if words in ("Say hello.", "Say hello in plain words. Do not write JSON."):
            return None  # scripts are about the questions, not about the client's probes
        number = self.asked.get(words, 0)
        self.asked[words] = number + 1
        if self._script is None:
            return self.faults(request, number)
        return next(self._script, None)

    def _book(self, call: Call, status: int, paid: tuple[int, int] = (0, 0)) -> None:
        """Enter a call in the books, before the first byte of its answer leaves."""
        call.status, (call.tokens_in, call.tokens_out) = status, paid
        self.calls.append(call)
        if self.ledger is not None:
            with self.ledger.open("a") as file:
                file.write(json.dumps(vars(call)) + "\n")

    def _refuse(self, call: Call, status: int, code: str, message: str, **headers) -> Response:
        self._book(call, status)
        error = {"error": {"message": message, "type": code, "code": code, "param": None}}
        return JSONResponse(error, status, {**self.limits.headers(), **headers})

    async def _respond(self, http: Request, request: dict, call: Call) -> Response:
        given = http.headers.get("authorization", "")
        if self.key and given != f"Bearer {self.key}":
            return self._refuse(call, 401, "invalid_api_key", f"Incorrect API key: {given}")
        if request["model"] != self.model:
            status, words = self.no_model
            return self._refuse(
                call, status, "model_not_found" * (status == 404), words.format(request["model"])
            )
        if refusal := self._unsupported(request):
            return self._refuse(call, 400, "invalid_request_error", refusal)
        text = self._words(request, call.fault)
        limit = next(request[name] for name in self.token_names if name in request)
        limit = min(limit, 3) if call.fault == "length" else limit
        room = max(limit - self.thinks, 0)
        finish = "length" if room * 4 < len(text) else "stop"
        text = text[: room * 4]
        made = min(limit, self.thinks) + math.ceil(len(text) / 4)
        paid = len(json.dumps(request["messages"])) // 4, made
        wait = self.limits.take(sum(paid))
        if wait:
            headers = self.limits.refusal_headers(wait)
            return self._refuse(call, 429, "rate_limit_exceeded", "Too many requests", **headers)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        return await self._play(http, call, text, finish, paid)

    def _unsupported(self, request: dict) -> str | None:
        form = (request.get("response_format") or {}).get("type")
        unknown = {"max_tokens", "max_completion_tokens"} - set(self.token_names)
        for name in unknown & request.keys():
            return f"Unsupported parameter: '{name}'. Use '{self.token_names[0]}' instead."
        if not self.any_temperature and request.get("temperature", 1) != 1:
            return (
                f"Unsupported value: 'temperature' does not support {request['temperature']} with "
                "this model. Only the default (1) value is supported."
            )
        if self.structured == "refused" and form:
            return "response_format is not supported by this server"
        if self.structured == "json_object" and form == "json_schema":
            return "response_format.type: json_schema is not supported; use json_object"
        return None

    def _words(self, request: dict, fault: str | None) -> str:
        if self.structured == "ignored":
            request = {key: value for key, value in request.items() if key != "response_format"}
        text = self.answer(request)
        if text is None:
            text = default_answer(request)
        kind = (request.get("response_format") or {}).get("type")
        if kind and not fault:
            text = _enforced(text, request, kind)
        return _spoiled(text, fault)

    async def _play(
        self, http: Request, call: Call, text: str, finish: str, paid: tuple[int, int]
    ) -> Response:
        fault = call.fault
        if fault in UNPAID:
            status, code, headers = UNPAID[fault]
            if headers.get("retry-after") == "date":
                soon = datetime.now(UTC) + timedelta(seconds=1)
                headers = {"retry-after": format_datetime(soon, usegmt=True)}
            return self._refuse(call, status, code, f"scripted: {code}", **headers)
        if fault == "html":
            self._book(call, 200)
            return HTMLResponse("<html><body>Please sign in to the Wi-Fi</body></html>")
        if fault == "502_html":
            self._book(call, 502)
            return HTMLResponse("<html><body>Bad gateway</body></html>", 502)
        if fault == "error_in_200":
            self._book(call, 200)
            return JSONResponse({"error": {"message": "provider failed", "code": 502}})
        if fault == "reset_before":
            self._abort(http)
            return Response()
        self._book(call, 200, paid)
        call.finish = finish
        name = self.answers_as or self.model
        body = json.dumps(_completion(text, finish, paid, fault, name)).encode()
        if fault == "reset_after":
            self._abort(http)
        if fault == "hang":
            await asyncio.sleep(self.hang_s)
        if fault == "cut":
            body = body[: len(body) // 2]
        headers = {**self.limits.headers(), "content-type": "application/json"}
        if fault == "short":
            return Response(body[: len(body) // 2], headers={**headers, "content-length": "9999"})
        if fault == "drip":
            return StreamingResponse(_drip(body, self.hang_s), headers=headers)
        return Response(body, headers=headers)

    def _abort(self, http: Request) -> None:
        self._transports[tuple(http.scope["client"])].abort()


def _enforced(text: str, request: dict, kind: str) -> str:
    """The words if they satisfy the response_format, otherwise words that do."""
    try:
        value = json.loads(text)
        fits = isinstance(value, dict)
        if kind == "json_schema":
            fits = Draft202012Validator(wanted_schema(request)).is_valid(value)
    except ValueError:
        fits = False
    return text if fits else default_answer(request)


def _spoiled(text: str, fault: str | None) -> str:
    if fault == "fences":
        return f"Here you are:\n```json\n{text}\n```\nAnything else?"
    if fault == "think":
        return f"<think>They want {{JSON}}. Easy.</think>\n{text}"
    if fault == "prose_around":
        return f"Sure! {text} Let me know if that helps."
    if fault == "broken_json":
        return text.replace('", "', '" "').replace('"}', '",}')
    if fault == "wrong_schema":
        return '{"unexpected": [1, 2, 3]}'
    if fault == "prose":
        return "I would rather talk about the weather."
    if fault in ("empty", "refusal"):
        return ""
    return text


def _completion(text: str, finish: str, paid: tuple[int, int], fault: str | None, model: str):
    message = {"role": "assistant", "content": text, "refusal": None}
    if fault == "refusal":
        message["refusal"] = "I'm sorry, I can't help with that."
    if fault == "empty_reasoning":
        message |= {"content": "", "reasoning": f"Let me see.\n{text}"}
    if fault == "in_parts":
        message["content"] = [{"type": "text", "text": text}]
    finish = "content_filter" if fault == "content_filter" else finish
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": paid[0],
            "completion_tokens": paid[1],
            "total_tokens": sum(paid),
        },
    }
    if fault == "no_choices":
        completion["choices"] = None
    if fault == "no_usage":
        del completion["usage"]
    return completion


async def _drip(body: bytes, seconds: float):
    for index in range(len(body)):
        yield body[index : index + 1]
        await asyncio.sleep(seconds / len(body))


@pytest.fixture
def fault_server(monkeypatch):
    """Starts fault servers (arguments of `FaultServer`) and stops them after the test."""
    running = []
    monkeypatch.setenv("EXCISE_TEST_KEY", KEY)

    def start(**arguments) -> FaultServer:
        running.append(FaultServer(**arguments).__enter__())
        return running[-1]

    yield start
    for server in running:
        server.__exit__()
