"""The client against a real server on loopback: faults, the ladder, the journal, clear errors."""

import json
import logging
import os
import re
import socket

import pytest

from excise.errors import InputError
from excise.llm import Request, Session, load_settings
from excise.llm.journal import read_ledger
from llm_client_process import SCHEMA, accept, requests_for
from llm_server import FAULTS, KEY, OTHERS, UNPAID, default_answer

FATAL = ("401", "403", "404", "insufficient_quota", "429_300s")
ENDING = {"refusal": "refused", "content_filter": "refused", "prompt_filter": "refused"}


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal" / "qa.jsonl"


def complete(server, journal, requests, check=accept, **changes):
    with Session(load_settings(server.settings(**changes)), journal, progress=False) as session:
        return session.complete(requests, check), session.usage()


def refusal(server, journal, count=3, **changes) -> str:
    with pytest.raises(InputError) as error:
        complete(server, journal, requests_for(count), **changes)
    message = str(error.value)
    assert "\n" not in message
    assert KEY not in message
    assert not journal.exists() or KEY not in journal.read_text()
    return message


def test_a_server_of_the_tests_closes_no_logging_handler(fault_server):
    """A closed handler of absl has closed pytest's own file, and then every later test fails."""
    closed = []

    class Handler(logging.Handler):
        def close(self):
            closed.append(self)
            super().close()

    handler = Handler()  # logging keeps a list of all handlers
    fault_server()
    assert closed == []
    handler.close()


def test_the_client_survives_every_passing_fault(fault_server, journal):
    others = (*FATAL, *ENDING, "too_long", "html", "hang", "drip")
    passing = [name for name in FAULTS if name not in others]
    server = fault_server(faults=[None, *passing])
    outcomes, usage = complete(server, journal, requests_for(40))
    assert {outcome.status for outcome in outcomes} <= {"ok", "repaired"}
    assert [one.request for one in outcomes] == requests_for(40)
    assert {call.fault for call in server.calls} >= set(passing)
    assert usage["attempts"] == len(server.calls)


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_an_answer_that_takes_too_long_is_given_up_and_counted_as_unknown(
    fault_server, journal, fault
):
    server = fault_server(faults=[fault], hang_s=5.0)
    outcomes, usage = complete(
        server, journal, requests_for(1), retry={"timeout_s": 1.0}, structured="json_schema"
    )
    assert outcomes[0].status == "ok"
    assert usage["unknown"] == 1
    assert usage["tokens_in"] + usage["tokens_out"] >= server.billed_tokens()


@pytest.mark.parametrize("fault, status", ENDING.items())
def test_a_refusal_is_recorded_and_not_asked_again(fault_server, journal, fault, status):
    server = fault_server(faults=[fault])
    first, _ = complete(server, journal, requests_for(2))
    assert [one.status for one in first] == [status, "ok"]
    assert first[0].value is None and first[0].errors
    calls = len(server.calls)
    second, usage = complete(server, journal, requests_for(2))
    assert second == first
    assert len(server.calls) == calls
    assert usage[status] == 1


def test_the_re_ask_contains_the_reply_and_its_faults(fault_server, journal):
    seen = []

    def answer(request):
        seen.append(request["messages"])
        return None

    server = fault_server(answer=answer, faults=["wrong_schema", "wrong_schema"])
    outcomes, usage = complete(server, journal, requests_for(1), structured="json_schema")
    assert outcomes[0].status == "invalid" and usage["asked_again"] == 1
    assert len(server.calls) == 2
    first, second = seen
    assert [one["role"] for one in second] == ["system", "user", "assistant", "user"]
    assert second[:2] == first
    assert json.loads(second[2]["content"]) == {"unexpected": [1, 2, 3]}
    remarks = second[3]["content"]
    assert 'these keys are missing and must be added: "text", "year"' in remarks
    assert 'must be left out: "unexpected"' in remarks


