"""The classification of responses, and the way from a reply to a checked value."""

import json
from datetime import UTC, datetime

import pytest

from excise.llm.headers import duration, rate_limits, retry_after
from excise.llm.journal import Attempt, billed_by
from excise.llm.repair import judge, repaired_object
from excise.llm.replies import classify, tokens_billed
from excise.llm.requests import Request, endpoint_id, request_key
from excise.llm.steps import Ask, next_step

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30),
        ({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Thu, 99 Foo 2026"}, None),
        ({"retry-after": "Thu, 01 Jan 99999999999999999999 12:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers, seconds):
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    "text, seconds",
    [("1s", 1), ("6m0s", 360), ("20ms", 0.02), ("1m30.5s", 90.5), ("2h", 7200), ("4", 4),
     ("soon", None), ("5 s", None), ("", None), (None, None)],
)  # fmt: skip
def test_durations_of_rate_limit_headers(text, seconds):
    assert duration(text) == seconds


def test_rate_limit_headers():
    limits = rate_limits({"x-ratelimit-limit-requests": "60", "x-ratelimit-reset-tokens": "1s"})
    assert (limits.limit_requests, limits.reset_tokens, limits.limit_tokens) == (60, 1, None)


def completion(content, finish="stop", **message) -> str:
    message = {"role": "assistant", "content": content, **message}
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}]})


def failure(code: str, message: str = "m", **more) -> str:
    return json.dumps({"error": {"message": message, "code": code, **more}})


@pytest.mark.parametrize(
    "status, body, kind",
    [
        (200, completion('{"a": 1}'), "ok"),
        (200, completion('```json\n{"a": 1}\n```'), "repair"),
        (200, completion('{"a": 1', "length"), "longer"),
        (200, completion("", "content_filter"), "resample"),
        (200, completion(None, refusal="I cannot"), "resample"),
        (200, completion("", reasoning='{"a": 1}'), "repair"),
        (200, completion([{"type": "text", "text": '{"a": 1}'}]), "ok"),
        (200, '{"choices": null}', "unknown"),
        (200, '{"choices": []}', "unknown"),
        (200, '{"choices": [{"mess', "unknown"),
        (200, "<html></html>", "unknown"),
        (200, "[1]", "unknown"),
        (200, failure("429"), "retry"),
        (200, failure("500"), "retry"),
        (200, failure("insufficient_quota"), "fatal"),
        (429, failure("rate_limit_exceeded"), "retry"),
        (429, failure("insufficient_quota"), "fatal"),
        (429, failure("x", type="insufficient_quota"), "fatal"),
        (402, failure("x"), "fatal"),
        (408, "", "retry"),
        (500, "", "retry"),
        (502, "<html></html>", "retry"),
        (529, failure("overloaded"), "retry"),
        (401, failure("invalid_api_key"), "fatal"),
        (403, "", "fatal"),
        (404, failure("model_not_found"), "fatal"),
        (400, failure("x", "response_format is not supported"), "lower_rung"),
        (422, failure("x", "extra fields: json_schema"), "lower_rung"),
        (400, failure("x", "Use 'max_completion_tokens' instead of 'max_tokens'"), "token_name"),
        (400, failure("content_filter"), "resample"),
        (400, failure("context_length_exceeded"), "rejected"),
        (400, failure("x", "bad temperature"), "fatal"),
    ],
)
def test_classification(status, body, kind):
    assert classify(status, {}, body).kind == kind


TOO_LARGE = "max_tokens is too large: 32768. This model supports at most 16384 completion tokens"
CONTEXT = (
    "'max_tokens' or 'max_completion_tokens' is too large: 4096. The maximum context length is"
)
RENAMED = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."


@pytest.mark.parametrize(
    "message, kind",
    [(TOO_LARGE, "rejected"), (CONTEXT, "rejected"), (RENAMED, "token_name"),
     ("the request exceeds the available context size", "rejected"),
     ("max_tokens must be positive", "fatal")],
)  # fmt: skip
def test_a_limit_that_is_too_large_is_not_taken_for_a_wrong_name(message, kind):
    assert classify(400, {}, failure("invalid_request_error", message)).kind == kind


def test_a_json_body_is_an_answer_whatever_its_header_calls_it():
    body = completion('{"a": 1}')
    assert classify(200, {"content-type": "text/html"}, body).kind == "ok"
    assert classify(200, {"content-type": "text/html"}, "<p>no</p>").html


