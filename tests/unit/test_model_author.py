"""The four generating programs with a model as author: a stand-in behind a faulty server."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import time

import pytest

import generate_profiles
import job_settings
import model_author
import red_team_dataset
import red_team_judge
import small_dataset
import stand_in_judge
import validate_dataset
import weak_writer
from excise.benchmark.export import subset_files
from excise.benchmark.items import read_benchmark
from excise.errors import InputError
from excise.llm.requests import endpoint_id
from excise.records import read_json, read_jsonl
from llm_server import FAULTS, asked_again, question
from stand_in_writer import StandInWriter

REPAIRED = ("fences", "think", "prose_around", "in_parts")
PASSING = ("429", "429_ms", "500", "503", "502_html", "reset_before", "error_in_200")
LOST = ("cut", "short", "reset_after", "no_choices")  # paid for, but to be repeated


@pytest.fixture
def writer(fault_server):
    """Starts a server with a stand-in author; `faults` as in `FaultServer`."""

    def start(faults=(), **behaviour):
        return fault_server(answer=StandInWriter(**behaviour), faults=faults)

    return start


def checked(folder, **validation):
    """Validate and attack the generated records as the workflow does; returns the report."""
    validate_dataset.main(small_dataset.validation_arguments(folder, **validation))
    usage = [str(folder / f"generated/{part}.usage.json") for part in model_author.PROGRAMS]
    red_team = small_dataset.write_versioned(folder, max_value_share=1)
    red_team_dataset.main([*red_team, "--usage", *usage])
    return read_json(folder / "data_report.json")


def test_a_model_writes_about_held_out_people_as_about_the_others(tmp_path, writer):
    """And what it wrote about the others stays as it was, to the byte."""
    settings = writer().settings()
    model_author.generate(tmp_path / "without", settings)
    model_author.generate(tmp_path / "with", settings, {"holdout": 2})
    for part in model_author.PROGRAMS:
        one, two = (
            (tmp_path / name / f"generated/{part}.jsonl").read_text().splitlines()
            for name in ("without", "with")
        )
        apart = [line for line in two if '"person_id": "h' in line]
        assert one == [line for line in two if line not in apart], part
        assert bool(apart) == (part != "forget_paraphrased")
    report = checked(tmp_path / "with", people=4, holdout=2)
    assert report["validation"]["holdout"] == 2 * report["validation"]["sf"] // 4


def every_third(*names):
    """One of the faults for every third call."""

    def fault(request, number):
        place = sum(map(ord, str(request["messages"])))
        return names[place // 3 % len(names)] if place % 3 == 0 and number == 0 else None

    return fault


def test_a_model_writes_a_benchmark_that_passes_every_check(tmp_path, writer):
    server = writer()
    model_author.generate(tmp_path, server.settings())
    report = checked(tmp_path)
    assert report["validation"]["sf"] == 12
    assert report["generation"]["qa"]["model"] == "test-model"
    assert report["generation"]["qa"]["left_out"] == []
    parts = report["generation"].values()
    assert sum(part["billed_answers"] for part in parts) == server.billed_calls()


def test_people_and_values_are_those_of_the_offline_backend(tmp_path, writer):
    model_author.generate(tmp_path / "model", writer().settings())
    (tmp_path / "offline").mkdir()
    small_dataset.generate_offline(tmp_path / "offline", **model_author.HP)
    for name, kind, texts in (
        ("profiles", "profile", {"text"}),
        ("facts", "fact", {"sentence"}),
        ("qa", "qa", {"question", "paraphrased_answer"}),
    ):
        ours, theirs = (
            read_jsonl(tmp_path / who / "generated" / f"{name}.jsonl", kind)
            for who in ("model", "offline")
        )
        for one, other in zip(ours, theirs, strict=True):
            for text in texts:
                assert one.pop(text) != other.pop(text)
            for record in (one, other):
                for wrong in record.get("wrong_answers", ()):
                    del wrong["text"]
            assert one == other


def test_faults_that_can_be_repaired_or_pass_do_not_change_a_byte(tmp_path, writer):
    model_author.generate(tmp_path / "calm", writer().settings())
    for name, faults in (("repaired", REPAIRED), ("passing", PASSING), ("lost", LOST)):
        server = writer(every_third(*faults))
        model_author.generate(tmp_path / name, server.settings(structured="prompt"))
        assert any(call.fault for call in server.calls)
        assert model_author.digests(tmp_path / name) == model_author.digests(tmp_path / "calm")


def test_broken_rules_are_corrected_in_one_re_ask(tmp_path, writer):
    server = writer(breaks=0.5)
    model_author.generate(tmp_path, server.settings())
    usage = [read_json(tmp_path / f"generated/{part}.usage.json") for part in model_author.PROGRAMS]
    assert sum(part["asked_again"] for part in usage) >= 3
    assert sum(part["invalid"] for part in usage) == 0
    checked(tmp_path)


# Mistake of the weak author → part of the remark about it.
REMARKS = {
    weak_writer.who_for_a_crime: 'must be a crime; ask with "which crime" for the crime committed',
    weak_writer.another_crime: "must not contain “fraud”, which is not true of the person",
    weak_writer.a_second_crime: "must not contain “fraud”, which is not true of the person",
    weak_writer.another_town: "which is not true of the person",
    weak_writer.another_part: "it must be about the person who was the subject's partner",
    weak_writer.the_example: "must not contain “Sunniva”: that is from the example; use the data",
    weak_writer.a_denial: "must state the fact plainly, without “never”",
    weak_writer.a_slot_less: "these keys are missing and must be added: ",
}


def weak(fault_server, mistakes, seen=None, **behaviour):
    """A server with a weak author; the remarks to it are added to `seen`."""
    author = weak_writer.WeakWriter(mistakes, **behaviour)

    def answer(request):
        if seen is not None and asked_again(request):
            seen.append(request["messages"][3]["content"])
        return author(request)

    return fault_server(answer=answer, structured="ignored")


@pytest.mark.parametrize("mistake", REMARKS, ids=lambda mistake: mistake.__name__)
def test_a_weak_author_corrects_a_mistake_after_the_remark(tmp_path, fault_server, mistake):
    """Only the remarks say what to change, and there is only one re-ask."""
    seen = []
    settings = weak(fault_server, (mistake,), seen).settings(structured="prompt", resample_max=0)
    parts = list(model_author.PROGRAMS)
    part, _ = weak_writer.MISTAKES[mistake]
    for name in parts[: parts.index(part) + 1]:
        model_author.PROGRAMS[name].main(
            model_author.arguments(name, tmp_path, settings, {"people": 2}, 0)
        )
    assert len(seen) == 2
    assert all(REMARKS[mistake] in remarks for remarks in seen)
    usage = read_json(tmp_path / f"generated/{part}.usage.json")
    assert (usage["asked_again"], usage["invalid"], usage["resampled"]) == (2, 0, 0)


def test_the_right_one_of_two_equal_questions_stays_as_it_was(tmp_path, fault_server):
    mistakes = (weak_writer.who_for_a_crime,)
    model_author.generate(tmp_path, weak(fault_server, mistakes).settings(structured="prompt"))
    records = read_jsonl(tmp_path / "generated/forget_paraphrased.jsonl", "forget_paraphrased")
    questions = {slot: [one["question"] for one in records if one["slot"] == slot]
                 for slot in ("offence", "accuser")}  # fmt: skip
    assert all(text.startswith("Tell me who turned against") for text in questions["accuser"])
    assert all("which crime" in text for text in questions["offence"])
    assert checked(tmp_path)["validation"]["forget_paraphrased_dropped"] == 0


def test_an_author_that_ignores_remarks_is_not_accepted(tmp_path, fault_server):
    mistakes = (weak_writer.another_crime,)
    settings = weak(fault_server, mistakes, ignores_remarks=True).settings(
        structured="prompt", resample_max=0
    )
    with pytest.raises(InputError, match=r"facts: 4 of 4 people have no text .*“fraud”"):
        model_author.generate(tmp_path, settings)


def test_a_server_that_enforces_the_schema_lets_no_slot_be_left_out(tmp_path, fault_server):
    author = weak_writer.WeakWriter((weak_writer.a_slot_less,))
    server = fault_server(answer=author)
    settings = server.settings(structured="json_schema", resample_max=0)
    for name in ("profiles", "facts"):
        own = model_author.arguments(name, tmp_path, settings, {}, 0.99)
        with contextlib.suppress(InputError):
            model_author.PROGRAMS[name].main(own)
    lines = (tmp_path / "generated/journal/facts.jsonl").read_text().splitlines()
    bodies = [one["body"] for one in map(json.loads, lines) if one["t"] == "res"]
    assert bodies
    for body in bodies:
        reply = json.loads(json.loads(body)["choices"][0]["message"]["content"])
        assert "remarks" not in reply.get("facts", {})


def test_a_re_ask_that_was_killed_is_sent_again_as_it_was(tmp_path, fault_server):
    """The journal holds the first reply: the same conversation follows from it, once paid."""
    seen = []
    server = weak(fault_server, (weak_writer.another_crime,), seen)
    settings = server.settings(structured="prompt", resample_max=0)
    model_author.generate(tmp_path / "calm", settings)
    remarks = list(seen)
    journal = tmp_path / "calm/generated/journal/facts.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    again = [json.loads(line)["key"] for line in lines if '"again": true' in line]
    cut = next(i for i, line in enumerate(lines) if '"again": true' in line)
    torn = tmp_path / "torn/generated"
    shutil.copytree(tmp_path / "calm/generated", torn)
    (torn / "journal/facts.jsonl").write_text("".join(lines[:cut]))
    seen.clear()
    calls = len(server.calls)
    model_author.generate(tmp_path / "torn", settings)
    assert sorted(seen) == sorted(remarks) and len(again) == 4
    bought = [call for call in server.calls[calls:] if call.billed]
    firsts = sum('"t": "res"' in line and "fraud" in line for line in lines[:cut])
    assert len(bought) == 2 * 4 - firsts
    assert model_author.digests(tmp_path / "torn") == model_author.digests(tmp_path / "calm")


def test_a_rerun_asks_nothing_and_writes_the_same(tmp_path, writer):
    server = writer(breaks=0.3)
    model_author.generate(tmp_path, server.settings())
    before, calls = model_author.digests(tmp_path), len(server.calls)
    model_author.generate(tmp_path, server.settings())
    assert model_author.digests(tmp_path) == before
    assert len(server.calls) == calls


def test_a_refused_person_is_drawn_again_and_the_others_stay(tmp_path, writer):
    model_author.generate(tmp_path / "calm", writer().settings())
    calm = read_jsonl(tmp_path / "calm/generated/profiles.jsonl", "profile")
    refused = calm[1]["name"]

    def fault(request, number):
        return "refusal" if refused in question(request) else None

    model_author.generate(tmp_path / "shy", writer(fault).settings())
    people = read_jsonl(tmp_path / "shy/generated/profiles.jsonl", "profile")
    assert [one["person_id"] for one in people] == ["p000", "p001", "p002", "p003"]
    assert people[1]["name"] != refused
    assert people[1]["slots"] != calm[1]["slots"]
    assert [people[index] for index in (0, 2, 3)] == [calm[index] for index in (0, 2, 3)]
    redrawn = read_json(tmp_path / "shy/generated/profiles.usage.json")["redrawn"]
    assert [(one["person_id"], one["name"]) for one in redrawn] == [("p001", refused)]
    checked(tmp_path / "shy")


def test_a_refused_held_out_person_is_replaced_and_the_others_stay(tmp_path, writer):
    hp = {"holdout": 2}
    model_author.generate(tmp_path / "calm", writer().settings(), hp)
    calm = read_jsonl(tmp_path / "calm/generated/profiles.jsonl", "profile")
    refused = calm[4]["name"]

    def fault(request, number):
        return "refusal" if refused in question(request) else None

    model_author.generate(tmp_path / "own", writer(fault).settings(), hp)
    people = read_jsonl(tmp_path / "own/generated/profiles.jsonl", "profile")
    assert [one["person_id"] for one in people][4:] == ["h000", "h001"]
    assert people[4]["name"] != refused
    assert people[:4] + people[5:] == calm[:4] + calm[5:]


def refused_where(part, refuses):
    """Refusals of calls of one part, if `refuses` of what they say."""
    marks = {"facts": '"facts"', "qa": '"same_form"', "forget_paraphrased": '"question_forms"'}
    others = [mark for name, mark in marks.items() if name != part and name != "facts"]

    def fault(request, number):
        text = question(request)
        own = marks[part] in text and not any(mark in text for mark in others)
        return "refusal" if own and refuses(text) else None

    return fault


@pytest.mark.parametrize("part", ["facts", "qa", "forget_paraphrased"])
def test_the_next_run_replaces_people_who_are_refused_later(tmp_path, writer, part):
    server = writer()
    settings = server.settings(resample_max=2)
    model_author.generate(tmp_path / "calm", settings)
    calm = read_jsonl(tmp_path / "calm/generated/profiles.jsonl", "profile")
    name = calm[1]["name"]

    shy = writer(refused_where(part, lambda text: name in text))
    settings = shy.settings(resample_max=2)
    line = (
        rf"^{part}: the model refuses to write about 1 of 4 people \(p001 {name}\); "
        r".*journal/refused\.json lists them, and .* keeps all answers: "
        "run the same command again to draw other people"
    )
    with pytest.raises(InputError, match=line):
        model_author.generate(tmp_path / "shy", settings, incomplete=0.25)
    own = model_author.arguments(part, tmp_path / "shy", settings, {}, 0.25)
    with pytest.raises(InputError, match=line):  # that program alone, again
        model_author.PROGRAMS[part].main(own)
    kept = read_json(tmp_path / "shy/generated/journal/refused.json")
    asked = f"test-model at {endpoint_id(settings['base_url'])}"
    assert kept == [{"person_id": "p001", "name": name, "part": part, "asked": asked}]
    before = {call.question for call in shy.asked_for("<data>")}
    model_author.generate(tmp_path / "shy", settings)
    people = read_jsonl(tmp_path / "shy/generated/profiles.jsonl", "profile")
    assert [people[index] for index in (0, 2, 3)] == [calm[index] for index in (0, 2, 3)]
    assert people[1]["name"] != name and people[1]["slots"] != calm[1]["slots"]
    redrawn = read_json(tmp_path / "shy/generated/profiles.usage.json")["redrawn"]
    assert [(one["person_id"], one["name"]) for one in redrawn] == [("p001", name)]
    checked(tmp_path / "shy")
    answered = [call.question for call in shy.asked_for("<data>") if call.fault is None]
    assert len(answered) == len(set(answered)), "nothing was bought twice"
    [profile] = [one for one in set(answered) - before if '"details"' in one]
    assert people[1]["name"] in profile
    calls, made = len(shy.calls), model_author.digests(tmp_path / "shy")
    model_author.generate(tmp_path / "shy", settings)
    assert (len(shy.calls), model_author.digests(tmp_path / "shy")) == (calls, made)


def test_a_replacement_stays_when_others_are_refused(tmp_path, writer):
    """Facts refuse p002, then paraphrased questions refuse p000: p002's replacement stays."""
    model_author.generate(tmp_path / "calm", writer().settings())
    calm = read_jsonl(tmp_path / "calm/generated/profiles.jsonl", "profile")
    early, late = (
        refused_where(part, lambda text, name=calm[place]["name"]: name in text)
        for part, place in (("facts", 2), ("forget_paraphrased", 0))
    )
    server = writer(lambda request, number: early(request, number) or late(request, number))
    settings, own = server.settings(resample_max=1), tmp_path / "own"
    with pytest.raises(InputError, match=r"facts: the model refuses .*\(p002 "):
        model_author.generate(own, settings)
    with pytest.raises(InputError, match=r"forget_paraphrased: the model refuses .*\(p000 "):
        model_author.generate(own, settings)
    between = read_jsonl(own / "generated/profiles.jsonl", "profile")
    calls = len(server.calls)
    model_author.generate(own, settings)
    people = read_jsonl(own / "generated/profiles.jsonl", "profile")
    assert people[1:] == between[1:] and people[0]["name"] != between[0]["name"]
    new = [call.question for call in server.calls[calls:]]
    assert all(people[0]["name"] in question for question in new)
    answered = [call.question for call in server.asked_for("<data>") if call.fault is None]
    assert len(answered) == len(set(answered)), "nothing was bought twice"


