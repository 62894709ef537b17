"""Send many requests to one endpoint, from a synchronous program.

    with Session(settings, Path("data/generated/journal/qa.jsonl")) as session:
        outcomes = session.complete(requests, check)

Earlier answers, also those of a run that was killed, are taken from the journal.
"""

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from excise.errors import InputError
from excise.llm.budget import Budget, Cost, expected
from excise.llm.endpoint import Endpoint, read_key
from excise.llm.engine import Engine
from excise.llm.journal import Journal, read_ledger
from excise.llm.progress import ProgressLine, say
from excise.llm.requests import Outcome, Request, endpoint_id
from excise.llm.steps import Ask, Check

TICK_S = 1.0  # interval of progress updates without new answers
SPARE = 0.05  # of a part's requests, see `Session.check_budget`
GRACE_S = 20.0  # for calls in flight after SIGTERM; SLURM kills after 30 s


class Stopped(SystemExit):
    """A signal stopped the run. The journal keeps all answers."""


class Session:
    """The requests of one program to one endpoint.

    Sessions with journals in the same folder run one after the other, because they share the rate
    limits. The budget covers all journals of the folder.

    Args:
        settings: `generation.llm`, as `load_settings` returns it.
        journal: the journal file; it is created if needed.
        progress: whether to print progress.

    Raises:
        InputError: on entering, if the journal is corrupt or has another format.
    """

    def __init__(self, settings: dict, journal: str | Path, progress: bool = True):
        self.settings, self.path, self.progress = settings, Path(journal), progress
        self._lock = FileLock(self.path.parent / ".lock")
        self._runner = asyncio.Runner()
        self._journal: Journal | None = None
        self._engine: Engine | None = None
        self._line: ProgressLine | None = None  # while requests are running
        self._keys: set[str] = set()  # of all requests of this session

    def __enter__(self) -> Self:
        self._take_lock()
        try:
            self._journal = Journal(self.path)
            paths = sorted(self.path.parent.glob("*.jsonl"))
            other_ledgers = (read_ledger(path)[0] for path in paths if path != self.path)
            ledgers = [self._journal.ledger, *other_ledgers]
            spent = [ledger.cost() for ledger in ledgers]
            budget = Budget(self.settings["budget"], tuple(map(sum, zip(*spent, strict=True))))
            place = endpoint_id(self.settings["base_url"])
            known = any(
                endpoint == place for ledger in ledgers for endpoint, *_ in ledger.capabilities
            )
            self._engine = Engine(self.settings, self._journal, budget, say=self._say, known=known)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _take_lock(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0.5)
            except Timeout:
                self._say(f"waiting for another program that uses {self.path.parent}")
                self._lock.acquire()
        except OSError as error:
            raise InputError(f"{self.path}: cannot write here ({error.strerror})") from error

    def _close(self) -> None:
        try:
            if self._engine is not None and self._engine.endpoint is not None:
                self._runner.run(self._engine.endpoint.close())
            self._runner.close()
            if self._journal is not None:
                self._journal.close()
        finally:
            self._lock.release()

    def complete(self, requests: list[Request], check: Check, again: bool = False) -> list[Outcome]:
        """Send the requests that the journal does not answer.

        Args:
            requests: the requests; equal ones are sent once.
            check: finds faults in a value that fits the request's schema; [] means none. It also
                judges journaled answers, before new ones are bought.
            again: whether this is a further round, in which each request replaces one without a
                usable outcome. Only the progress line uses this.

        Returns:
            One outcome per request, in their order.

        Raises:
            InputError: missing or wrong key, unknown model, wrong endpoint, too small a budget, or
                no answer for too long.
            Stopped: SIGINT or SIGTERM; calls in flight were awaited and journaled.
        """
        engine = self._engine
        outcomes: list[Outcome | None] = []
        open_requests: dict[str, Request] = {}
        keys = [engine.key(request) for request in requests]
        engine.tally.begin(len(set(keys)), again)
        self._keys.update(keys)
        known: dict[str, Outcome] = {}
        for key, request in zip(keys, requests, strict=True):
            step = engine.step(request, check)
            if isinstance(step, Ask):
                open_requests.setdefault(key, request)
            else:
                self._journal.verdict(key, step.status, step.errors)
                known.setdefault(key, step)
            outcomes.append(None if isinstance(step, Ask) else step)
        for step in known.values():
            engine.tally.settle(step)
        if open_requests:
            self._notice_versions(list(open_requests.values()))
            made = self._ask(list(open_requests.values()), check)
            for index, request in enumerate(requests):
                if outcomes[index] is None:
                    outcomes[index] = self._outcome_of(request, made, check)
        return outcomes

    def _outcome_of(self, request: Request, made: dict[str, Outcome], check: Check) -> Outcome:
        """The outcome of a request, also if an equal request was sent instead."""
        outcome = made[self._engine.key(request)]
        if outcome.request is request:
            return outcome
        step = self._engine.step(request, check)
        if isinstance(step, Ask):
            return Outcome(request, outcome.status, None, outcome.errors)
        return step

    @property
    def model_and_endpoint(self) -> str:
        """The model and the id of its endpoint, without secrets."""
        return f"{self._engine.model} at {self._engine.endpoint_id}"

    def estimate(self, requests: list[Request]) -> Cost:
        """Expected tokens in and out of requests, if each first answer is good."""
        costs = []
        for request in requests:
            payload = self._engine.payload(request, Ask(request.max_tokens), "json_schema")
            costs.append(expected(self._engine.worst_case(payload, request.max_tokens)))
        return sum(cost[0] for cost in costs), sum(cost[1] for cost in costs)

    def check_budget(self, parts: Mapping[Path, list[Request]], spare: float = 0.0) -> None:
        """Check before the first call that the budget covers all parts together.

        Some requests quote earlier answers, so their exact text is not known yet. Then requests of
        about the same size stand for them. The journal does not contain these. If most of the
        previous part is answered, they are matched with answers to the same version of the prompt.

        Args:
            parts: journal → its requests, in the order of the work.
            spare: a part with at most this share of open requests counts as done, because people
                who were left out need no further requests. The share is at least `SPARE`, because
                equal requests are bought once. The budget itself still limits all calls.

        Raises:
            InputError: the budget is too small (the message gives the estimate), or a journal is
                corrupt.
        """
        total, calls, mostly_answered = (0, 0), 0, False
        for path, requests in parts.items():
            ledger = self._journal.ledger if path == self.path else read_ledger(path)[0]
            answered = {
                key: tries[0].prompt_version
                for key, tries in ledger.attempts.items()
                if any(attempt.state == "answered" for attempt in tries)
            }
            found = sum(self._engine.key(request) in answered for request in requests)
            if not found and mostly_answered:
                bought = Counter(answered.values())
                needed = Counter(request.prompt_version for request in requests)
                found = (bought & needed).total()
            left = max(0, len(requests) - found)
            mostly_answered = left <= len(requests) / 2
            if left <= max(spare, SPARE) * len(requests):
                continue
            tokens_in, tokens_out = self.estimate(requests)
            share = left / len(requests)
            total = round(total[0] + share * tokens_in), round(total[1] + share * tokens_out)
            calls += left
        if calls:
            self._engine.budget.check_estimate(total, calls)

    def _ask(self, requests: list[Request], check: Check) -> dict[str, Outcome]:
        engine = self._engine
        engine.budget.check_estimate(self.estimate(requests), len(requests))
        if engine.endpoint is None:
            engine.endpoint = Endpoint(self.settings, read_key(self.settings))
            self._journal.secret = engine.endpoint.key
        made: dict[str, Outcome] = {}
        progress = ProgressLine(requests[0].part, engine.tally, self.progress)
        self._line = progress

        def state() -> tuple[int, int, float, float | None]:
            spent = engine.budget.spent
            return engine.sending, sum(spent), engine.budget.prices.usd(spent), away()

        def away() -> float | None:
            since = engine.outage.since
            return None if since is None else self._runner.get_loop().time() - since

        def show() -> None:
            progress.update(*state())

        def done(request: Request, outcome: Outcome) -> None:
            made[engine.key(request)] = outcome
            engine.tally.settle(outcome)
            show()

        try:
            self._runner.run(self._guarded(engine.run(requests, check, done), show))
        except Stopped:
            self._say(
                f"stopped: {self.path} keeps {len(made)} of {len(requests)} answers; run again to "
                "continue"
            )
            raise
        finally:
            self._line = None
            progress.close(*state())
        return made

    async def _guarded(self, work: Coroutine, show: Callable[[], None]) -> None:
        """Run with signal handlers: a first signal awaits calls in flight, a second drops them."""
        loop = asyncio.get_running_loop()
        caught = [signal.SIGINT, signal.SIGTERM]
        if threading.current_thread() is not threading.main_thread():
            caught = []
        for number in caught:
            loop.add_signal_handler(number, self._stop, number, loop)
        ticking = asyncio.create_task(_every(TICK_S, show))
        try:
            await work
        finally:
            ticking.cancel()
            for number in caught:
                loop.remove_signal_handler(number)

    def _stop(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        engine = self._engine
        if isinstance(engine.stop_reason, Stopped):
            engine.drop()
            return
        engine.stop(Stopped(128 + number))
        if engine.sending:
            self._say(
                f"stopping: waiting for {engine.sending} answers (a second signal drops them)"
            )
        if number == signal.SIGTERM:
            loop.call_later(GRACE_S, engine.drop)

    def _notice_versions(self, requests: list[Request]) -> None:
        """Print a line if the journal holds answers to another version of the prompt."""
        current = {request.prompt_version for request in requests}
        parts = {request.part for request in requests}
        others = Counter(
            attempts[-1].prompt_version
            for attempts in self._journal.ledger.attempts.values()
            if attempts[-1].part in parts and attempts[-1].prompt_version not in current
        )
        if others:
            versions = ", ".join(f"{count} of {name}" for name, count in sorted(others.items()))
            self._say(
                f"{self.path}: answers to another version of the prompt ({versions}); this one is "
                f"{', '.join(sorted(current))}: {len(requests)} requests are bought"
            )

    def cost(self) -> tuple[int, Cost]:
        """Cost of this session's requests, including earlier runs: attempts, tokens in and out."""
        attempts = [attempt for key in self._keys for attempt in self._journal.history(key)]
        costs = [attempt.cost() for attempt in attempts]
        return len(attempts), (sum(cost[0] for cost in costs), sum(cost[1] for cost in costs))

    def usd(self, cost: Cost) -> float:
        """The price of tokens in and out, from `generation.llm.budget`."""
        return self._engine.budget.prices.usd(cost)

    def usage(self) -> dict:
        """Totals of the journal; they depend on the journal alone."""
        ledger = self._journal.ledger
        attempts = [attempt for tries in ledger.attempts.values() for attempt in tries]
        answered = [attempt for attempt in attempts if attempt.state == "answered"]
        billed = [attempt for attempt in answered if attempt.billed != (0, 0)]
        unknown = sum(attempt.state == "unknown" for attempt in attempts)
        unknown += sum(attempt.billed is None for attempt in answered)
        tokens_in, tokens_out = ledger.cost()
        verdicts = Counter(ledger.verdicts.values())
        temperature = {} if self._engine.sends_temperature else {"temperature": "the model's own"}
        return temperature | {
            "requests": sum(tries[0].part != "probe" for tries in ledger.attempts.values()),
            "attempts": len(attempts),
            "billed_answers": len(billed),
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "usd": round(self._engine.budget.prices.usd((tokens_in, tokens_out)), 6),
            "unknown": unknown,
            "failed_attempts": ledger.errors,
            "asked_again": sum(attempt.again for attempt in attempts),
            **{
                status: verdicts[status]
                for status in ("ok", "repaired", "refused", "invalid", "unavailable")
            },
            "rungs": dict(sorted(Counter(attempt.rung for attempt in billed).items())),
            "answered_by": dict(
                sorted(Counter(attempt.model or "no name" for attempt in billed).items())
            ),
        }

    def _say(self, line: str) -> None:
        say(line, self._line)


async def _every(seconds: float, act: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        act()
