"""The client against a rate-limited server, both in virtual time: no machine load disturbs it."""

import asyncio
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path

import httpx2

from excise.llm import load_settings
from excise.llm.budget import Budget
from excise.llm.endpoint import Endpoint
from excise.llm.engine import Engine
from excise.llm.journal import Journal
from llm_client_process import accept, requests_for
from llm_server import Limits, default_answer
from virtual_time import VirtualLoop


@dataclass(frozen=True)
class Figures:
    share: float  # of the allowed rate, after the first 10 s and before the last 3
    refused: float  # share of answers that were 429
    seconds: float  # virtual
    answered: int


def simulate(
    path: Path,
    count: int,
    limits: Limits,
    latency_s: float = 0.8,
    seed: int = 0,
    **known: float | None,
) -> Figures:
    """Send `count` requests to a server with `limits`; `known` is what the settings say of them.

    Answers take `latency_s` ± 50 %, refusals 10 ms.
    """
    loop, draw = VirtualLoop(), random.Random(seed)
    limits.clock = loop.time
    served: list[tuple[float, int]] = []
    refused = 0

    async def respond(request: httpx2.Request) -> httpx2.Response:
        nonlocal refused
        body = json.loads(request.content)
        text = default_answer(body)
        paid = len(json.dumps(body["messages"])) // 4, math.ceil(len(text) / 4)
        await asyncio.sleep(0.01)
        if wait := limits.take(sum(paid)):
            refused += 1
            headers = {**limits.refusal_headers(wait), **limits.headers()}
            error = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
            return httpx2.Response(429, headers=headers, json=error)
        served.append((loop.time(), sum(paid)))
        await asyncio.sleep(latency_s * draw.uniform(0.5, 1.5))
        usage = {"prompt_tokens": paid[0], "completion_tokens": paid[1]}
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        completion = {"choices": [choice], "usage": usage}
        return httpx2.Response(200, headers=limits.headers(), json=completion)

    section = {
        "model": "m",
        "base_url": "http://simulated/v1",
        "api_key_env": None,
        "structured": "json_schema",
        "limits": {"requests_per_minute": 1e6, "tokens_per_minute": 1e9, **known},
    }
    settings = load_settings(section)
    journal = Journal(path)
    endpoint = Endpoint(settings, None, httpx2.MockTransport(respond))
    endpoint._client._platform = "Unknown"  # else found in a thread, which virtual time outruns
    engine = Engine(settings, journal, Budget(settings["budget"]), endpoint)
    outcomes = []
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        work = engine.run(requests_for(count), accept, lambda _, outcome: outcomes.append(outcome))
        runner.run(work)
    journal.close()
    start, end = 10.0, served[-1][0] - 3.0
    inside = [tokens for moment, tokens in served if start <= moment < end]
    allowed = {
        len(inside): limits.requests_per_minute,
        sum(inside): limits.tokens_per_minute,
    }
    share = max(used / (per_minute / 60 * (end - start)) for used, per_minute in allowed.items())
    answered = sum(outcome.status == "ok" for outcome in outcomes)
    return Figures(share, refused / (refused + len(served)), served[-1][0], answered)