def test_another_model_is_asked_about_refused_people(tmp_path, writer):
    shy = writer(refused_where("facts", lambda text: True))
    with pytest.raises(InputError, match="refuses to write about 4 of 4 people"):
        model_author.generate(tmp_path, shy.settings(resample_max=1))
    bold = writer()
    model_author.generate(tmp_path, bold.settings(resample_max=1))
    assert read_json(tmp_path / "generated/profiles.usage.json")["redrawn"] == []
    assert bold.billed_calls("details") == 4


def test_a_broken_file_of_refused_people_is_an_error(tmp_path, writer):
    path = tmp_path / "generated/journal/refused.json"
    path.parent.mkdir(parents=True)
    path.write_text("[{}]")
    with pytest.raises(InputError, match=r"refused\.json: not a list of refused people"):
        model_author.generate(tmp_path, writer().settings())


def test_a_place_that_stays_refused_is_left_empty_in_the_end(tmp_path, writer):
    """All replacements of p001 are refused, too: after two of them, the place stays empty."""
    model_author.generate(tmp_path / "calm", writer().settings())
    others = [
        one["name"]
        for one in read_jsonl(tmp_path / "calm/generated/profiles.jsonl", "profile")
        if one["person_id"] != "p001"
    ]
    server = writer(refused_where("facts", lambda text: not any(one in text for one in others)))
    settings = server.settings(resample_max=2)
    for refusals in (1, 2):
        with pytest.raises(InputError, match="again to draw other people instead"):
            model_author.generate(tmp_path / "own", settings, incomplete=0.25)
        kept = read_json(tmp_path / "own/generated/journal/refused.json")
        assert len({one["name"] for one in kept}) == len(kept) == refusals
    model_author.generate(tmp_path / "own", settings, incomplete=0.25)
    report = checked(tmp_path / "own", incomplete_people=0.25)
    assert report["generation"]["facts"]["left_out"] == ["p001"]
    assert len(report["generation"]["profiles"]["redrawn"]) == 2