def test_brackets_without_end_are_no_answer_and_no_crash():
    deep = "[" * 100_000
    assert classify(200, {}, deep).kind == "unknown"
    assert classify(200, {}, completion(deep)).kind == "repair"
    assert tokens_billed(deep) is None
    for text in (deep, '{"a": ' * 100_000 + "1" + "}" * 100_000):
        assert judge(text, {}, lambda value: []).status == "invalid"


def test_half_a_surrogate_pair_is_refused_before_it_reaches_a_file():
    judged = judge('{"a": "\\ud800"}', {}, lambda value: [])
    assert judged.errors == ["the reply holds characters that are no text"]


def test_a_rate_limit_carries_the_wait_and_says_what_it_is():
    reply = classify(429, {"retry-after": "3"}, failure("rate_limit_exceeded", "slow\ndown"))
    assert (reply.wait_s, reply.rate_limited, reply.message) == (3, True, "HTTP 429: slow down")


def test_an_error_is_not_paid_for_whatever_its_body_says():
    assert billed_by(400, '{"object": "error", "message": "too long"}') == (0, 0)
    assert billed_by(200, '{"choices": []}') is None


def test_tokens_billed():
    usage = {"usage": {"prompt_tokens": 5, "completion_tokens": 7}}
    assert tokens_billed(json.dumps(usage)) == (5, 7)
    assert tokens_billed(failure("x")) == (0, 0)
    assert tokens_billed('{"choices": [') is None
    assert tokens_billed(completion("{}")) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "x", "b": {"c": 2}}',
        '```json\n{"a": "x", "b": {"c": 2}}\n```',
        '```\n{"a": "x", "b": {"c": 2}}\n```',
        'Sure!\n{"a": "x", "b": {"c": 2}}\nBye',
        '<think>maybe {"a": "y"}</think>{"a": "x", "b": {"c": 2}}',
        'half a thought</think>\n{"a": "x", "b": {"c": 2}}',
        '{"a": "x" "b": {"c": 2},}',
        "{'a': 'x', 'b': {'c': 2}}",
        '{"a": "x", "b": {"c": 2,\n},\n}',
        'Draft: ```json\n{"a": "y"}\n``` Final: ```json\n{"a": "x", "b": {"c": 2}}\n```',
    ],
)
def test_repair(text):
    assert repaired_object(text) == {"a": "x", "b": {"c": 2}}


@pytest.mark.parametrize(
    "text",
    ['{"a": "x", "b": {"c": 2}', '{"a": "half a sent', "no JSON", "", "[1, 2]", "{}", "}{", "{"],
)
def test_a_text_that_holds_no_whole_object_is_not_mended(text):
    assert repaired_object(text) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "cut here } and',
        '{"a": "cut in 1990 } and',
        '{"a": "cut here }',
        '{"a": "x", "b": "cut } here"',
        '{"a": "one", "b": "two {x} and } three',
        '{"a": "say \\" } and',
        "{'a': 'it's cut in 1990 } and",
        '```json\n{"a": "cut here } and\n```',
    ],
)
def test_a_brace_in_a_sentence_that_was_cut_off_ends_no_object(text):
    assert repaired_object(text) is None


@pytest.mark.parametrize(
    "text, value",
    [
        ('{"a": "x } y", "b": 1,}', {"a": "x } y", "b": 1}),
        ("{'a': 'it}s', 'b': true}", {"a": "it}s", "b": True}),
        ("{'a': \"it's\", 'b': [1, 2],}", {"a": "it's", "b": [1, 2]}),
        ('{"a": "the boys\' hats",}', {"a": "the boys' hats"}),
        ('{"a": "say \\"no\\"",}', {"a": 'say "no"'}),
    ],
)
def test_a_brace_or_quote_in_a_whole_sentence_is_mended_over(text, value):
    assert repaired_object(text) == value


SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["a"],
    "properties": {"a": {"type": "integer", "minimum": 1}},
}


def test_a_judged_reply_is_ok_repaired_or_has_faults():
    def odd(value):
        return [] if value["a"] % 2 else ["a is even"]

    assert judge('{"a": 1}', SCHEMA, odd).status == "ok"
    assert judge('{"a": 1,}', SCHEMA, odd).status == "repaired"
    assert judge('{"a": 1,}', SCHEMA, odd, may_repair=False).status == "invalid"
    assert judge('{"a": 2}', SCHEMA, odd).errors == ["a is even"]
    assert judge('{"a": 0}', SCHEMA, odd).errors == ["$.a: 0 is less than the minimum of 1"]
    assert judge(" ", SCHEMA, odd).errors == ["the reply was empty"]