def test_a_truncated_answer_is_bought_with_a_larger_limit(fault_server, journal):
    server = fault_server()
    outcomes, _ = complete(server, journal, requests_for(1, max_tokens=8), structured="json_schema")
    assert outcomes[0].status == "ok"
    assert [call.finish for call in server.calls] == ["length", "stop"]


@pytest.mark.parametrize(
    "structured, rung",
    [
        ("json_schema", "json_schema"),
        ("json_object", "json_object"),
        ("refused", "prompt"),
        ("ignored", "prompt"),
    ],
)
def test_the_ladder_is_probed_and_the_probe_paid_once(fault_server, journal, structured, rung):
    server = fault_server(structured=structured)
    outcomes, usage = complete(server, journal, requests_for(3))
    assert {one.status for one in outcomes} == {"ok"}
    probes = len(server.calls) - 3
    assert usage["rungs"][rung] >= 3
    complete(server, journal, requests_for(5))
    assert len(server.calls) == probes + 5


def test_a_server_that_begins_to_ignore_the_schema_is_noticed(fault_server, journal):
    server = fault_server()
    complete(server, journal, requests_for(1))
    server.structured = "ignored"
    outcomes, usage = complete(
        server, journal, requests_for(12), limits={"max_in_flight": 1}, retry={"attempts": 3}
    )
    assert sum(one.status == "ok" for one in outcomes) >= 10
    assert usage["rungs"]["json_object"] >= 8  # the schema stands in the prompt again


def test_a_probe_that_is_cut_off_in_prose_shows_no_support(fault_server, journal):
    server = fault_server(
        structured="ignored",
        answer=lambda request: "Hello, how can I help you today? " * 20,
        faults=lambda request, number: "length",
    )
    complete(server, journal, requests_for(1))
    capabilities = read_ledger(journal)[0].capabilities
    assert [value for (*_, name), value in capabilities.items() if name == "rung"] == ["prompt"]


def test_endless_brackets_end_one_request_and_not_the_run(fault_server, journal):
    server = fault_server(answer=lambda request: "[" * 50_000)
    first, _ = complete(server, journal, requests_for(2), structured="prompt")
    assert [one.status for one in first] == ["invalid"] * 2
    calls = len(server.calls)
    assert complete(server, journal, requests_for(2), structured="prompt")[0] == first
    assert len(server.calls) == calls


def test_a_fixed_rung_that_is_refused_says_so(fault_server, journal):
    message = refusal(fault_server(structured="refused"), journal, structured="json_schema")
    assert "generation.llm.structured" in message and "use auto" in message


def test_the_other_name_of_the_length_limit_is_found(fault_server, journal):
    server = fault_server(token_names=("max_completion_tokens",))
    outcomes, _ = complete(server, journal, requests_for(4))
    assert {one.status for one in outcomes} == {"ok"}
    assert sum(call.status == 400 for call in server.calls) == 1


def test_a_stricter_schema_judges_old_answers_and_buys_only_what_fails(fault_server, journal):
    server = fault_server()
    before, _ = complete(server, journal, requests_for(10))
    years = sorted(one.value["year"] for one in before)
    calls = len(server.calls)
    stricter = json.loads(json.dumps(SCHEMA))
    stricter["properties"]["year"]["maximum"] = years[6]
    again = requests_for(10, schema=stricter, prompt_version="v2")
    after, _ = complete(server, journal, again)
    bought = sum(one.value["year"] > years[6] for one in before)
    assert 0 < bought < 10
    assert len(server.calls) == calls + bought
    kept = [one for one in before if one.value["year"] <= years[6]]
    assert [one.value for one in after if one.value] == [one.value for one in kept]


def test_a_changed_prompt_buys_what_used_it_and_nothing_else(fault_server, journal, capsys):
    server = fault_server()
    complete(server, journal, requests_for(6))
    calls = len(server.calls)
    changed = [*requests_for(4), Request("qa", "p4", "You write.", "New.", SCHEMA, "v2", 120)]
    complete(server, journal, changed)
    assert len(server.calls) == calls + 1
    assert capsys.readouterr().out == (
        f"{journal}: answers to another version of the prompt (6 of v1); this one is v2: "
        "1 requests are bought\n"
    )