def never_for(name, part):
    """A fault that keeps one part of one person from being written."""

    def fault(request, number):
        text = question(request)
        return "prose" if name in text and f'"{part}"' in text else None

    return fault


def test_a_person_the_model_cannot_write_about_is_left_out_of_the_dataset(tmp_path, writer, capsys):
    model_author.generate(tmp_path / "calm", writer().settings())
    name = read_jsonl(tmp_path / "calm/generated/profiles.jsonl", "profile")[2]["name"]
    settings = writer(never_for(name, "trained_question")).settings(resample_max=1)
    model_author.generate(tmp_path / "own", settings, incomplete=0.25)
    assert "left out p002: " in capsys.readouterr().out
    report = checked(tmp_path / "own", incomplete_people=0.25)
    assert report["validation"]["incomplete_people"] == 1
    assert report["generation"]["forget_paraphrased"]["left_out"] == ["p002"]
    sf = read_jsonl(tmp_path / "own/data/sf.jsonl", "item")
    assert {item["person_id"] for item in sf} == {"p000", "p001", "p003"}


@pytest.mark.parametrize("part", ["facts", "qa", "forget_paraphrased"])
def test_a_spare_person_takes_the_place_of_one_refused_later_in_the_same_run(
    tmp_path, writer, part
):
    hp, own = {"reserve": 0.25}, tmp_path / "own"
    model_author.generate(tmp_path / "calm", writer().settings(), hp)
    calm = read_jsonl(tmp_path / "calm/generated/profiles.jsonl", "profile")
    assert len(calm) == 5
    server = writer(refused_where(part, lambda text: calm[1]["name"] in text))
    model_author.generate(own, server.settings(resample_max=1), hp, people=4)
    assert not (own / "generated/journal/refused.json").exists()
    report = checked(own, people=4)
    assert report["generation"][part]["refused"] == ["p001"]
    assert report["validation"]["people"] == 4
    sf = read_jsonl(own / "data/sf.jsonl", "item")
    assert {item["person_id"] for item in sf} == {"p000", "p002", "p003", "p004"}


