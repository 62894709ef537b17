"""One call to the endpoint: the openai client, its own retries off, and what its errors mean."""

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2
import openai

from excise.errors import InputError
from excise.llm.replies import Reply
from excise.llm.requests import OPENAI_URL

GATEWAY = (502, 503, 504)  # sent by a gateway in front of the model, not by the model
NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


@dataclass(frozen=True)
class Response:
    """What came back, unparsed; or, with status 0, why nothing did."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    message: str = ""
    sent: bool = True  # False: the endpoint was never reached
    tls: bool = False  # the TLS handshake failed
    timed_out: bool = False

    @property
    def away(self) -> bool:
        """Whether the failure looks like a restarting server."""
        return self.status in GATEWAY or (self.status == 0 and not (self.sent and self.timed_out))


def read_key(settings: dict) -> str | None:
    """The API key from the environment; None where the settings name no variable.

    Raises:
        InputError: the variable is not set, or cannot be a key. The value is never shown.
    """
    name = settings["api_key_env"]
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise InputError(
            f"generation.llm.api_key_env: the environment variable {name} is not set; "
            "it must hold the API key (null: the endpoint needs none)"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise InputError(
            f"generation.llm.api_key_env: the value of {name} holds a space or another "
            "character that no API key has"
        )
    return key


class Endpoint:
    """An OpenAI-compatible endpoint.

    Args:
        settings: `generation.llm`.
        key: the API key; None if none is needed.
        transport: for tests.
    """

    def __init__(
        self, settings: dict, key: str | None, transport: httpx2.AsyncBaseTransport | None = None
    ):
        self.settings, self.key = settings, key
        self.url = settings["base_url"] or OPENAI_URL
        self.host = _place(self.url)
        self.timeout_s = settings["retry"]["timeout_s"]
        self._client = openai.AsyncOpenAI(
            base_url=self.url,
            api_key=key or "none-needed",
            max_retries=0,
            timeout=self.timeout_s,
            http_client=openai.DefaultAsyncHttpxClient(transport=transport) if transport else None,
        )

    async def post(self, payload: dict, label: str) -> Response:
        """Send one chat completion; never raises for what the endpoint does."""
        create = self._client.chat.completions.with_raw_response.create
        try:
            async with asyncio.timeout(self.timeout_s):  # the client's own is per read
                raw = await create(
                    **payload,
                    extra_body=self.settings["extra_body"] or None,
                    extra_headers={"X-Client-Request-Id": label},
                )
                return Response(raw.status_code, raw.headers, raw.content)
        except openai.APIStatusError as error:
            response = error.response
            return Response(response.status_code, response.headers, response.content)
        except (TimeoutError, openai.APITimeoutError) as error:
            sent = not isinstance(error.__cause__, NOT_SENT)
            message = f"no answer within {self.timeout_s:g} s"
            return Response(0, message=message, sent=sent, timed_out=True)
        except (openai.APIConnectionError, httpx2.TransportError) as error:
            return _connection_failure(error)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def shown(self, text: str) -> str:
        """A text without the key."""
        return text.replace(self.key, "[key]") if self.key else text

    def fatal(self, status: int, reply: Reply) -> InputError:
        """The one line for an answer after which no other can succeed."""
        name = self.settings["api_key_env"]
        message = self.shown(reply.message)
        if reply.html:
            return InputError(
                f"generation.llm.base_url: {self.host} answers with an HTML page "
                f"(HTTP {status}); needed: the URL of an OpenAI-compatible endpoint, "
                "which often ends in /v1"
            )
        if status in (401, 403):  # the endpoint's words may quote the key
            held = f"refuses the key in the environment variable {name}"
            held = held if name else "wants an API key, and api_key_env is null"
            return InputError(f"generation.llm.api_key_env: {self.host} {held} (HTTP {status})")
        if reply.no_model:
            return InputError(
                f"generation.llm.model: {self.host} has no model {self.settings['model']!r} "
                f"({message})"
            )
        if status == 404:
            path = httpx2.URL(self.url).path.rstrip("/")
            return InputError(
                f"generation.llm.base_url: {self.host} does not serve {path}/chat/completions "
                f"({message}); needed: the URL of an OpenAI-compatible endpoint, which often "
                "ends in /v1"
            )
        return InputError(f"generation.llm: {self.host} refuses the call: {message}")

    def failing(self, message: str) -> InputError:
        """One line about an endpoint that answers, but fails every call."""
        return InputError(
            f"generation.llm: {self.host} answers, but every call fails: {self.shown(message)}; "
            f"its own log may say why (asked for: model {self.settings['model']!r})"
        )

    def unreachable(self, response: Response) -> InputError:
        """The one line for an endpoint that was never reached."""
        what = "the TLS handshake fails" if response.tls else "cannot connect"
        return InputError(
            f"generation.llm.base_url: {self.host}: {what} ({self.shown(response.message)})"
        )


def _place(url: str) -> str:
    """Host and port of a URL."""
    parts = httpx2.URL(url)
    host = f"[{parts.host}]" if ":" in parts.host else parts.host
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _connection_failure(error: BaseException) -> Response:
    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) and below not in chain:
        chain.append(below)
    transport = next((one for one in chain if isinstance(one, httpx2.TransportError)), error)
    tls = any(isinstance(one, ssl.SSLError) for one in chain) or "[SSL" in str(transport)
    words = " ".join(str(transport).split())[:200] or type(transport).__name__
    unsent = (*NOT_SENT, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
    return Response(0, message=words, sent=not isinstance(transport, unsent), tls=tls)
