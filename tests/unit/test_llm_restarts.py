"""A server that is away, repaired or replaced: waiting, repeated requests and messages."""

import threading
import time

import pytest

from excise.errors import InputError
from excise.llm import Session, load_settings
from excise.llm.answering import is_same_model
from excise.llm.outage import Outage
from llm_client_process import accept, requests_for
from llm_server import question


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal" / "qa.jsonl"


def complete(server, journal, requests, check=accept, **changes):
    settings = load_settings(server.settings(structured="json_schema", **changes))
    with Session(settings, journal, progress=False) as session:
        return session.complete(requests, check), session.usage()


def statuses(outcomes) -> list[str]:
    return [outcome.status for outcome in outcomes]


# Failures on record


def test_a_request_beyond_the_context_is_repeated_with_another_server_configuration(
    fault_server, journal
):
    server = fault_server(faults=lambda request, number: "too_long")
    first, _ = complete(server, journal, requests_for(3))
    assert statuses(first) == ["invalid"] * 3
    assert "context_length_exceeded" in first[0].errors[0]
    assert len(server.calls) == 3, "not again and again in one run"
    again, _ = complete(server, journal, requests_for(3))
    assert statuses(again) == ["invalid"] * 3 and len(server.calls) == 6
    server.faults = lambda request, number: None
    repeated, usage = complete(server, journal, requests_for(3))
    assert statuses(repeated) == ["ok"] * 3
    assert (usage["invalid"], usage["billed_answers"]) == (0, 3)
    complete(server, journal, requests_for(3))
    assert len(server.calls) == 9, "what is answered is not asked again"


@pytest.mark.parametrize(
    "fault, status", [("wrong_schema", "invalid"), ("refusal", "refused"), ("length", "invalid")]
)
def test_what_was_paid_for_is_final(fault_server, journal, fault, status):
    server = fault_server(faults=lambda request, number: fault)
    first, _ = complete(server, journal, requests_for(2))
    assert statuses(first) == [status] * 2
    server.faults, calls = lambda request, number: None, len(server.calls)
    assert complete(server, journal, requests_for(2))[0] == first
    assert len(server.calls) == calls


def test_a_context_that_cuts_answers_off_is_named_and_can_be_asked_again(fault_server, journal):
    server = fault_server(faults=lambda request, number: "length")  # after three tokens
    [outcome], _ = complete(server, journal, requests_for(1))
    assert "after 3: the server's context may be too small" in outcome.errors[0]
    server.faults = lambda request, number: None
    [outcome], _ = complete(server, journal, requests_for(1), retry={"longer_max": 3})
    assert outcome.status == "ok"


def test_the_other_name_of_the_length_limit_is_found_by_every_run(fault_server, journal):
    server = fault_server(token_names=("max_completion_tokens",))
    complete(server, journal, requests_for(1))
    server.token_names = ("max_tokens",)  # another server at the same place
    outcomes, _ = complete(server, journal, requests_for(4))
    assert statuses(outcomes) == ["ok"] * 4


# Away


def going_down(server, seconds: float | None = None):
    """A fault that stops the server after ten calls; it restarts after some seconds, if given."""
    fired = []

    def act():
        server().go_down()
        if seconds is not None:
            time.sleep(seconds)
            server().come_back()

    def fault(request, number):
        if len(server().calls) >= 10 and not fired:
            fired.append(threading.Thread(target=act))
            fired[0].start()

    return fault


def failing_server(fault_server, seconds: float | None = None):
    made = []
    made.append(fault_server(latency_s=0.02, faults=going_down(lambda: made[0], seconds)))
    return made[0]


SLOW = {"limits": {"max_in_flight": 2, "requests_per_minute": 3000}}


def test_a_server_that_restarts_is_waited_for(fault_server, journal, capsys):
    """Its failures use up no attempts, and messages report the outage and its end."""
    server = failing_server(fault_server, 0.8)
    outcomes, usage = complete(server, journal, requests_for(60), retry={"attempts": 2}, **SLOW)
    assert statuses(outcomes) == ["ok"] * 60
    assert usage["failed_attempts"] > 10, "far more than two attempts"
    lines = capsys.readouterr().out.splitlines()
    where = f"127.0.0.1:{server.port}"
    message = next(line for line in lines if line.startswith(f"cannot connect to {where} ("))
    assert message.endswith("; trying again for up to 300 s (generation.llm.adaptation.breaker_s)")
    assert any(line.startswith(f"{where} answers again, after ") for line in lines)


def test_an_answer_to_an_earlier_call_does_not_end_an_outage():
    now, said = [0.0], []
    outage = Outage(1.0, 300.0, said.append, clock=lambda: now[0])
    now[0] = 10.0
    assert outage.away("cannot connect", refused=True)
    outage.ended("host", sent=9.5)
    assert outage.seconds == 0.0 and not outage.away("cannot connect", refused=True)
    now[0] = 12.0
    outage.ended("host", sent=11.0)
    assert outage.seconds is None and said[1:] == ["host answers again, after 2 s"]
    assert outage.away("cannot connect", refused=True)