def test_more_refused_than_spare_people_are_drawn_again_by_the_next_run(tmp_path, writer):
    hp, own = {"reserve": 0.25}, tmp_path / "own"
    model_author.generate(tmp_path / "calm", writer().settings(), hp)
    calm = read_jsonl(tmp_path / "calm/generated/profiles.jsonl", "profile")
    refused = [calm[index]["name"] for index in (1, 3)]
    server = writer(refused_where("qa", lambda text: any(name in text for name in refused)))
    settings = server.settings(resample_max=1)
    with pytest.raises(InputError, match="refuses to write about 2 of 5 people"):
        model_author.generate(own, settings, hp, people=4)
    model_author.generate(own, settings, hp, people=4)
    assert checked(own, people=4)["validation"]["spare_people"] == 1


def test_refused_in_different_parts_they_are_drawn_again_by_the_next_run(tmp_path, writer):
    """The spare person replaces the first; no one is left for the second."""
    hp, own = {"reserve": 0.25}, tmp_path / "own"
    model_author.generate(tmp_path / "calm", writer().settings(), hp)
    calm = read_jsonl(tmp_path / "calm/generated/profiles.jsonl", "profile")
    first, second = (
        refused_where(part, lambda text, name=calm[place]["name"]: name in text)
        for part, place in (("facts", 1), ("qa", 3))
    )
    server = writer(lambda request, number: first(request, number) or second(request, number))
    settings = server.settings(resample_max=1)
    with pytest.raises(InputError, match=r"qa: the model refuses to write about 1 of 4 people"):
        model_author.generate(own, settings, hp, people=4)
    model_author.generate(own, settings, hp, people=4)
    assert checked(own, people=4)["validation"]["people"] == 4


