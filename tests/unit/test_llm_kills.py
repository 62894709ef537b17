"""After any kill, a rerun gives the same answers, buys nothing twice, and keeps the budget."""

import json
import os
import shutil
import signal
import tempfile
import time
from functools import partial
from pathlib import Path

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from excise.llm import Session, load_settings
from excise.llm.capability import payload
from excise.llm.journal import Journal, read_ledger
from excise.llm.replies import classify
from excise.llm.requests import endpoint_id, request_key
from excise.llm.steps import Ask, next_step
from llm_client_process import INPUT_ERROR, accept, declared_unknown, requests_for, start
from llm_server import KEY, USABLE, FaultServer, default_answer, question

QUESTIONS = 6
# Each may happen to a question once or more and changes nothing about its final answer.
PASSING = ("429", "429_bare", "429_ms", "429_date", "429_garbage", "500", "503", "408",
           "error_in_200", "reset_before", "reset_after", "short", "cut", "no_choices", "502_html",
           "hang", "drip", "fences", "think", "prose_around", "broken_json", "in_parts", "no_usage",
           "length", "insufficient_quota")  # fmt: skip
REJECTED = ("wrong_schema", "prose", "empty")  # costs the one re-ask
LASTING = ("refusal", "content_filter", "prompt_filter")  # whenever the question is asked

# How a run ends before its time: at this byte of its journal, by a kill or by Ctrl-C.
ends = st.tuples(st.sampled_from((signal.SIGKILL, signal.SIGINT)), st.integers(0, 9000))
# What binds: six answers cost about a thousand tokens. In money: a dollar a token.
caps = st.one_of(
    st.none(),
    st.integers(1200, 6000).map(lambda most: {"tokens": most}),
    st.integers(1200, 6000).map(
        lambda most: {"usd": most, "usd_per_million_in": 1e6, "usd_per_million_out": 1e6}
    ),
)
scripts = st.lists(
    st.one_of(
        st.sampled_from(LASTING),
        st.tuples(
            st.lists(st.sampled_from(PASSING), max_size=3), st.sampled_from((None, *REJECTED))
        ),
    ),
    min_size=QUESTIONS,
    max_size=QUESTIONS,
)


def play(script: list, request: dict, number: int) -> str | None:
    entry = script[int(question(request).split()[-1].rstrip("."))]
    if isinstance(entry, str):
        return entry
    passing, rejected = entry
    faults = [*passing, *([rejected] if rejected else [])]
    return faults[number] if number < len(faults) else None


def expected_value(request, entry) -> dict | None:
    if isinstance(entry, str):
        return None
    body = payload(request, "json_schema", "test-model", 120, "max_tokens")
    return json.loads(default_answer(body))


def check_books(server: FaultServer, journal: Path) -> None:
    """The server's books against the journal's: nothing unaccounted for, nothing bought twice."""
    ledger, _ = read_ledger(journal)
    attempts = {
        f"{key[:32]}-{attempt.number}": attempt
        for key, tries in ledger.attempts.items()
        for attempt in tries
    }
    unknown = declared_unknown(journal)
    assert server.bought_twice(unknown) == 0
    whole = server.whole_answers(unknown)
    assert server.billed_by_hash(whole) == {call.hash: call.tokens for call in whole}
    for request_hash, tokens in server.billed_by_hash().items():
        tries = [call for call in server.calls if call.billed and call.hash == request_hash]
        assert tokens <= sum(sum(attempts[call.client_id].cost()) for call in tries)
    billed = [call for call in server.calls if call.billed]
    assert len({call.client_id for call in billed}) == len(billed)
    for call in billed:
        assert attempts[call.client_id].state in ("answered", "unknown")
        if attempts[call.client_id].billed is not None:
            assert attempts[call.client_id].billed == (call.tokens_in, call.tokens_out)
    assert sum(ledger.cost()) >= server.billed_tokens()


def check_budget(server: FaultServer, journal: Path, budget: dict) -> None:
    """By the server's books and by the journal's; a million tokens cost a million dollars."""
    most = next(one for one in (budget.get("tokens"), budget.get("usd")) if one)
    assert server.billed_tokens() <= most
    assert sum(read_ledger(journal)[0].cost()) <= most


def check_successes_are_kept(server: FaultServer, journal: Path) -> None:
    """Ctrl-C waits for calls under way: no usable answer was paid for and thrown away."""
    usable = [one for one in server.calls if one.billed and one.finish == "stop"]
    wanted = {one.client_id for one in usable if one.fault in USABLE}
    assert not wanted & declared_unknown(journal)