REQUEST = Request("qa", "p0", "s", "u", SCHEMA, "v1", 100)


def step(*answers, check=lambda request, value: [], request=REQUEST, longer_max=2):
    """`answers` are (body, length limit, whether a re-ask)."""
    tries = [
        (Attempt(n, "qa", "prompt", limit, again, "v1", 1, 1), classify(200, {}, body))
        for n, (body, limit, again) in enumerate(answers)
    ]
    return next_step(request, tries, check, longer_max)


GOOD, BAD = completion('{"a": 1}'), completion('{"a": 0}')
CUT = completion('{"a": ', "length")


def test_the_steps_of_a_request():
    assert step() == Ask(100, None)
    assert step((GOOD, 100, False)).value == {"a": 1}
    again = step((BAD, 100, False))
    assert again.error == "$.a: 0 is less than the minimum of 1"
    assert again.previous_reply == '{"a": 0}'
    assert step((BAD, 100, False), (CUT, 100, True)) == Ask(200, again.error, again.previous_reply)
    assert step((BAD, 100, False), (BAD, 100, True)).status == "invalid"
    assert step((BAD, 100, False), (GOOD, 100, True)).status == "ok"
    assert step((completion("", "content_filter"), 100, False)).status == "refused"


def test_the_previous_reply_of_a_re_ask_can_be_sent():
    """Half a surrogate pair is valid JSON; no request can hold it."""
    for body in (completion('{"a": "\\ud800"}'), completion("\ud800 no object")):
        ask = step((body, 100, False))
        ask.previous_reply.encode()
        assert ask.error
    assert step((completion("Sure! {'a': 0,}"), 100, False)).previous_reply == '{"a": 0}'


def test_missing_and_unwanted_keys_are_faults_in_plain_words():
    faults = step((completion('{"b": 1, "c": 2}'), 100, False)).error.split("\n")
    assert faults == [
        '$: these keys were not asked for and must be left out: "b", "c"',
        '$: these keys are missing and must be added: "a"',
    ]


def test_a_truncated_answer_doubles_the_limit_and_gives_up_in_the_end():
    assert step((CUT, 100, False)) == Ask(200, None)
    assert step((CUT, 100, False), (CUT, 200, False)) == Ask(400, None)
    last = step((CUT, 100, False), (CUT, 200, False), (CUT, 400, False))
    assert last.status == "invalid"
    assert last.errors == [
        "the answer was cut off at 400 tokens (a higher generation.llm.retry.longer_max asks again)"
    ]
    assert step((CUT, 100, False), longer_max=0).status == "invalid"
    whole = completion('{"a": 1}', "length")
    assert step((whole, 100, False)).value == {"a": 1}


def test_a_stricter_check_judges_old_answers_and_may_ask_once_more():
    def never(request, value):
        return ["not this one"]

    assert step((GOOD, 100, False), check=never) == Ask(100, "not this one", '{"a": 1}')
    stricter = Request("qa", "p0", "s", "u", SCHEMA, "v2", 100)
    assert step((BAD, 100, False), (BAD, 100, True), request=stricter).error is not None


def test_the_key_follows_the_question_and_not_what_judges_the_answer():
    def key(**changes):
        fields = {"system": "s", "user": "u", "schema": {}, "prompt_version": "v", "max_tokens": 1}
        request = Request("qa", "p0", **{**fields, **changes})
        return request_key(request, endpoint_id("http://h/v1"), "m", {})

    same = [{"schema": SCHEMA}, {"prompt_version": "w"}, {"max_tokens": 9}]
    other = [{"system": "S"}, {"user": "U"}, {"temperature": 0.5}, {"sample": 1}]
    assert {key(**change) for change in same} == {key()}
    assert len({key(**change) for change in [{}, *other]}) == 5


def test_an_endpoint_is_known_by_its_place_alone():
    assert endpoint_id("http://user:pw@h:8/v1/?k=secret") == endpoint_id("http://h:8/v1")
    assert endpoint_id(None) == endpoint_id("https://api.openai.com/v1")
    assert endpoint_id("http://h:8/v1") != endpoint_id("http://h:9/v1")