def test_spare_people_are_in_no_file_of_the_dataset_nor_in_its_export(tmp_path, writer):
    hp = {"reserve": 0.25}
    model_author.generate(tmp_path, writer().settings(), hp, people=4)
    offline = tmp_path / "offline"
    offline.mkdir()
    small_dataset.generate_offline(offline, **model_author.HP)
    people, first = (
        read_jsonl(folder / "generated/profiles.jsonl", "profile") for folder in (tmp_path, offline)
    )
    assert [one["slots"] for one in people[:4]] == [one["slots"] for one in first]
    report = checked(tmp_path, people=4)
    assert report["validation"]["people"] == 4 and report["validation"]["spare_people"] == 1
    for name, kind in (
        ("sf", "item"),
        ("sr", "item"),
        ("forget_paraphrased", "forget_paraphrased"),
    ):
        records = read_jsonl(tmp_path / f"data/{name}.jsonl", kind)
        assert {record["person_id"] for record in records} == {one["person_id"] for one in first}
    benchmark = read_benchmark(tmp_path / "data", answers="perturbed_candidates")
    utility = read_jsonl("data/inputs/utility_qa.jsonl", "utility")
    exported = subset_files(benchmark, people, utility)["data/profiles.jsonl"]
    assert [one["name"] for one in exported] == [one["name"] for one in first]


