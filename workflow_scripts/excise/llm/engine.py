"""The asynchronous part of a session: many requests at once, each carried to its end."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from excise.errors import InputError
from excise.llm import capability
from excise.llm.answering import is_same_model
from excise.llm.budget import Budget, Cost, worst_case
from excise.llm.endpoint import Endpoint, Response
from excise.llm.headers import rate_limits
from excise.llm.in_flight import Breaker
from excise.llm.journal import Attempt, Journal
from excise.llm.outage import Outage
from excise.llm.pacing import Pacer
from excise.llm.replies import Reply, classify
from excise.llm.requests import OPENAI_URL, Outcome, Request, endpoint_id, request_key
from excise.llm.retrying import TryAgainError, retrying
from excise.llm.steps import Ask, Check, next_step
from excise.llm.tally import FIRST_REPLIES, Tally

TOKEN_NAMES = ("max_tokens", "max_completion_tokens")
ANSWERS = ("ok", "repair", "longer", "resample", "rejected")


class StoppingError(Exception):
    """The run is ending; this request goes no further."""


class LowerRungError(Exception):
    """The endpoint does not take `response_format` the way it was sent."""


class Engine:
    """Sends requests, each attempt journaled, paced, budgeted and classified.

    Args:
        settings: `generation.llm`, checked.
        journal: open for writing.
        budget: with what was spent before.
        endpoint: where to; None until there is something to send.
        say: prints a line for the user.
        known: the endpoint has answered for this dataset before. If so, the engine waits when it
            does not answer; otherwise the address may be wrong, and the run ends at once.
    """

    def __init__(
        self,
        settings: dict,
        journal: Journal,
        budget: Budget,
        endpoint: Endpoint | None = None,
        say: Callable[[str], None] = print,
        known: bool = False,
    ):
        self.settings, self.journal, self.budget = settings, journal, budget
        self.endpoint = endpoint
        self.model = settings["model"]
        self.endpoint_id = endpoint_id(settings["base_url"])
        self.pacer = Pacer(settings["limits"], settings["adaptation"])
        breaker_s = settings["adaptation"]["breaker_s"]
        self.breaker = Breaker(breaker_s)
        self.outage = Outage(settings["retry"]["max_wait_s"], breaker_s, say)
        self.tally, self.say, self.known = Tally(), say, known
        fixed = settings["structured"] if settings["structured"] != "auto" else None
        self.rung = fixed or self._remembered("rung")
        usual = TOKEN_NAMES[settings["base_url"] in (None, OPENAI_URL)]
        self.token_name = self._remembered("token_name") or usual
        self._other_name_tried = False
        self.sends_temperature = self._remembered("temperature") is None
        self.reached = False  # the endpoint has answered as an API does
        self.stop_reason: BaseException | None = None
        self._unhonoured = 0
        self._models: set[str] = set()  # model names in the answers of this run
        self._sending: set[asyncio.Task] = set()
        self._workers: list[asyncio.Task] = []

    def _remembered(self, name: str) -> str | None:
        """Facts found out about the endpoint, in this run or an earlier one."""
        return self.journal.ledger.capabilities.get((self.endpoint_id, self.model, name))

    @property
    def sending(self) -> int:
        """Calls under way."""
        return len(self._sending)

    def step(self, request: Request, check: Check) -> Outcome | Ask:
        """What the journal makes of a request."""
        key = self.key(request)
        answered = (one for one in self.journal.history(key) if one.state == "answered")
        answers = ((one, self._reply(one)) for one in answered)
        return next_step(request, answers, check, self.settings["retry"]["longer_max"])

    def key(self, request: Request) -> str:
        """The journal's key of a request."""
        return request_key(request, self.endpoint_id, self.model, self.settings["extra_body"])

    def payload(self, request: Request, ask: Ask, rung: str) -> dict:
        """The body of a call."""
        return capability.payload(
            request,
            rung,
            self.model,
            ask.limit,
            self.token_name,
            ask.error,
            self.sends_temperature,
            ask.said,
        )

    def worst_case(self, payload: dict, limit: int) -> Cost:
        """The most a call can cost."""
        return worst_case(payload, limit, self.settings["extra_body"])

    def _reply(self, attempt: Attempt) -> Reply:
        status, body = self.journal.body(attempt)
        return classify(status, {}, body)

    async def run(
        self, requests: list[Request], check: Check, done: Callable[[Request, Outcome], None]
    ) -> None:
        """Carry every request to its outcome; `done` is told each one.

        Raises:
            InputError: the endpoint, the key, the model or the budget ends the run. Calls under
                way are awaited and journaled first.
            Stopped: by a signal, likewise.
        """
        self.stop_reason = None
        queue = deque(requests)
        await self._crew(1, deque([None]), check, done)
        if not self.reached:  # one call alone shows what all would meet: key, model, limits
            await self._crew(1, deque([queue.popleft()]), check, done)
        await self._crew(2 * self.settings["limits"]["max_in_flight"], queue, check, done)

    async def _crew(self, size: int, queue: deque, check: Check, done: Callable) -> None:
        """Empty a queue with several workers: more than may send, as some wait to try again."""
        self._workers = [
            asyncio.create_task(self._work(queue, check, done))
            for _ in range(min(len(queue), size))
        ]
        pending = set(self._workers)
        while pending:
            finished, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                if not task.cancelled() and task.exception() is not None:
                    self.stop(task.exception())
        if self.stop_reason is not None:
            raise self.stop_reason

    async def _work(self, queue: deque, check: Check, done: Callable) -> None:
        """Work off a queue of requests; None stands for the question of the rung."""
        while queue and self.stop_reason is None:
            request = queue.popleft()
            try:
                if request is None:
                    await self._settle_rung()
                else:
                    done(request, await self._answer(request, check))
            except StoppingError:
                return

    def stop(self, reason: BaseException) -> None:
        """Send nothing more; calls under way are awaited, because they are paid for."""
        if self.stop_reason is None:
            self.stop_reason = reason
        for task in self._workers:
            if task not in self._sending:
                task.cancel()

    def drop(self) -> None:
        """Give up the calls under way as well; each then counts at its worst case."""
        for task in self._workers:
            task.cancel()

    async def _answer(self, request: Request, check: Check) -> Outcome:
        key = self.key(request)
        while isinstance(step := self.step(request, check), Ask):
            if self.stop_reason is not None:
                raise StoppingError
            self.tally.asked_again += step.error is not None
            try:
                await self._ask(key, request, step)
            except TryAgainError as failure:
                step = Outcome(request, "unavailable", None, [str(failure)])
                break
            except LowerRungError as refusal:
                self._lower(str(refusal))
                continue
            self._judged(request, check)
        self.journal.verdict(key, step.status, step.errors)
        return step

    def _judged(self, request: Request, check: Check) -> None:
        """Count the newest reply; after the first ten, report how many were accepted."""
        attempt = self.journal.history(self.key(request))[-1]
        if self.tally.replies >= FIRST_REPLIES or attempt.state != "answered":
            return
        if self.tally.reply(self._reply(attempt).kind, self.step(request, check)):
            self.say(f"{request.part}: {self.tally.first_replies(attempt.rung)}")

    async def _ask(self, key: str, request: Request, ask: Ask, rung: str | None = None) -> None:
        await retrying(self.settings["retry"])(self._attempt, key, request, ask, rung)

    async def _attempt(self, key: str, request: Request, ask: Ask, rung: str | None) -> None:
        """Send once. Returns when something was journaled that `next_step` can use."""
        tries = await self.outage.wait()
        try:
            await self._send_one(key, request, ask, rung)
        finally:
            if tries:
                self.outage.tried()

    async def _send_one(self, key: str, request: Request, ask: Ask, rung: str | None) -> None:
        rung = rung or self.rung
        payload = self.payload(request, ask, rung)
        worst = self.worst_case(payload, ask.limit)
        number = max((one.number for one in self.journal.history(key)), default=0) + 1
        attempt = Attempt(
            number, request.part, rung, ask.limit, ask.error is not None, request.prompt_version,
            *worst, state="unbilled",
        )  # fmt: skip
        await self.budget.reserve(worst)
        try:
            charged = await self.pacer.enter(sum(worst))
            task = asyncio.current_task()
            self._sending.add(task)
            try:
                response, seconds = await self._send(key, request, attempt, payload)
                reply = self._record(key, attempt, response, seconds)
            finally:
                self._sending.discard(task)
                self.pacer.leave(charged, sum(worst), sum(attempt.cost()))
        finally:
            self.budget.settle(worst, attempt.cost())
        self._react(request, attempt, payload, response, reply)

    async def _send(
        self, key: str, request: Request, attempt: Attempt, payload: dict
    ) -> tuple[Response, float]:
        attempt.state = "unknown"
        self.journal.request(key, request.subject, attempt)
        start = time.monotonic()
        response = await self.endpoint.post(payload, f"{key[:32]}-{attempt.number}")
        return response, time.monotonic() - start

    def _record(self, key: str, attempt: Attempt, response: Response, seconds: float) -> Reply:
        """Journal what came back; a paid body before anything parses it."""
        if response.status == 200:
            name = response.headers.get("x-request-id", "")
            text = self.journal.answer(key, attempt, 200, response.body, name, seconds)
            return classify(200, response.headers, text)
        if response.status == 0:
            told = response.message
            told = told if response.sent else f"cannot connect to {self.endpoint.host} ({told})"
            reply = Reply("unknown" if response.sent else "retry", message=told)
        else:
            text = self.endpoint.shown(response.body.decode("utf-8", errors="replace"))
            reply = classify(response.status, response.headers, text)
            if reply.kind in ANSWERS:  # unpaid, but an answer: not to be asked again
                self.journal.answer(key, attempt, response.status, response.body, "", seconds)
                return reply
        # Some servers quote a rejected key, with stars in the middle: none of it is kept.
        told = f"HTTP {response.status}" if response.status in (401, 403) else reply.message
        self.journal.error(key, attempt, reply.kind, response.status or None, reply.wait_s, told)
        return reply

    def _react(
        self, request: Request, attempt: Attempt, payload: dict, response: Response, reply: Reply
    ) -> None:
        if response.status:
            self.pacer.observe(rate_limits(response.headers))
        if response.status and not response.away:
            self.outage.back(self.endpoint.host)
        if reply.kind in ANSWERS:
            self._succeeded(request, attempt, reply)
            return
        if not self.reached:
            if response.tls or not (response.sent or self.known):
                raise self.endpoint.unreachable(response)
            if reply.html and response.status == 200:
                raise self.endpoint.fatal(response.status, reply)
        if reply.kind == "lower_rung":
            if self.settings["structured"] != "auto" or attempt.rung == "prompt":
                raise InputError(
                    f"generation.llm.structured: {self.endpoint.host} does not take "
                    f"{attempt.rung} ({self.endpoint.shown(reply.message)}); use auto"
                )
            self._unless_stopping()
            raise LowerRungError(f"{attempt.rung}\n{reply.message}")
        if reply.kind in ("token_name", "temperature"):
            self._other_parameters(payload, response.status, reply)
            return
        if reply.kind == "fatal":
            raise self.endpoint.fatal(response.status, reply)
        self._failed(response, reply)

    def _succeeded(self, request: Request, attempt: Attempt, reply: Reply) -> None:
        self.reached = True
        self._notice_model(attempt)
        self.breaker.succeeded()
        self.pacer.succeeded()
        if reply.kind in ("ok", "repair", "longer") and request.part != "probe":
            if reply.kind == "longer" and not reply.text.strip():
                return  # cut off while it was thinking: that says nothing
            if reply.kind == "longer":  # cut off, it can be judged by its beginning alone
                honoured = attempt.rung == "prompt" or reply.text.lstrip().startswith("{")
            else:
                honoured = capability.honoured(attempt.rung, reply.text, request.schema)
            self._unhonoured = 0 if honoured else self._unhonoured + 1
            if self._unhonoured >= capability.UNHONOURED_MAX and attempt.rung == self.rung:
                self._lower(f"{attempt.rung}\nreplies do not honour it")

    def _notice_model(self, attempt: Attempt) -> None:
        """Warn if the answering model differs from the requested one, or from earlier answers."""
        name, before = attempt.model or "", self._remembered("model")
        if name == before or name in self._models:
            return
        self._models.add(name)
        if name and before:
            self.say(
                f"{attempt.part}: the answers now come from {name!r}; earlier ones came from "
                f"{before!r}, so two models write one part of the benchmark"
            )
        elif name and not is_same_model(self.model, name):
            self.say(
                f"{attempt.part}: {self.endpoint.host} answers as {name!r}; requested was "
                f"{self.model!r} (generation.llm.model); the report gives both names"
            )
        if name or before is None:
            self._found("model", name, "the name that answers bear")

    def _failed(self, response: Response, reply: Reply) -> None:
        """Something that may pass."""
        message = self.endpoint.shown(reply.message)
        self.reached |= response.status not in (0, 200) and not reply.html
        self.breaker.failed(message, reply.wait_s)
        longest = self.settings["retry"]["honor_retry_after_s"]
        if reply.wait_s is not None and reply.wait_s > longest:
            raise InputError(
                f"generation.llm: {self.endpoint.host} asks to wait {reply.wait_s:.0f} s "
                f"(retry.honor_retry_after_s: {longest:g}): {message}; the answers so far are "
                "kept: run again later"
            )
        if reply.rate_limited:
            self.pacer.refused(reply.wait_s)
        self._unless_stopping()
        first = response.away and self.outage.away(message, refused=not response.sent)
        away = response.away and not first and (self.reached or self.known)
        raise TryAgainError(message, reply.wait_s, reply.rate_limited, away)

    def _unless_stopping(self) -> None:
        if self.stop_reason is not None:
            raise StoppingError

    def _other_parameters(self, payload: dict, status: int, reply: Reply) -> None:
        """OpenAI's reasoning models call `max_tokens` otherwise, and take no temperature."""
        if reply.kind == "temperature":
            if "temperature" not in payload:
                raise self.endpoint.fatal(status, reply)
            if self.sends_temperature:  # else another call has found it out meanwhile
                self.sends_temperature = False
                self._found("temperature", "omitted", reply.message)
        elif self.token_name in payload:
            if self._other_name_tried:
                raise self.endpoint.fatal(status, reply)
            self._other_name_tried = True  # findings of an earlier run may be outdated
            self.token_name = TOKEN_NAMES[1 - TOKEN_NAMES.index(self.token_name)]
            self._found("token_name", self.token_name, reply.message)

    def _lower(self, why: str) -> None:
        """Go down a rung, unless another request has already done so; `why` begins with it."""
        rung, _, message = why.partition("\n")
        if self.settings["structured"] == "auto" and rung == self.rung != "prompt":
            self._unhonoured = 0
            self.rung = capability.lower(rung)
            self._found("rung", self.rung, message)

    def _found(self, name: str, value: str, why: str) -> None:
        self.journal.capability(self.endpoint_id, self.model, name, value, why)

    async def _settle_rung(self) -> None:
        """Find the highest rung that the endpoint enforces, once per journal."""
        if self.rung is not None:
            return
        for rung, probe in capability.PROBES.items():
            if await self._probe(rung, probe):
                self.rung = rung
                self._found("rung", rung, "the probe's reply was enforced")
                return
        self.rung = "prompt"
        self._found("rung", "prompt", "response_format is refused or ignored")

    async def _probe(self, rung: str, probe: Request) -> bool:
        key, limit = self.key(probe), probe.max_tokens
        highest = limit * 2 ** self.settings["retry"]["longer_max"]
        while True:
            answered = [one for one in self.journal.history(key) if one.state == "answered"]
            replies = [
                (one.limit, reply)
                for one in answered
                if (reply := self._reply(one)).kind in ANSWERS
            ]
            if replies:
                limit, reply = 2 * replies[-1][0], replies[-1][1]
                if reply.kind != "longer":
                    return capability.enforced(rung, reply.text)
                if reply.text.strip() or limit > highest:  # an object at least begins like one
                    return reply.text.lstrip().startswith("{")
                # Cut off while it was thinking: that says nothing, it gets more room.
            try:
                await self._ask(key, probe, Ask(limit), rung)
            except LowerRungError:
                return False
            except TryAgainError as failure:
                raise self.endpoint.failing(str(failure)) from failure