def test_a_refused_connection_uses_no_attempt(fault_server, journal):
    """Each request may be sent once; the first one is refused many times, and it is the first."""
    server = fault_server()
    complete(server, journal, requests_for(1))
    server.go_down()
    threading.Timer(0.5, server.come_back).start()
    outcomes, usage = complete(server, journal, requests_for(4), retry={"attempts": 1})
    assert statuses(outcomes) == ["ok"] * 4
    assert usage["failed_attempts"] >= 1


def test_a_server_that_stays_away_is_given_up_when_the_breaker_says_so(fault_server, journal):
    server = failing_server(fault_server)
    start = time.monotonic()
    with pytest.raises(InputError) as error:
        complete(server, journal, requests_for(200), adaptation={"breaker_s": 1.0}, **SLOW)
    assert 1.0 < time.monotonic() - start < 15.0
    assert "answered nothing for 1 s" in str(error.value)
    assert f"cannot connect to 127.0.0.1:{server.port}" in str(error.value)


def test_one_call_at_a_time_tries_a_server_that_is_away(fault_server, journal):
    server = failing_server(fault_server)
    changes = {"adaptation": {"breaker_s": 1.0}, "retry": {"max_wait_s": 0.2}}
    with pytest.raises(InputError):
        complete(server, journal, requests_for(400), **changes)
    assert journal.read_text().count("cannot connect") < 80, "not 64 workers, five times a second"


def test_a_part_that_begins_while_the_server_is_away_waits_for_it(fault_server, journal, capsys):
    """Another part had answers from this server, so its address is right."""
    server = fault_server()
    complete(server, journal, requests_for(1))
    server.go_down()
    threading.Timer(0.5, server.come_back).start()
    other = journal.with_name("forget_paraphrased.jsonl")
    outcomes, _ = complete(server, other, requests_for(2))
    assert statuses(outcomes) == ["ok"] * 2
    assert "cannot connect to" in capsys.readouterr().out


def test_a_server_that_loads_its_model_is_waited_for(fault_server, journal):
    begin = time.monotonic()

    def loading(request, number):
        return "503" if time.monotonic() - begin < 1.0 else None

    server = fault_server(faults=loading)
    outcomes, _ = complete(server, journal, requests_for(3), retry={"attempts": 2})
    assert statuses(outcomes) == ["ok"] * 3


def test_a_request_that_a_gateway_always_refuses_is_given_up(fault_server, journal):
    """As long as others are answered, the endpoint is not away: answers outlast the retries."""
    refused = (" 0.", " 10.")
    server = fault_server(
        faults=lambda request, n: "502_html" if question(request).endswith(refused) else None,
        latency_s=0.03,
    )
    retry = {"attempts": 3, "max_wait_s": 0.02}
    outcomes, _ = complete(
        server, journal, requests_for(40), retry=retry, limits={"max_in_flight": 2}
    )
    assert [n for n, status in enumerate(statuses(outcomes)) if status != "ok"] == [0, 10]
    assert statuses(outcomes).count("unavailable") == 2


# Another model


def test_the_model_that_answers_is_recorded(fault_server, journal, capsys):
    server = fault_server(answers_as="/home/me/models/qwen2.5-0.5b-instruct-q8_0.gguf")
    server.model = "qwen2.5-0.5b"
    _, usage = complete(server, journal, requests_for(3))
    assert usage["answered_by"] == {"qwen2.5-0.5b-instruct-q8_0.gguf": 3}
    assert capsys.readouterr().out == "", "a file of the model asked for"
    assert complete(server, journal, requests_for(3))[1] == usage, "of the journal, not of the run"


def test_another_model_than_the_requested_one_is_reported(fault_server, journal, capsys):
    server = fault_server(answers_as="tiny-1b")
    outcomes, _ = complete(server, journal, requests_for(3))
    assert statuses(outcomes) == ["ok"] * 3
    place = f"127.0.0.1:{server.port}"
    message = (
        f"qa: {place} answers as 'tiny-1b'; requested was 'test-model' (generation.llm.model); "
    )
    assert capsys.readouterr().out == message + "the report gives both names\n"
    server.answers_as = "tiny-2b"
    _, usage = complete(server, journal, requests_for(6))
    assert "now come from 'tiny-2b'; earlier ones came from 'tiny-1b'" in capsys.readouterr().out
    assert usage["answered_by"] == {"tiny-1b": 3, "tiny-2b": 3}


@pytest.mark.parametrize(
    "asked, answering, same",
    [
        ("gpt-4o-mini", "gpt-4o-mini-2024-07-18", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o", "gpt-4o-mini-2024-07-18", False),
        ("gpt-4", "gpt-4.1", False),
        ("gpt-4", "gpt-4-0613", True),
        ("gpt-3.5-turbo", "gpt-3.5-turbo-16k", False),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku-20241022", True),
        ("gemini-2.5-flash", "gemini-2.5-flash-preview-04-17", True),
        ("gemini-2.5-flash", "gemini-2.5-flash-lite", False),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct", True),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct-q4_k_m.gguf", True),
        ("qwen2.5-7b", "qwen2.5-72b.gguf", False),
        ("qwen2.5", "qwen2.5:latest", True),
        ("llama3", "llama3:70b", False),
        ("any", "qwen2.5-0.5b.gguf", False),
    ],
)
def test_names_that_stand_for_one_model(asked, answering, same):
    assert is_same_model(asked, answering) == same