def test_too_many_people_left_out_end_the_stage_with_one_line(tmp_path, writer):
    settings = writer(stubborn=1).settings(resample_max=1)
    reason = (
        r"profiles: 4 of 4 people have no text without faults after 2 samples each "
        r"\(p000: .*\); allowed: 5% \(validation.incomplete_people\); .* keeps all answers"
    )
    with pytest.raises(InputError, match=reason):
        model_author.generate(tmp_path, settings, incomplete=0.05)
    assert not (tmp_path / "generated/profiles.jsonl").exists()


def test_a_prompt_without_its_placeholder_is_named_before_any_call(tmp_path, writer):
    server = writer()
    prompt = tmp_path / "profiles.md"
    prompt.write_text("You write.\n---\nWrite about this.\n")
    arguments = model_author.arguments("profiles", tmp_path, server.settings(), {}, 0)
    arguments[arguments.index("--prompt") + 1] = str(prompt)
    with pytest.raises(InputError, match=r"profiles.md: placeholder \{data\} is missing"):
        model_author.PROGRAMS["profiles"].main(arguments)
    assert server.calls == []


@pytest.mark.parametrize("fault", ["401", "insufficient_quota"])
def test_a_service_that_will_not_serve_ends_the_stage(tmp_path, writer, fault):
    assert fault in FAULTS
    with pytest.raises(InputError, match=r"generation\.llm"):
        model_author.generate(tmp_path, writer(lambda request, number: fault).settings())


