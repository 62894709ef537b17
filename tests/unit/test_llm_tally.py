"""Progress in figures: accepted, rejected, asked again, rounds; a weak author is told early."""

import pytest

from excise.generation.verbalising.asking import ask
from excise.llm import Session, load_settings
from excise.llm.tally import Tally
from llm_client_process import accept, requests_for


def run(server, tmp_path, count, check=accept, resample_max=1, clashes=None, **changes):
    """Ask as the author does: in rounds."""
    settings = load_settings(server.settings(**{"structured": "json_schema"} | changes))
    with Session(settings, tmp_path / "qa.jsonl") as session:
        calls = [f"p{index}" for index in range(count)]

        def request(call: str, sample: int):
            return requests_for(count, sample=sample)[int(call[1:])]

        answers = ask(session, calls, request, check, resample_max, find_clashes=clashes)
        return answers, session._engine.tally


def test_rejected_calls_are_not_accepted_ones_and_further_rounds_count(
    fault_server, tmp_path, capsys
):
    server = fault_server(faults=lambda request, number: "wrong_schema")
    _, tally = run(server, tmp_path, 3)
    assert (tally.accepted, tally.total, tally.round) == (0, 3, 2)
    assert tally.rejected == 6, "three calls, in two rounds"
    assert tally.asked_again == 3 + 3 + 3, "with the fault, as another sample, with its fault"
    lines = capsys.readouterr().out.splitlines()
    tokens = server.billed_tokens()
    assert lines[-1].startswith(
        f"qa: 0 of 3 accepted, 6 rejected, 9 asked again, round 2, 0 in flight, {tokens:,} tokens"
    )


def test_calls_that_are_mended_in_a_later_round_are_accepted_once(fault_server, tmp_path):
    server = fault_server()
    strict = lambda request, value: [] if request.sample or request.subject != "p1" else ["bad"]  # noqa: E731
    answers, tally = run(server, tmp_path, 4, strict)
    assert len(answers.values) == 4
    assert (tally.accepted, tally.total, tally.rejected, tally.asked_again) == (4, 4, 1, 2)
    assert tally.waiting == 0


def test_what_is_taken_back_is_no_longer_accepted(fault_server, tmp_path):
    taken = []

    def clashes(values):
        first = not taken
        taken.append(1)
        return {"p0": "says the same as p1"} if first else {}

    _, tally = run(fault_server(), tmp_path, 3, clashes=clashes)
    assert (tally.accepted, tally.total, tally.asked_again, tally.round) == (3, 3, 1, 2)


def test_what_the_journal_answers_counts_too(fault_server, tmp_path):
    server = fault_server(faults=["wrong_schema"] * 2)
    _, first = run(server, tmp_path, 3, resample_max=0)
    calls = len(server.calls)
    _, second = run(server, tmp_path, 3, resample_max=0)
    assert len(server.calls) == calls
    assert (first.accepted, first.rejected) == (second.accepted, second.rejected) == (2, 1)
    assert second.asked_again == 0, "nothing was asked in this run"


@pytest.mark.parametrize(
    "fault, why, helps",
    [
        ("prose", "form 10", "an endpoint that enforces JSON Schemas (structured: here prompt is"),
        ("length", "cut off 10", "a server with a longer context, or a model that thinks less"),
        ("too_long", "too long 10", "a server with a longer context"),
        ("refusal", "refused 10", "a model that refuses less"),
    ],
)
def test_a_weak_author_is_told_after_ten_replies(fault_server, tmp_path, capsys, fault, why, helps):
    server = fault_server(faults=lambda request, number: fault)
    run(server, tmp_path, 12, structured="prompt", resample_max=0)
    told = [line for line in capsys.readouterr().out.splitlines() if "first 10" in line]
    start = f"qa: 0 of the first 10 replies accepted (rejected: {why}); what usually helps: "
    assert len(told) == 1 and told[0].startswith(start + helps)
    assert told[0].endswith("a larger model")


def test_replies_that_say_the_wrong_thing(fault_server, tmp_path, capsys):
    run(fault_server(), tmp_path, 12, lambda request, value: ["value: is missing"], resample_max=0)
    assert (
        "qa: 0 of the first 10 replies accepted (rejected: content 10); "
        "what usually helps: a larger model\n"
    ) in capsys.readouterr().out


def test_a_good_author_is_given_no_advice(fault_server, tmp_path, capsys):
    server = fault_server(faults=["wrong_schema"])
    run(server, tmp_path, 12, limits={"max_in_flight": 1})
    out = capsys.readouterr().out
    assert "qa: 9 of the first 10 replies accepted (rejected: form 1)\n" in out
    assert "helps" not in out


def test_few_replies_say_nothing(fault_server, tmp_path, capsys):
    run(fault_server(), tmp_path, 9)
    assert "first 10" not in capsys.readouterr().out


def test_a_later_batch_of_calls_is_added():
    tally = Tally()
    tally.begin(4, again=False)
    tally.accepted += 3
    tally.begin(2, again=False)
    tally.accepted += 1
    tally.begin(1, again=True)
    assert (tally.accepted, tally.total, tally.round) == (4, 6, 2)
