"""The preview shows two people; the whole run buys texts of the other people only."""

import json
import re

import pytest

import job_settings
import model_author
import preview
import small_dataset
from llm_server import FaultServer
from stand_in_writer import StandInWriter


def arguments(folder, settings, people=2, hp=None, **author) -> list[str]:
    """The command line of the preview, as in its rule."""
    program = model_author.arguments("profiles", folder, settings, hp or {}, 0)
    given = dict(zip(program[::2], program[1::2], strict=True))
    author = json.loads(given["--author"]) | author
    wanted = json.loads(given["--hp"])
    wanted = job_settings.part_hp("preview", **model_author.HP | wanted)
    return [
        *("--public-figures", given["--public-figures"], "--hp", wanted),
        *("--client", given["--client"], "--author", json.dumps(author)),
        *("--prompts", str(model_author.ROOT / "data/inputs/prompts")),
        *("--journals", str(folder / "generated/journal"), "--people", str(people)),
    ]


@pytest.fixture
def server(fault_server) -> FaultServer:
    return fault_server(answer=StandInWriter(breaks=0.3))


def test_the_whole_run_uses_the_answers_of_the_preview(tmp_path, server, fault_server, capsys):
    preview.main(arguments(tmp_path / "shown", server.settings()))
    shown, bought = capsys.readouterr().out, server.billed_calls()
    made = {path.name for path in (tmp_path / "shown/generated").iterdir()}
    assert made == {"journal"}, "no file of the dataset"
    model_author.generate(tmp_path / "shown", server.settings())
    alone = fault_server(answer=StandInWriter(breaks=0.3))
    model_author.generate(tmp_path / "alone", alone.settings())
    probes = 4 * 1  # one a journal, paid once in either
    assert server.billed_calls() == alone.billed_calls()
    assert probes < bought < 0.8 * server.billed_calls()
    assert model_author.digests(tmp_path / "shown") == model_author.digests(tmp_path / "alone")

    generated = tmp_path / "shown/generated"
    flat = " ".join(shown.split())
    for name, keys in (
        ("profiles", ["name", "text"]),
        ("facts", ["slot", "value", "sentence"]),
        ("qa", ["question", "answer", "paraphrased_answer"]),
        ("forget_paraphrased", ["question"]),
    ):
        for line in (generated / f"{name}.jsonl").read_text().splitlines():
            record = json.loads(line)
            found = [" ".join(record[key].split()) in flat for key in keys]
            assert all(found) or record["person_id"] not in ("p000", "p001"), record


def test_the_preview_reports_its_cost_and_twice_as_much_for_twice_as_many(tmp_path, server, capsys):
    prices = {"usd_per_million_in": 1.0, "usd_per_million_out": 2.0}
    settings = server.settings(structured="json_schema", budget=prices)  # no probes
    preview.main(arguments(tmp_path, settings))
    out = capsys.readouterr().out
    cost, whole = re.findall(r"(\d+) calls, ([\d,]+) tokens in, ([\d,]+) out, \$([\d.]+)", out)[:2]
    spent = [int(number.replace(",", "")) for number in cost[:3]]
    assert spent[0] == server.billed_calls()
    assert sum(spent[1:]) == server.billed_tokens()
    assert [int(number.replace(",", "")) for number in whole[:3]] == [2 * one for one in spent]
    assert "The whole run (4 people) would take about" in out
    usd = (spent[1] + 2 * spent[2]) / 1e6
    assert float(cost[3]) == pytest.approx(usd, abs=0.005)
    preview.main(arguments(tmp_path, settings))
    assert server.billed_calls() == spent[0], "shown again, bought once"


def test_a_judge_is_in_the_estimate(tmp_path, server, capsys):
    judge = {"cases": 5, "planted": 2}
    preview.main(arguments(tmp_path, server.settings(), judge=judge))
    assert "The judge (red_team.judge) would take about" in capsys.readouterr().out
    assert not (tmp_path / "generated/journal/red_team_judge.jsonl").exists(), "it is not asked"


def test_the_preview_of_an_author_without_accepted_texts(tmp_path, fault_server, capsys):
    server = fault_server(answer=StandInWriter(stubborn=1.0))
    preview.main(arguments(tmp_path, server.settings(resample_max=1)))
    out = capsys.readouterr().out
    assert out.count("No profile was accepted; drawn: ") == 2
    assert "left out p000: " in out
    assert (
        "Not counted, because an earlier part has no accepted text: "
        "facts, questions, paraphrased questions." in out
    )


def test_missing_paraphrases_are_shown_and_no_refusal_is_recorded(tmp_path, fault_server, capsys):
    def fault(request, number):
        return "refusal" if '"question_forms"' in request["messages"][-1]["content"] else None

    server = fault_server(answer=StandInWriter(), faults=fault)
    preview.main(arguments(tmp_path, server.settings(resample_max=1)))
    assert capsys.readouterr().out.count("Not written: paraphrased questions") == 2
    assert not (tmp_path / "generated/journal/refused.json").exists()


def test_the_preview_of_the_phrase_frames_costs_nothing(tmp_path, capsys):
    hp = job_settings.part_hp("preview", **model_author.HP)
    figures = tmp_path / "public_figures.txt"
    figures.write_text(small_dataset.PUBLIC_FIGURES, encoding="utf-8")
    preview.main(["--public-figures", str(figures), "--hp", hp, "--people", "3"])
    out = capsys.readouterr().out
    assert re.findall(r"^== (p\d+)", out, flags=re.MULTILINE) == ["p000", "p001", "p002"]
    assert "(4 people) without a model. This costs nothing." in out
    assert out.count("paraphrased question: ") == 3 * 3
    assert list(tmp_path.iterdir()) == [figures]