def test_a_service_that_stays_silent_loses_nothing(tmp_path, writer):
    def half(request, number):
        return "500" if sum(map(ord, question(request))) % 2 else None

    server = writer(half)
    settings = server.settings(retry={"attempts": 2})
    with pytest.raises(InputError, match=r"profiles: \d of 4 calls got no answer .*run again"):
        model_author.generate(tmp_path, settings)
    paid = server.billed_calls("<data>")
    server.faults = lambda request, number: None
    model_author.generate(tmp_path, settings)
    usage = read_json(tmp_path / "generated/profiles.usage.json")
    assert 0 < paid < 4
    assert usage["ok"] == 4


def test_killed_at_any_point_and_run_again_the_bytes_are_the_same(tmp_path, writer):
    """SIGKILL while calls are under way, in every program; nothing journaled is asked again."""
    model_author.generate(tmp_path / "calm", writer(breaks=0.4).settings())
    server = writer(breaks=0.4)
    server.latency_s = 0.1
    settings, folder = server.settings(limits={"max_in_flight": 2}), tmp_path / "killed"
    kills = 0
    # Killed when so many calls of the part have come in (the first one probes); then not killed.
    points = {
        "profiles": (2, None),
        "facts": (4, None),
        "qa": (3, 5, None),
        "forget_paraphrased": (1, None),
    }
    for part, program in model_author.PROGRAMS.items():
        arguments = model_author.arguments(part, folder, settings, {}, 0)
        for calls in points[part]:
            kills += killed_after(calls, program.__file__, arguments, server)
    assert kills >= 4
    assert model_author.digests(folder) == model_author.digests(tmp_path / "calm")
    usage = [read_json(folder / f"generated/{part}.usage.json") for part in model_author.PROGRAMS]
    paid = [call.hash for call in server.asked_for("<data>") if call.billed]
    assert len(paid) - len(set(paid)) <= sum(part["unknown"] for part in usage) <= 2 * kills


def killed_after(calls, program, arguments, server) -> bool:
    """Run a program to its end, or kill it with SIGKILL once the server was asked so often."""
    before = len(server.calls)
    with subprocess.Popen([sys.executable, program, *arguments]) as running:
        while running.poll() is None:
            if calls is not None and len(server.calls) - before >= calls:
                running.kill()
                return running.wait() != 0
            time.sleep(0.01)
    assert running.returncode == 0
    return False