def check_nothing_is_asked_once_more(path: Path, url: str) -> None:
    """Before each attempt, what the journal held did not settle the question."""
    journal = Journal(path)
    for request in requests_for(QUESTIONS):
        tries = journal.history(request_key(request, endpoint_id(url), "test-model", {}))
        assert tries
        for sent in range(len(tries)):
            answered = [one for one in tries[:sent] if one.state == "answered"]
            replies = []
            for one in answered:
                status, body = journal.body(one)
                replies.append((one, classify(status, {}, body)))
            assert isinstance(next_step(request, replies, accept, 2), Ask)
    journal.close()


def test_the_server_adds_up_what_it_bills_for_one_body(fault_server):
    server = fault_server(faults=[None, "429", None, None])
    bodies = [
        payload(request, "json_schema", "test-model", 120, "max_tokens")
        for request in requests_for(2)
    ]
    headers = {"authorization": f"Bearer {KEY}"}
    for body in (bodies[0], bodies[0], bodies[0], bodies[1]):
        httpx2.post(f"{server.url}/chat/completions", json=body, headers=headers)
    first, refused, again, other = server.calls
    assert first.hash == refused.hash == again.hash != other.hash
    assert server.billed_by_hash() == {first.hash: 2 * first.tokens, other.hash: other.tokens}
    assert server.billed_by_hash([other]) == {other.hash: other.tokens}


@settings(
    max_examples=int(os.environ.get("EXCISE_KILL_EXAMPLES", "5")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(script=scripts, ends=st.lists(ends, max_size=3), cap=caps)
def test_any_faults_and_any_kills_lead_to_the_same_answers(script, ends, cap):
    folder = Path(tempfile.mkdtemp())
    journal, out = folder / "journal" / "qa.jsonl", folder / "out.json"
    try:
        faults = partial(play, script)
        with FaultServer(faults=faults, hang_s=8.0) as server:
            section = server.settings(retry={"attempts": 12, "timeout_s": 5.0})
            # The last runs are left alone; an account without money ends one run each time.
            quotas = str(script).count("insufficient_quota")
            runs = [*((end, cap or {}) for end in ends), *[(None, cap)] * bool(cap)]
            for end, budget in [*runs, *[(None, {})] * (quotas + 1)]:
                process = start(section | {"budget": budget}, journal, QUESTIONS, out, end)
                process.join(120)
                assert not process.is_alive(), "deadlock"
                signals = () if end is None else (-end[0], 128 + end[0], 1)
                assert process.exitcode in (0, INPUT_ERROR, *signals)
                if budget:
                    check_budget(server, journal, budget)
                if (end, budget, process.exitcode) == (None, {}, 0):
                    break
            assert process.exitcode == 0
            if signal.SIGKILL not in {kind for kind, _ in ends}:
                check_successes_are_kept(server, journal)
            found = [one["value"] for one in json.loads(out.read_text())]
            wanted = [
                expected_value(request, entry)
                for request, entry in zip(requests_for(QUESTIONS), script, strict=True)
            ]
            assert found == wanted
            check_books(server, journal)
            check_nothing_is_asked_once_more(journal, server.url)
            before = len(server.calls)
            again = start(section, journal, QUESTIONS, folder / "again.json")
            again.join(120)
            assert (folder / "again.json").read_bytes() == out.read_bytes()
            assert len(server.calls) == before, "a finished run sent something again"
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_answers_under_way(fault_server, tmp_path, number):
    server = fault_server(latency_s=1.0)
    section = server.settings(limits={"max_in_flight": 3}, structured="json_schema")
    journal = tmp_path / "qa.jsonl"
    process = start(section, journal, 12, tmp_path / "out.json")
    deadline = time.monotonic() + 60
    while server.most_in_flight < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == 128 + number
    ledger, _ = read_ledger(journal)
    states = [attempt.state for tries in ledger.attempts.values() for attempt in tries]
    assert states == ["answered"] * len(server.calls)
    assert 4 <= len(states) < 12
    process = start(section, journal, 12, tmp_path / "out.json")
    process.join(60)
    assert process.exitcode == 0
    assert server.billed_calls() == len(server.calls) == 12
    assert server.billed_by_hash() == {call.hash: call.tokens for call in server.calls}


def test_the_budget_is_never_exceeded_and_what_was_bought_is_kept(
    fault_server, tmp_path, monkeypatch
):
    monkeypatch.setenv("EXCISE_TEST_KEY", KEY)
    server = fault_server(faults=lambda request, n: "no_usage" if n == 0 else None)
    cap = 2600  # the estimate fits; answers without usage count at their worst case
    section = server.settings(budget={"tokens": cap}, structured="json_schema")
    with Session(load_settings(section), tmp_path / "qa.jsonl", progress=False) as session:
        with pytest.raises(Exception, match="budget") as error:
            session.complete(requests_for(12), lambda request, value: [])
        assert "all answers are kept" in str(error.value)
        assert session.usage()["ok"] > 0
        assert sum(session._journal.ledger.cost()) <= cap
    assert server.billed_tokens() <= cap
