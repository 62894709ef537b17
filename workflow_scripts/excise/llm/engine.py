"""The asynchronous part of a session: it carries many requests to their outcomes at once."""

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
    """The run is ending, so this request is not continued."""


class LowerRungError(Exception):
    """The endpoint does not accept `response_format` as it was sent."""


class Engine:
    """Sends requests; each attempt is journaled, paced, budgeted and classified.

    Args:
        settings: `generation.llm`, checked.
        journal: the journal, open for writing.
        budget: the budget, with earlier spending.
        endpoint: the endpoint; None until there is something to send.
        say: prints a line for the user.
        known: the endpoint has answered for this dataset before. Then the engine waits for an
            absent endpoint. Otherwise the address may be wrong, and the run ends at once.
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
        """A finding about the endpoint, from this run or an earlier one."""
        return self.journal.ledger.capabilities.get((self.endpoint_id, self.model, name))

    @property
    def sending(self) -> int:
        """Number of calls in flight."""
        return len(self._sending)

    def step(self, request: Request, check: Check) -> Outcome | Ask:
        """The next step of a request, according to the journal."""
        key = self.key(request)
        answered = (attempt for attempt in self.journal.history(key) if attempt.state == "answered")
        answers = ((attempt, self._reply(attempt)) for attempt in answered)
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
            ask.previous_reply,
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
        """Carry every request to its outcome, and call `done` with each outcome.

        Raises:
            InputError: the endpoint, the key, the model or the budget ends the run. Calls in
                flight are awaited and journaled first.
            Stopped: a signal ends the run in the same way.
        """
        self.stop_reason = None
        queue = deque(requests)
        await self._crew(1, deque([None]), check, done)
        if not self.reached:  # one call first, to test key, model and limits
            await self._crew(1, deque([queue.popleft()]), check, done)
        await self._crew(2 * self.settings["limits"]["max_in_flight"], queue, check, done)

    async def _crew(self, size: int, queue: deque, check: Check, done: Callable) -> None:
        """Process a queue with several workers; some of them may wait for a retry."""
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
        """Process a queue of requests; None stands for the probe of the rungs."""
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
        """Start no further calls; await calls in flight, because they are paid for."""
        if self.stop_reason is None:
            self.stop_reason = reason
        for task in self._workers:
            if task not in self._sending:
                task.cancel()

    def drop(self) -> None:
        """Cancel the calls in flight, too; each then counts at its worst case."""
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
            self._count_reply(request, check)
        self.journal.verdict(key, step.status, step.errors)
        return step

    def _count_reply(self, request: Request, check: Check) -> None:
        """Count the newest reply; after the first ten, print how many were accepted."""
        attempt = self.journal.history(self.key(request))[-1]
        if self.tally.replies >= FIRST_REPLIES or attempt.state != "answered":
            return
        if self.tally.count_reply(self._reply(attempt).kind, self.step(request, check)):
            self.say(f"{request.part}: {self.tally.first_replies(attempt.rung)}")

    async def _ask(self, key: str, request: Request, ask: Ask, rung: str | None = None) -> None:
        await retrying(self.settings["retry"])(self._attempt, key, request, ask, rung)

    async def _attempt(self, key: str, request: Request, ask: Ask, rung: str | None) -> None:
        """Send once; return after `next_step` has something new in the journal."""
        is_trial = await self.outage.wait()
        try:
            await self._send_one(key, request, ask, rung)
        finally:
            if is_trial:
                self.outage.trial_ended()

    async def _send_one(self, key: str, request: Request, ask: Ask, rung: str | None) -> None:
        rung = rung or self.rung
        payload = self.payload(request, ask, rung)
        worst = self.worst_case(payload, ask.limit)
        number = max((earlier.number for earlier in self.journal.history(key)), default=0) + 1
        attempt = Attempt(
            number, request.part, rung, ask.limit, ask.error is not None, request.prompt_version,
            *worst, state="unbilled",
        )  # fmt: skip
        await self.budget.reserve(worst)
        try:
            charged = await self.pacer.enter(sum(worst))
            task = asyncio.current_task()
            self._sending.add(task)
            sent = self.outage.clock()
            try:
                response, seconds = await self._send(key, request, attempt, payload)
                reply = self._record(key, attempt, response, seconds)
            finally:
                self._sending.discard(task)
                self.pacer.leave(charged, sum(worst), sum(attempt.cost()))
        finally:
            self.budget.settle(worst, attempt.cost())
        if response.status and not response.away:
            self.outage.ended(self.endpoint.host, sent)
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
        """Journal a response; a paid body comes first, before it is parsed."""
        if response.status == 200:
            name = response.headers.get("x-request-id", "")
            text = self.journal.answer(key, attempt, 200, response.body, name, seconds)
            return classify(200, response.headers, text)
        if response.status == 0:
            message = response.message
            if not response.sent:
                message = f"cannot connect to {self.endpoint.host} ({message})"
            reply = Reply("unknown" if response.sent else "retry", message=message)
        else:
            text = self.endpoint.shown(response.body.decode("utf-8", errors="replace"))
            reply = classify(response.status, response.headers, text)
            if reply.kind in ANSWERS:  # an unpaid answer: not to be asked again
                self.journal.answer(key, attempt, response.status, response.body, "", seconds)
                return reply
        # Some servers quote parts of a rejected key, so their message is not kept.
        rejected_key = response.status in (401, 403)
        message = f"HTTP {response.status}" if rejected_key else reply.message
        self.journal.error(key, attempt, reply.kind, response.status or None, reply.wait_s, message)
        return reply

    def _react(
        self, request: Request, attempt: Attempt, payload: dict, response: Response, reply: Reply
    ) -> None:
        if response.status:
            self.pacer.observe(rate_limits(response.headers))
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
                    f"generation.llm.structured: {self.endpoint.host} does not accept "
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
                return  # cut off during thinking: this shows nothing
            if reply.kind == "longer":  # cut off: only the beginning can be judged
                honoured = attempt.rung == "prompt" or reply.text.lstrip().startswith("{")
            else:
                honoured = capability.honoured(attempt.rung, reply.text, request.schema)
            self._unhonoured = 0 if honoured else self._unhonoured + 1
            if self._unhonoured >= capability.UNHONOURED_MAX and attempt.rung == self.rung:
                self._lower(f"{attempt.rung}\nreplies do not honour it")

    def _notice_model(self, attempt: Attempt) -> None:
        """Warn if the answering model differs from the requested one or from earlier answers."""
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
            self._found("model", name, "model name in the answers")

    def _failed(self, response: Response, reply: Reply) -> None:
        """Handle a failure after which another attempt may succeed."""
        message = self.endpoint.shown(reply.message)
        self.reached |= response.status not in (0, 200) and not reply.html
        self.breaker.failed(message, reply.wait_s)
        longest = self.settings["retry"]["honor_retry_after_s"]
        if reply.wait_s is not None and reply.wait_s > longest:
            raise InputError(
                f"generation.llm: {self.endpoint.host} asks to wait {reply.wait_s:.0f} s "
                f"(retry.honor_retry_after_s: {longest:g}): {message}; all answers are kept: "
                "run again later"
            )
        if reply.rate_limited:
            self.pacer.refused(reply.wait_s)
        self._unless_stopping()
        first = response.away and self.outage.away(message, refused=not response.sent)
        # A request that was never sent is not at fault, so a refused connection uses no attempt.
        spared = not (first and response.sent)
        away = response.away and spared and (self.reached or self.known)
        raise TryAgainError(message, reply.wait_s, reply.rate_limited, away)

    def _unless_stopping(self) -> None:
        if self.stop_reason is not None:
            raise StoppingError

    def _other_parameters(self, payload: dict, status: int, reply: Reply) -> None:
        """Adapt to models with another name for `max_tokens`, or without a temperature."""
        if reply.kind == "temperature":
            if "temperature" not in payload:
                raise self.endpoint.fatal(status, reply)
            if self.sends_temperature:  # else another call has already found this
                self.sends_temperature = False
                self._found("temperature", "omitted", reply.message)
        elif self.token_name in payload:
            if self._other_name_tried:
                raise self.endpoint.fatal(status, reply)
            self._other_name_tried = True  # a finding of an earlier run may be outdated
            self.token_name = TOKEN_NAMES[1 - TOKEN_NAMES.index(self.token_name)]
            self._found("token_name", self.token_name, reply.message)

    def _lower(self, why: str) -> None:
        """Go down a rung, unless another request has done so; `why` begins with the rung."""
        rung, _, message = why.partition("\n")
        if self.settings["structured"] == "auto" and rung == self.rung != "prompt":
            self._unhonoured = 0
            self.rung = capability.next_rung(rung)
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
            replies = [
                (attempt.limit, reply)
                for attempt in self.journal.history(key)
                if attempt.state == "answered" and (reply := self._reply(attempt)).kind in ANSWERS
            ]
            if replies:
                limit, reply = 2 * replies[-1][0], replies[-1][1]
                if reply.kind != "longer":
                    return capability.enforced(rung, reply.text)
                if reply.text.strip() or limit > highest:  # a cut object still begins like one
                    return reply.text.lstrip().startswith("{")
                # Cut off during thinking: this shows nothing, so the limit doubles.
            try:
                await self._ask(key, probe, Ask(limit), rung)
            except LowerRungError:
                return False
            except TryAgainError as failure:
                raise self.endpoint.failing(str(failure)) from failure