def test_equal_requests_are_asked_once_and_samples_are_different_requests(fault_server, journal):
    server = fault_server()
    pair = requests_for(1) + requests_for(1) + requests_for(1, sample=1)
    outcomes, _ = complete(server, journal, pair, structured="json_schema")
    assert [one.status for one in outcomes] == ["ok"] * 3
    assert len(server.calls) == 2


def test_a_rerun_that_buys_nothing_needs_no_key(fault_server, journal, monkeypatch):
    server = fault_server()
    first, _ = complete(server, journal, requests_for(2))
    monkeypatch.delenv("EXCISE_TEST_KEY")
    assert complete(server, journal, requests_for(2))[0] == first


def test_an_endpoint_that_fails_for_one_request_leaves_the_others(fault_server, journal):
    server = fault_server(faults=lambda request, n: "500" if "0." in str(request) else None)
    outcomes, _ = complete(server, journal, requests_for(3), retry={"attempts": 2})
    assert [one.status for one in outcomes] == ["unavailable", "ok", "ok"]
    server.faults = lambda request, n: None
    outcomes, _ = complete(server, journal, requests_for(3))
    assert [one.status for one in outcomes] == ["ok"] * 3


# One clear line


def test_a_missing_key(fault_server, journal, monkeypatch):
    monkeypatch.delenv("EXCISE_TEST_KEY")
    assert "EXCISE_TEST_KEY is not set" in refusal(fault_server(), journal)


def test_a_wrong_key_is_never_shown(fault_server, journal, monkeypatch):
    server = fault_server()
    monkeypatch.setenv("EXCISE_TEST_KEY", "sk-wrong-and-secret")
    message = refusal(server, journal)
    assert "EXCISE_TEST_KEY (HTTP 401)" in message
    assert "sk-wrong" not in message and "sk-wrong" not in journal.read_text()
    assert len(server.calls) == 1


def test_an_unknown_model(fault_server, journal):
    message = refusal(fault_server(), journal, model="gpt-none")
    assert re.match(r"generation.llm.model: 127.0.0.1:\d+ has no model 'gpt-none'", message)


@pytest.mark.parametrize("structured", ["auto", "json_schema"])
def test_an_unknown_model_that_is_answered_with_500_is_no_fault_of_the_address(
    fault_server, journal, structured
):
    """What `transformers serve` says of a name that is no model."""
    words = "{} is not a local folder and is not a valid model identifier listed on the hub"
    server = fault_server(no_model=(500, words))
    message = refusal(server, journal, model="gpt-none", structured=structured)
    assert message.startswith(f"generation.llm.model: 127.0.0.1:{server.port} has no model")
    assert len(server.calls) == 1, "asking again is no use"


def test_any_other_500_is_no_fault_of_the_address_either(fault_server, journal):
    server = fault_server(no_model=(500, "Internal Server Error"))
    message = refusal(server, journal, model="gpt-none", retry={"attempts": 2})
    assert message == (
        f"generation.llm: 127.0.0.1:{server.port} answers, but every call fails: HTTP 500: "
        "Internal Server Error; see the log of the endpoint (requested model: 'gpt-none')"
    )


def test_a_path_that_is_not_there_is_no_fault_of_the_model(fault_server, journal):
    server = fault_server()
    message = refusal(server, journal, base_url=server.url + "/v2")
    assert message.startswith(f"generation.llm.base_url: 127.0.0.1:{server.port} does not serve ")
    assert "/v1/v2/chat/completions" in message


def test_an_endpoint_that_answers_html(fault_server, journal):
    server = fault_server()
    page = server.url.replace("/v1", "/html")
    assert "answers with an HTML page" in refusal(server, journal, base_url=page)
    assert "answers with an HTML page" in refusal(fault_server(faults=["html"] * 9), journal,
                                                  structured="prompt")  # fmt: skip


def test_an_endpoint_that_refuses_tls(fault_server, journal):
    server = fault_server()
    secure = server.url.replace("http:", "https:")
    assert "the TLS handshake fails" in refusal(server, journal, base_url=secure)