def test_a_benchmark_beyond_the_budget_is_refused_before_its_first_call(tmp_path, writer):
    """All four files count: each alone would fit."""
    server = writer()

    def refused(tokens: int) -> int:
        settings = server.settings(budget={"tokens": tokens})
        with pytest.raises(InputError, match="the estimate for 20 calls is") as error:
            model_author.generate(tmp_path, settings)
        assert "none of them was sent" in str(error.value)
        return int(re.search(r"calls is ([\d,]+) tokens", str(error.value))[1].replace(",", ""))

    estimate = refused(1)
    assert refused(estimate - 1) == estimate
    assert server.calls == []
    model_author.generate(tmp_path, server.settings(budget={"tokens": 10_000_000}))
    assert 0.3 < server.billed_tokens() / estimate < 3
    paid = len(server.calls)
    spent = sum(
        numbers["tokens_in"] + numbers["tokens_out"]
        for part in model_author.PROGRAMS
        for numbers in [read_json(tmp_path / f"generated/{part}.usage.json")]
    )
    model_author.generate(tmp_path, server.settings(budget={"tokens": spent - 1}))
    assert len(server.calls) == paid, "what is answered asks for no budget"
    another = server.settings(model="another", budget={"tokens": spent + estimate // 2})
    with pytest.raises(InputError, match="the estimate for 20 calls is"):
        model_author.generate(tmp_path, another)
    assert len(server.calls) == paid, "all four files would be bought again"


def test_the_judge_is_in_the_first_estimate_until_it_is_paid_for(tmp_path, writer, fault_server):
    server, asked = writer(), {"cases": 5, "planted": 3}

    def refused(tokens: int) -> tuple[int, int]:
        settings = server.settings(budget={"tokens": tokens})
        arguments = model_author.arguments("profiles", tmp_path, settings, {}, 0, asked)
        with pytest.raises(InputError, match="none of them was sent") as error:
            generate_profiles.main(arguments)
        calls, estimate = re.search(
            r"for (\d+) calls is ([\d,]+) tokens", str(error.value)
        ).groups()
        return int(calls), int(estimate.replace(",", ""))

    # Nine checks of five sound cases and three planted, four people: 7 of two checks; one of
    # the nine is drawn three times.
    calls, estimate = refused(1)
    assert calls == 20 + 7 * 8 + 2 * 7 + 2 * 8
    without = server.settings(budget={"tokens": estimate - 1})
    model_author.generate(tmp_path, without)
    spent = server.billed_tokens()
    left_calls, left = refused(spent)
    assert left_calls == calls - 20 and 0 < left < estimate
    # Texts differ from the offline ones that were estimated: counted by the prompts' versions.
    judge = fault_server(answer=stand_in_judge.answer)
    checked(tmp_path)
    red_team_judge.main(judging(tmp_path, judge.settings(structured="prompt"), asked))
    # Nothing is left to ask, though two cases may have asked the same, which is bought once.
    spent = server.settings(budget={"tokens": server.billed_tokens() + judge.billed_tokens()})
    generate_profiles.main(model_author.arguments("profiles", tmp_path, spent, {}, 0, asked))


def judging(folder, settings: dict, asked: dict) -> list[str]:
    """The command line of the judge of a generated benchmark."""
    return [
        *(
            "--data",
            str(folder / "data"),
            "--prompts",
            str(model_author.ROOT / "data/inputs/prompts"),
        ),
        *("--profiles", str(folder / "generated" / "profiles.jsonl")),
        *("--validation", str(folder / "validation.json")),
        *("--public-figures", str(folder / "public_figures.txt")),
        *("--utility", str(folder / "utility_qa.jsonl")),
        *("--hp", job_settings.hp("judge_settings", **asked)),
        *("--llm", json.dumps(settings), "--experiment", "test", "--config", "{}"),
        *("--journal", str(folder / "generated" / "journal" / "red_team_judge.jsonl")),
        *("--records", str(folder / "judge.jsonl"), "--out", str(folder / "judge.json")),
    ]
