"""Asking many requests of one endpoint, from an ordinary program.

    with Session(settings, Path("data/generated/journal/qa.jsonl")) as session:
        outcomes = session.complete(requests, check)

Whatever was answered before, in this run or one that was killed, is taken from the journal.
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

TICK_S = 1.0  # the progress line goes on while nothing is answered
SPARE = 0.05  # of a part's requests, see `Session.check_budget`
GRACE_S = 20.0  # for calls under way after SIGTERM; SLURM kills after 30 s


class Stopped(SystemExit):
    """The run was stopped by a signal; what was answered is in the journal."""


class Session:
    """One program's conversation with one endpoint.

    Sessions whose journals share a folder take turns: they share the rate limits, and the budget
    covers all journals of the folder.

    Args:
        settings: `generation.llm`, as `load_settings` returns it.
        journal: the file of answers, made if absent.
        progress: whether to print progress.

    Raises:
        InputError: on entering: a corrupt journal, or one of another format.
    """

    def __init__(self, settings: dict, journal: str | Path, progress: bool = True):
        self.settings, self.path, self.progress = settings, Path(journal), progress
        self._lock = FileLock(self.path.parent / ".lock")
        self._runner = asyncio.Runner()
        self._journal: Journal | None = None
        self._engine: Engine | None = None
        self._line: ProgressLine | None = None  # while something is asked
        self._keys: set[str] = set()  # of all requests of this session

    def __enter__(self) -> Self:
        self._take_lock()
        try:
            self._journal = Journal(self.path)
            others = (one for one in sorted(self.path.parent.glob("*.jsonl")) if one != self.path)
            ledgers = [self._journal.ledger, *(read_ledger(other)[0] for other in others)]
            spent = [ledger.cost() for ledger in ledgers]
            budget = Budget(self.settings["budget"], tuple(map(sum, zip(*spent, strict=True))))
            place = endpoint_id(self.settings["base_url"])
            known = any(place == one for ledger in ledgers for one, *_ in ledger.capabilities)
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
        """Ask what the journal does not answer.

        Args:
            requests: what to ask; equal questions are asked once.
            check: faults of a value that fits the request's schema; [] = none. It is applied to
                journaled answers too. So a stricter check or schema also judges old answers,
                before new ones are bought.
            again: whether this is a further round: each request replaces one of the previous
                call without a usable outcome. Only the progress line uses this.

        Returns:
            One outcome per request, in their order.

        Raises:
            InputError: missing or wrong key, unknown model, an endpoint that is not one, a budget
                smaller than the estimate or used up, nothing answered for too long.
            Stopped: SIGINT or SIGTERM; answers under way were awaited and journaled.
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
                    outcomes[index] = self._own(request, made, check)
        return outcomes

    def _own(self, request: Request, made: dict[str, Outcome], check: Check) -> Outcome:
        """The outcome of a request, where an equal question may have been asked for another."""
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
        """Tokens in and out that requests will cost, if the first answer to each is good."""
        costs = []
        for request in requests:
            payload = self._engine.payload(request, Ask(request.max_tokens), "json_schema")
            costs.append(expected(self._engine.worst_case(payload, request.max_tokens)))
        return sum(cost[0] for cost in costs), sum(cost[1] for cost in costs)

    def check_budget(self, parts: Mapping[Path, list[Request]], spare: float = 0.0) -> None:
        """Refuse work whose parts the budget cannot pay for together, before the first call.

        Args:
            parts: journal → what will be asked there, in the order of the work; or, where that
                quotes earlier answers, requests of about the same size. Those are not found in
                their journal: as many count as answered as answers to the same version of the
                prompt are there, if most of what they quote is answered.
            spare: a part of which all but this share is answered counts as done: people who were
                left out will never be asked about. At least `SPARE`: equal questions are bought
                once. Should something of it be asked all the same, the budget itself still holds.

        Raises:
            InputError: with the estimate; or a corrupt journal.
        """
        total, calls, most = (0, 0), 0, False
        for path, requests in parts.items():
            ledger = self._journal.ledger if path == self.path else read_ledger(path)[0]
            answered = {
                key: tries[0].prompt_version
                for key, tries in ledger.attempts.items()
                if any(one.state == "answered" for one in tries)
            }
            found = sum(self._engine.key(request) in answered for request in requests)
            if not found and most:
                there = Counter(answered.values())
                wanted = Counter(request.prompt_version for request in requests)
                found = (there & wanted).total()
            left = max(0, len(requests) - found)
            most = left <= len(requests) / 2
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
                f"stopped: {len(made)} of {len(requests)} were answered and are kept in "
                f"{self.path}; run again to go on"
            )
            raise
        finally:
            self._line = None
            progress.close(*state())
        return made

    async def _guarded(self, work: Coroutine, show: Callable[[], None]) -> None:
        """Run with signals that stop instead of kill: once gently, twice at once."""
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
            self._say(f"stopping: waiting for {engine.sending} answers (again: drop them)")
        if number == signal.SIGTERM:
            loop.call_later(GRACE_S, engine.drop)

    def _notice_versions(self, requests: list[Request]) -> None:
        """Say so when the journal holds answers to another version of the prompt."""
        now = {request.prompt_version for request in requests}
        parts = {request.part for request in requests}
        others = Counter(
            attempts[-1].prompt_version
            for attempts in self._journal.ledger.attempts.values()
            if attempts[-1].part in parts and attempts[-1].prompt_version not in now
        )
        if others:
            versions = ", ".join(f"{count} of {name}" for name, count in sorted(others.items()))
            self._say(
                f"{self.path}: answers to another version of the prompt ({versions}); this one is "
                f"{', '.join(sorted(now))}: {len(requests)} requests are bought"
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
        """Totals of the journal: the same for the same journal."""
        ledger = self._journal.ledger
        attempts = [one for tries in ledger.attempts.values() for one in tries]
        billed = [one for one in attempts if one.state == "answered" and one.billed != (0, 0)]
        unknown = [
            one
            for one in attempts
            if one.state == "unknown" or (one.state == "answered" and one.billed is None)
        ]
        tokens_in, tokens_out = ledger.cost()
        verdicts = Counter(ledger.verdicts.values())
        own = {} if self._engine.sends_temperature else {"temperature": "the model's own"}
        return own | {
            "requests": sum(tries[0].part != "probe" for tries in ledger.attempts.values()),
            "attempts": len(attempts),
            "billed_answers": len(billed),
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "usd": round(self._engine.budget.prices.usd((tokens_in, tokens_out)), 6),
            "unknown": len(unknown),
            "failed_attempts": ledger.errors,
            "asked_again": sum(one.again for one in attempts),
            **{
                status: verdicts[status]
                for status in ("ok", "repaired", "refused", "invalid", "unavailable")
            },
            "rungs": dict(sorted(Counter(one.rung for one in billed).items())),
            "answered_by": dict(sorted(Counter(one.model or "no name" for one in billed).items())),
        }

    def _say(self, line: str) -> None:
        say(line, self._line)


async def _every(seconds: float, act: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        act()