def test_a_refused_connection(fault_server, journal):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    message = refusal(fault_server(), journal, base_url=f"http://127.0.0.1:{port}/v1")
    assert message.startswith(f"generation.llm.base_url: 127.0.0.1:{port}: cannot connect")


@pytest.mark.parametrize("fault", ["insufficient_quota", "429_300s", "403"])
def test_faults_that_end_the_run(fault_server, journal, fault):
    server = fault_server(faults=[None, fault])
    changes = {"retry": {"honor_retry_after_s": 200}, "structured": "json_schema"}
    message = refusal(server, journal, count=5, **changes)
    assert {"429_300s": "asks to wait 300 s", "403": "HTTP 403"}.get(fault, fault) in message


def test_nothing_but_429_trips_the_breaker(fault_server, journal):
    server = fault_server(faults=lambda request, n: "429_ms")
    message = refusal(server, journal, adaptation={"breaker_s": 1.0}, structured="json_schema")
    assert "answered nothing for" in message and "breaker_s" in message


def test_a_budget_below_the_estimate_is_refused_before_the_first_call(fault_server, journal):
    server = fault_server()
    message = refusal(server, journal, budget={"tokens": 50})
    assert "allowed: 50 tokens; the estimate for 3 calls is" in message
    money = {"usd": 1e-6, "usd_per_million_in": 1.0, "usd_per_million_out": 2.0}
    assert "($" in refusal(server, journal, budget=money)
    assert server.calls == []


def test_other_journals_of_the_folder_count_against_the_budget(fault_server, journal):
    server = fault_server()
    complete(server, journal, requests_for(3), budget={"tokens": 20_000})
    other = journal.with_name("facts.jsonl")
    spent = server.billed_tokens()
    assert f"on top of {spent:,} tokens spent" in refusal(server, other, budget={"tokens": spent})


@pytest.mark.parametrize(
    "line, found",
    [
        (b'{"v": 1, "t": "req", "ke\n', "corrupt journal line (not JSON)"),
        (b'{"v": 1, "t": "req"}\n', "corrupt journal line (field 'key')"),
        (b'{"v": 1, "t": "new"}\n', "corrupt journal line (kind 'new')"),
        (b'{"v": 2, "t": "req"}\n', "journal of another format: version 2"),
        (b"[]\n", "corrupt journal line (not a mapping)"),
    ],
)
def test_a_corrupt_journal_line_is_named(fault_server, journal, line, found):
    server = fault_server()
    complete(server, journal, requests_for(1))
    whole = journal.read_bytes()
    journal.write_bytes(line + whole)
    assert f"{journal}:1: {found}" in refusal(server, journal)


def test_a_torn_last_line_is_cut(fault_server, journal):
    server = fault_server()
    first, _ = complete(server, journal, requests_for(2))
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"v": 1, "t": "res", "key": "abc')
    calls = len(server.calls)
    assert complete(server, journal, requests_for(2))[0] == first
    assert journal.read_bytes() == whole
    assert len(server.calls) == calls


def test_the_key_is_removed_from_the_endpoints_answers(fault_server, journal):
    server = fault_server(answer=lambda request: json.dumps({"text": KEY, "year": 1}))
    complete(server, journal, requests_for(1), structured="json_schema")
    assert KEY not in journal.read_text()


def test_the_fault_names_are_distinct():
    assert not set(UNPAID) & set(OTHERS)


def test_a_server_of_other_authors(llmock, journal, monkeypatch):
    """llmock speaks the same API and judges how its faults were met."""
    monkeypatch.setenv("EXCISE_TEST_KEY", KEY)
    llmock.rate_limit(times=2, retry_after=0.3)
    section = {
        "base_url": llmock.base_url(),
        "model": "gpt-4o-mini",
        "api_key_env": "EXCISE_TEST_KEY",
        "retry": {"max_wait_s": 2},
    }
    with Session(load_settings(section), journal, progress=False) as session:
        outcomes = session.complete(requests_for(4), accept)
    assert {one.status for one in outcomes} == {"ok"}
    llmock.assert_resilient()


