"""Send one call with the openai client, without its own retries, and explain its errors."""

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
    """An unparsed response; with status 0, the reason why there is none."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    message: str = ""
    sent: bool = True  # False: the call did not reach the endpoint
    tls: bool = False  # the TLS handshake failed
    timed_out: bool = False

    @property
    def away(self) -> bool:
        """Whether the failure fits a restarting server."""
        return self.status in GATEWAY or (self.status == 0 and not (self.sent and self.timed_out))


def read_key(settings: dict) -> str | None:
    """The API key from the environment; None if the settings name no variable.

    Raises:
        InputError: the variable is not set, or its value cannot be a key. The value is not shown.
    """
    name = settings["api_key_env"]
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise InputError(
            f"generation.llm.api_key_env: the environment variable {name} is not set; "
            "it must hold the API key (null if the endpoint needs none)"
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
        """Send one chat completion; return every failure of the endpoint as a `Response`."""
        create = self._client.chat.completions.with_raw_response.create
        try:
            async with asyncio.timeout(self.timeout_s):  # the client's own timeout is per read
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
        """The error for a response after which no request can succeed."""
        name = self.settings["api_key_env"]
        message = self.shown(reply.message)
        if reply.html:
            return InputError(
                f"generation.llm.base_url: {self.host} answers with an HTML page "
                f"(HTTP {status}); needed: the URL of an OpenAI-compatible endpoint, "
                "which often ends in /v1"
            )
        if status in (401, 403):  # the endpoint's message may quote the key
            reason = "requires an API key, but api_key_env is null"
            if name:
                reason = f"refuses the key in the environment variable {name}"
            return InputError(f"generation.llm.api_key_env: {self.host} {reason} (HTTP {status})")
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
        """The error for an endpoint that answers, but fails every call."""
        return InputError(
            f"generation.llm: {self.host} answers, but every call fails: {self.shown(message)}; "
            f"see the log of the endpoint (requested model: {self.settings['model']!r})"
        )

    def unreachable(self, response: Response) -> InputError:
        """The error for an endpoint that was never reached."""
        failure = "the TLS handshake fails" if response.tls else "cannot connect"
        return InputError(
            f"generation.llm.base_url: {self.host}: {failure} ({self.shown(response.message)})"
        )


def _place(url: str) -> str:
    """Host and port of a URL."""
    parts = httpx2.URL(url)
    host = f"[{parts.host}]" if ":" in parts.host else parts.host
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _connection_failure(error: BaseException) -> Response:
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    transport = next((link for link in chain if isinstance(link, httpx2.TransportError)), error)
    tls = any(isinstance(link, ssl.SSLError) for link in chain) or "[SSL" in str(transport)
    message = " ".join(str(transport).split())[:200] or type(transport).__name__
    unsent = (*NOT_SENT, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
    return Response(0, message=message, sent=not isinstance(transport, unsent), tls=tls)
