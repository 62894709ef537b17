"""Measure the cost and the reliability of the LLM client with the fault server of the tests.

    python perf/llm_client.py rate --requests 6000     share of the allowed rate
    python perf/llm_client.py socket --requests 1200   the same over a real socket: minutes
    python perf/llm_client.py kills --kills 1000       answers bought twice over random kills
    python perf/llm_client.py cost --requests 100000   client-side CPU and memory

`rate` runs in virtual time, so other processes do not affect it. `socket` needs an idle machine.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT / "tests"), str(ROOT / "tests" / "unit")]

from excise.llm import Request, Session, load_settings  # noqa: E402
from excise.llm.endpoint import Endpoint  # noqa: E402
from excise.llm.journal import read_ledger  # noqa: E402
from llm_client_process import (  # noqa: E402
    SCHEMA,
    accept,
    declared_unknown,
    requests_for,
    start,
)
from llm_server import KEY, FaultServer, Limits, question  # noqa: E402
from rate_simulation import simulate  # noqa: E402

PER_MINUTE = 1200.0


def rate(folder: Path, requests: int) -> None:
    """Share of the allowed rate for known and hidden limits; bucket of the server in seconds."""
    os.fsync = lambda file: None  # it takes real time, which virtual time does not count
    tokens = PER_MINUTE * 30
    cases = {
        "known, requests": (
            Limits(PER_MINUTE, announced=False),
            {"requests_per_minute": PER_MINUTE},
        ),
        "known, tokens": (
            Limits(tokens_per_minute=tokens, announced=False),
            {"tokens_per_minute": tokens},
        ),
        "known by header": (Limits(PER_MINUTE), {}),
        "hidden, bucket 1 s": (Limits(PER_MINUTE, announced=False), {}),
        "hidden, no Retry-After": (Limits(PER_MINUTE, announced=False, retry_after=False), {}),
        "hidden, bucket 5 s": (Limits(PER_MINUTE, announced=False, burst_s=5), {}),
        "hidden, tokens": (Limits(tokens_per_minute=tokens, announced=False), {}),
    }
    for name, (limits, known) in cases.items():
        for latency in (0.05, 0.8):
            path = folder / f"{name}{latency}.jsonl"
            got = simulate(path, requests, limits_again(limits), latency, **known)
            print(
                f"{name:24s} latency {latency:4} s: {got.share:6.1%} of the rate, "
                f"{got.refused:6.2%} 429s, {got.answered} of {requests} answered in "
                f"{got.seconds:.0f} virtual s",
                flush=True,
            )


def over_socket(folder: Path, requests: int) -> None:
    """Share of the allowed rate against the fault server on loopback, after the first 10 s."""
    os.environ["EXCISE_TEST_KEY"] = KEY
    known = {"requests_per_minute": PER_MINUTE}
    for name, limits, settings in (
        ("known", Limits(PER_MINUTE, announced=False), known),
        ("hidden", Limits(PER_MINUTE, announced=False), {}),
    ):
        with FaultServer(limits=limits, latency_s=0.4) as server:
            section = server.settings(limits=settings)
            section["retry"], section["adaptation"] = {}, {}  # the defaults of a user
            with Session(load_settings(section), folder / f"{name}.jsonl", False) as session:
                outcomes = session.complete(requests_for(requests), accept)
            served = [call.at for call in server.calls if call.status == 200]
            refused = sum(call.status == 429 for call in server.calls)
        start, end = served[0] + 10, served[-1] - 3
        inside = sum(start <= moment < end for moment in served)
        print(
            f"{name}: {inside / (PER_MINUTE / 60 * (end - start)):.1%} of the rate over "
            f"{end - start:.0f} s, {refused / len(server.calls):.2%} 429s, "
            f"{sum(one.status == 'ok' for one in outcomes)} of {requests} answered",
            flush=True,
        )


def limits_again(limits: Limits) -> Limits:
    """New buckets of the same size."""
    return Limits(
        limits.requests_per_minute,
        limits.tokens_per_minute,
        limits.announced,
        limits.burst_s,
        limits.retry_after,
    )


def kills(folder: Path, number: int, seed: int) -> None:
    """Kill clients at random bytes of their journals; count what the server billed twice."""
    draw = random.Random(seed)
    faults = ("429", "500", "reset_after", "cut", "fences", "error_in_200", None, None, None)
    done = rebilled = unknown = answers = wrong = rounds = 0
    began = time.monotonic()
    while done < number:
        rounds += 1
        journal, out = folder / f"{rounds}" / "qa.jsonl", folder / f"{rounds}.json"
        plan = {f"Question number {i}.": draw.choices(faults, k=2) for i in range(6)}

        def fault(request: dict, n: int, plan: dict = plan) -> str | None:
            script = plan[question(request)]
            return script[n] if n < len(script) else None

        with FaultServer(faults=fault) as server:
            while True:
                end = (signal.SIGKILL, draw.randrange(200, 5000)) if done < number else None
                process = start(server.settings(), journal, 6, out, end)
                process.join()
                if process.exitcode == 0:
                    break
                done += 1
            ledger, _ = read_ledger(journal)
            declared = declared_unknown(journal)
            answers += len(ledger.attempts)
            unknown += len(declared)
            rebilled += server.bought_twice(declared)
            journaled = sum(len(tries) for tries in ledger.attempts.values())
            wrong += len(server.calls) > journaled
            wrong += any(one["value"] is None for one in json.loads(out.read_text()))
    print(
        f"{done} kills in {rounds} runs of 6 requests: {answers} answers, {rebilled} bought twice, "
        f"{unknown} attempts declared unknown, {wrong} runs with wrong books, "
        f"{time.monotonic() - began:.0f} s"
    )


def cost(folder: Path, number: int) -> None:
    """CPU and memory of the client alone: the endpoint is a function in the same process."""
    text = json.dumps({"text": "word " * 60, "year": 1})
    usage = {"prompt_tokens": 200, "completion_tokens": 90}
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice], "usage": usage}).encode()

    async def respond(_: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(0)
        return httpx2.Response(200, content=body, headers={"content-type": "application/json"})

    limits = {"requests_per_minute": 1e6, "tokens_per_minute": 1e9}
    section = {
        "model": "m",
        "base_url": "http://x/v1",
        "api_key_env": None,
        "structured": "json_schema",
        "limits": limits,
    }
    settings = load_settings(section)
    requests = [
        Request("qa", f"p{i}", "You write.", f"{i} " + "word " * 200, SCHEMA, "v1", 200)
        for i in range(number)
    ]
    for run in ("first run", "rerun, all from the journal"):
        before = resource.getrusage(resource.RUSAGE_SELF)
        wall = time.monotonic()
        with Session(settings, folder / "qa.jsonl", progress=False) as session:
            session._engine.endpoint = Endpoint(settings, None, httpx2.MockTransport(respond))
            session.complete(requests, accept)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        size = (folder / "qa.jsonl").stat().st_size / 1e6
        print(
            f"{run}: {number} requests, {1000 * cpu / number:.2f} ms CPU and "
            f"{1000 * (time.monotonic() - wall) / number:.2f} ms wall each, peak memory "
            f"{after.ru_maxrss / 1024:.0f} MB (before: {before.ru_maxrss / 1024:.0f}), "
            f"journal {size:.0f} MB",
            flush=True,
        )


def main(argv: list[str] | None = None) -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["rate", "socket", "kills", "cost"])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "rate":
            rate(Path(folder), arguments.requests)
        elif arguments.what == "socket":
            over_socket(Path(folder), arguments.requests)
        elif arguments.what == "kills":
            kills(Path(folder), arguments.kills, arguments.seed)
        else:
            cost(Path(folder), arguments.requests)


if __name__ == "__main__":
    main()