def test_the_default_answer_is_a_function_of_the_question():
    form = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
    body = {"messages": [{"content": "s"}, {"content": "u"}], "response_format": form}
    assert default_answer(body) == default_answer(json.loads(json.dumps(body)))


def test_a_model_that_draws_at_its_own_temperature_only(fault_server, journal):
    server = fault_server(any_temperature=False)
    outcomes, usage = complete(server, journal, requests_for(6, temperature=0.7))
    assert {one.status for one in outcomes} == {"ok"}
    refused = [call for call in server.calls if call.status == 400]
    assert len(refused) == 1, "found out by the first call, which costs nothing"
    assert usage["temperature"] == "the model's own"
    _, usage = complete(server, journal, requests_for(8, temperature=0.0))
    assert len([call for call in server.calls if call.status == 400]) == 1, "remembered"
    assert usage["billed_answers"] == server.billed_calls()


def test_parameters_found_out_by_several_calls_at_once(fault_server, journal):
    """Each call in flight is refused; each is sent again, none is taken for hopeless."""
    server = fault_server(
        any_temperature=False, token_names=("max_completion_tokens",), latency_s=0.05
    )
    complete(server, journal, requests_for(1, temperature=1.0), structured="json_schema")
    outcomes, _ = complete(
        server, journal, requests_for(12, temperature=0.7), structured="json_schema"
    )
    assert {one.status for one in outcomes} == {"ok"}


def test_a_full_disk_leaves_whole_lines_and_ends_the_run(fault_server, journal, monkeypatch):
    server = fault_server()
    complete(server, journal, requests_for(2), structured="json_schema")
    before, write, lines = journal.read_bytes(), os.write, []

    def full_disk(file: int, data: bytes) -> int:
        if not data.startswith(b'{"v": 1'):
            return write(file, data)
        lines.append(data)
        return write(file, data if len(lines) < 3 else data[:20])

    monkeypatch.setattr(os, "write", full_disk)
    message = refusal(server, journal, 6, structured="json_schema", limits={"max_in_flight": 1})
    assert message == f"{journal}: cannot write (No space left on device); its content is kept"
    monkeypatch.undo()
    monkeypatch.setenv("EXCISE_TEST_KEY", KEY)
    assert journal.read_bytes() == before + b"".join(lines[:2]), "no half line, nothing after it"
    outcomes, _ = complete(server, journal, requests_for(6), structured="json_schema")
    assert {one.status for one in outcomes} == {"ok"}


def test_the_extra_body_counts_against_the_budget(fault_server, journal):
    server = fault_server()
    long = {"metadata": {"note": "x" * 4000}}
    message = refusal(server, journal, budget={"tokens": 3000}, extra_body=long)
    assert "none of them was sent" in message
    assert server.calls == []


def test_the_progress_line_is_updated_without_answers(fault_server, journal, monkeypatch, capsys):
    monkeypatch.setattr("excise.llm.session.TICK_S", 0.05)
    monkeypatch.setattr("excise.llm.progress.LINE_EVERY_S", 0.2)
    server = fault_server(latency_s=1.0)
    settings = load_settings(server.settings(structured="json_schema"))
    with Session(settings, journal) as session:
        session.complete(requests_for(1), accept)
    lines = capsys.readouterr().out.splitlines()
    waiting = "qa: 0 of 1 accepted, 0 rejected, 0 asked again, 1 in flight, 0 tokens"
    assert lines.count(waiting) >= 2


@pytest.mark.parametrize("thinks", [100, 300, 700])
def test_a_model_that_thinks_first_is_given_room_before_it_is_judged(fault_server, journal, thinks):
    """Nothing but thoughts within the limit does not show that the schema is ignored."""
    server = fault_server(thinks=thinks)
    outcomes, usage = complete(server, journal, requests_for(8, max_tokens=250))
    assert {one.status for one in outcomes} == {"ok"}
    assert set(usage["rungs"]) == {"json_schema"}
