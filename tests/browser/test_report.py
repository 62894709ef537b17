"""The report in a real browser: what a reader sees, clicks and copies, with the network off."""

import csv
import io
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

import chromium
import compare_experiments
import own_study
import summarize_eval
from browser.made_up_study import GA, HOSTILE, NAME, NPO, copy_named, keep_others, make_results

SECTIONS = {
    "verdicts": "#verdict-table tbody tr",
    "trade-off": "#trade-off-plot .main-svg .scatterlayer path.point",
    "facts": "#fact-list button",
    "correlated": "#correlated-plot .main-svg .scatterlayer path.point",
    "comes-back": "#comes-back-plot .main-svg .heatmaplayer image",
    "inside": "#inside-plot .main-svg .heatmaplayer image",
    "benchmark": "#people details",
    "tables": "#table-rows tbody tr",
}
"""Section → something that it draws from the data."""
KIND = "(cells) => cells.map((one) => one.dataset.kind)"


@dataclass(frozen=True)
class Pages:
    """Pages of a whole study, of one table, of two studies beside each other, of an audit alone."""

    whole: Path
    bare: Path
    two: Path
    audit: Path


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Pages:
    folder = tmp_path_factory.mktemp("pages")
    make_results(folder / "one")
    copy_named(folder / "one", folder / "bare", "bare", ["sweep_results"])
    copy_named(folder / "one", folder / "other", "other", ["sweep_results", "findings"])
    keep_others(folder / "one", folder / "audit")
    made = Pages(*(folder / f"{name}.html" for name in ("whole", "bare", "two", "audit")))
    for page, names in (
        *((made.whole, ["one"]), (made.bare, ["bare"])),
        *((made.two, ["one", "other"]), (made.audit, ["audit"])),
    ):
        results = [str(folder / name) for name in names]
        compare_experiments.main(["--results", *results, "--out", str(page)])
    return made


@pytest.fixture(scope="module")
def browser():
    with chromium.running() as started:
        yield started


@pytest.fixture(scope="module")
def whole(browser, pages):
    """The whole page, open for tests that only look and click; each starts where it likes."""
    with browser.visit(pages.whole) as visit:
        visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        ready(visit)
        yield visit
        assert visit.errors == [] and visit.requests == []


def ready(visit) -> None:
    visit.page.locator("body[data-ready=true]").wait_for()


def until(page, condition: str) -> None:
    """Wait for a condition in JavaScript. Playwright's wait needs eval, which the page forbids."""
    end = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"never true: {condition}"
        page.wait_for_timeout(50)


def see_all(page) -> None:
    """Scroll to every section, so that its figures are drawn."""
    for section in SECTIONS:
        page.locator(f"#{section}").scroll_into_view_if_needed()


def cells(page, table: str, column: str) -> list[str]:
    """Texts of one column of a table."""
    heads = page.locator(f"{table} thead th").all_inner_texts()
    number = heads.index(column) + 1
    return page.locator(f"{table} tbody tr td:nth-child({number})").all_inner_texts()


def number(text: str) -> float:
    return float(text.replace("−", "-"))


# --- what is drawn ---


def test_every_section_is_drawn_without_errors_and_without_a_network(whole):
    for section, drawn in SECTIONS.items():
        whole.page.locator(f"#{section}").scroll_into_view_if_needed()
        whole.page.locator(f"#{section} {drawn}").first.wait_for(state="attached")
    assert whole.page.locator("#loading").is_hidden()
    assert "A toy model" in whole.page.locator("#about").inner_text()
    assert whole.errors == [] and whole.requests == []


def test_every_id_is_there_once_and_every_figure_has_words(whole):
    see_all(whole.page)
    ids = whole.page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    own = [one for one in ids if not re.match(r"(clip|legend|top|g)[0-9a-f]{6}", one)]  # Plotly's
    assert sorted(own) == sorted(set(own))
    unnamed = "[...document.querySelectorAll('select, input, button, textarea')].filter("
    unnamed += "(one) => !(one.ariaLabel || one.labels?.length || one.textContent.trim()))"
    assert whole.page.evaluate(f"{unnamed}.map((one) => one.outerHTML.slice(0, 200))") == []
    plots = whole.page.locator(".plot[role=img][aria-label]:visible")
    assert plots.count() == whole.page.locator(".plot:visible").count() > 4


@pytest.mark.parametrize("width", [1280, 700])
def test_nothing_makes_the_page_wider_than_the_window(browser, pages, width):
    with browser.visit(pages.whole, viewport={"width": width, "height": 900}) as visit:
        ready(visit)
        see_all(visit.page)
        visit.page.locator("[data-fact='p000.sf_3']").click()
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_quantization_shows_each_precision_of_each_checkpoint(whole, pages):
    page, plot = whole.page, whole.page.locator("#quantized-plot")
    plot.scroll_into_view_if_needed()
    plot.locator("path.point").first.wait_for()
    traces = "document.getElementById('quantized-plot').data"
    assert page.evaluate(f"{traces}.map((one) => one.name)") == [
        "INT8",
        "NF4 (4 bits)",
        "FP4 (4 bits)",
    ]
    page.locator("#quantized-measure").select_option("recovery")
    rows = json.loads((pages.whole.parent / "one/quantize_results.json").read_text())["rows"]
    wanted = [
        row["value"]
        for row in rows
        if (row["metric"], row["set"], row["of"]) == ("recovery", "sf", "slot_accuracy")
        and row["value"] is not None
    ]
    shown = page.evaluate(f"{traces}.flatMap((one) => [...one.x])")
    assert sorted(shown) == pytest.approx(sorted(wanted), abs=1e-5)
    assert "0 = nothing, 1 = as before unlearning" in plot.get_attribute("aria-label")


# --- filters, sorting, copies ---


def test_filters_of_the_trade_off_leave_out_methods_epochs_and_settings(whole):
    page, plot = whole.page, whole.page.locator("#trade-off-plot")
    page.locator("#trade-off").scroll_into_view_if_needed()
    plot.locator("path.point").first.wait_for()
    models = "document.getElementById('trade-off-plot').data.flatMap((one) => one.customdata ?? [])"
    assert {*GA} <= {*page.evaluate(models)}
    ga = page.get_by_role("checkbox", name=re.compile("^GA"))
    ga.uncheck()
    assert not {*GA} & {*page.evaluate(models)}
    ga.check()
    page.locator("#trade-off").get_by_role("checkbox", name="12", exact=True).uncheck()
    shown = {one for one in page.evaluate(models) if one.startswith("unlearn/")}
    assert shown and all(one.endswith("/epoch_3") for one in shown)
    page.locator("#trade-off").get_by_role("checkbox", name="12", exact=True).check()
    page.locator("#trade-off-setting").select_option(index=1)
    assert {one.split("/")[1] for one in page.evaluate(models) if "unlearn" in one} == {"ga"}
    page.locator("#trade-off-setting").select_option(index=0)


def test_a_click_on_a_point_opens_its_checkpoint(whole):
    page = whole.page
    page.locator("#trade-off-plot").scroll_into_view_if_needed()
    centre = "(one) => { const box = one.getBoundingClientRect();"
    centre += " return [box.x + box.width / 2, box.y + box.height / 2]; }"
    point = page.locator("#trade-off-plot path.point").first
    page.mouse.move(*point.evaluate(centre))
    page.locator("#trade-off-plot .hoverlayer .hovertext").wait_for()
    assert "forgetting:" in page.locator("#trade-off-plot .hoverlayer").text_content()
    page.mouse.down()
    page.mouse.up()
    page.locator("#checkpoint table").wait_for()
    chosen = page.locator("#checkpoint-choice option:checked").inner_text()
    assert page.locator("#checkpoint caption").inner_text().startswith(f"{chosen}: every metric")
    assert "slot accuracy" in page.locator("#checkpoint tbody").inner_text()


def test_tables_are_filtered_and_sorted(whole):
    page = whole.page
    page.locator("#table-choice").select_option("sweep_results")
    page.locator("#table-filter").fill("npo SF slot_accuracy")
    caption = page.locator("#table-rows caption").inner_text()
    shown, rows = map(int, re.findall(r"\d+", caption.partition(":")[2]))
    assert 0 < shown == page.locator("#table-rows tbody tr").count() < rows
    assert all("npo" in one for one in cells(page, "#table-rows", "model"))
    head = page.locator("#table-rows th", has=page.get_by_role("button", name="value", exact=True))
    for direction, falling in (("ascending", False), ("descending", True)):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        values = [number(one) for one in cells(page, "#table-rows", "value")]
        assert values == sorted(values, reverse=falling) and len(set(values)) > 1


def test_a_table_is_copied_as_csv_markdown_and_latex(whole):
    page = whole.page
    page.locator("#table-choice").select_option("sweep_results")
    page.locator("#table-filter").fill("npo sf slot_accuracy")
    heads = page.locator("#table-rows thead th").all_inner_texts()
    count = page.locator("#table-rows tbody tr").count()
    copied = {}
    for form in ("CSV", "Markdown", "LaTeX"):
        page.locator(f"#table [data-copy={form}]").click()
        page.locator("#copied[open]").wait_for()
        assert f"{count} rows" in page.locator("#copied-note").inner_text()
        copied[form] = page.locator("#copied-text").input_value()
        assert page.evaluate("navigator.clipboard.readText()").split() == copied[form].split()
        page.keyboard.press("Escape")
    lines = list(csv.reader(io.StringIO(copied["CSV"])))
    assert lines[0] == heads and len(lines) == count + 1
    values = [one[heads.index("value")] for one in lines[1:]]
    shown = [number(one) for one in cells(page, "#table-rows", "value")]
    assert [float(one) for one in values] == pytest.approx(shown, abs=1e-3)
    assert len(copied["Markdown"].splitlines()) == count + 2
    assert copied["LaTeX"].count(r"\\") == count + 1 and r"slot\_accuracy" in copied["LaTeX"]


def test_a_metric_is_explained_on_hover_and_on_focus(whole):
    page = whole.page
    term = page.locator("#table-rows .term").first
    term.scroll_into_view_if_needed()
    term.hover()
    page.locator("#tip").wait_for()
    explained = page.locator("#tip").inner_text()
    assert "Convention:" in explained
    page.mouse.move(0, 0)
    page.locator("#tip").wait_for(state="hidden")
    term.focus()
    assert page.locator("#tip").inner_text() == explained
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()


def test_a_metric_outside_of_the_registry_is_explained_too(whole):
    page = whole.page
    page.locator("#table-choice").select_option("depth_results")
    page.locator("#table-filter").fill("uds")
    term = page.locator("#table-rows .term:text-is('uds')").first
    term.scroll_into_view_if_needed()
    term.hover()
    assert "Unlearning Depth Score" in page.locator("#tip").inner_text()
    page.mouse.move(0, 0)
    page.locator("#table-choice").select_option("sweep_results")


def test_the_measures_of_the_red_team_stand_beside_its_checks(whole):
    page = whole.page
    page.locator("#benchmark summary", has_text="measures of the checks").click()
    assert cells(page, "#measures", "measure") == ["auc function words sf"]
    assert cells(page, "#measures", "threshold") == ["0.650"]


def test_a_screen_reader_gets_the_answer_behind_a_sign(whole):
    page = whole.page
    open_fact(page, "sf_1", "GA")
    cells = page.locator("#fact-overview tbody td.k")
    texts = cells.evaluate_all("(all) => all.map((one) => one.textContent)")
    tips = cells.evaluate_all("(all) => all.map((one) => one.dataset.tip)")
    assert tips and all(text.endswith(tip) for text, tip in zip(texts, tips, strict=True))
    tipped = page.locator("thead button[data-tip]")
    assert tipped.count() > 3
    described = tipped.evaluate_all(
        "(all) => all.map((one) => one.getAttribute('aria-describedby'))"
    )
    assert set(described) == {"tip"}


# --- the facts ---


def open_fact(page, slot: str, training: str = "GA") -> None:
    page.locator("#fact-search").fill("")
    page.locator("#fact-person").select_option("p000")
    page.locator(f"[data-fact='p000.{slot}']").click()
    page.locator("#fact-overview").get_by_role("button", name=re.compile(f"^{training}")).click()


def test_a_fact_shows_every_model_and_every_way_of_asking(whole):
    page = whole.page
    open_fact(page, "sf_0", "NPO")
    fact = page.locator("#fact").inner_text()
    assert "Question: Which?" in fact and "True value: secret 0" in fact
    ways = page.locator("#fact-ways")
    rows = ways.locator("tbody th").all_inner_texts()
    assert [one for one in rows if one.startswith("epoch")] == ["epoch 3", "epoch 12"]
    heads = ways.locator("thead th").all_inner_texts()
    assert {"as trained", "in other words", "INT8"} <= {*heads}
    others = page.locator("#fact-relatives tbody tr")
    assert others.count() == 13  # of six forget and eight retain facts
    others.first.locator("th button").click()
    assert "correlated" in page.locator("#fact h3").first.inner_text()


def test_facts_are_searched_filtered_and_walked_through_by_keyboard(whole):
    page = whole.page
    page.locator("#fact-person").select_option("")
    everything = page.locator("#fact-list button").count()
    assert everything == 4 * 14 + 30  # utility
    page.locator("#fact-search").fill("P002 SF")
    assert page.locator("#fact-count").inner_text().startswith("6 of 86 facts")
    found = page.locator("#fact-list button").all_inner_texts()
    assert all(one.startswith("Person 2") and "sf" in one for one in found)
    page.locator("#fact-search").fill("")
    page.locator("#fact-group").select_option("other")
    assert page.locator("#fact-list button").count() == 4 * 4
    page.locator("#fact-group").select_option("")
    page.locator("#fact-list button").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    second = page.locator("#fact-list button").nth(1)
    assert second.get_attribute("aria-current") == "true"
    assert page.evaluate("document.activeElement.dataset.fact") == second.get_attribute("data-fact")


def test_utility_questions_are_read_like_facts(whole):
    page = whole.page
    page.locator("#fact-group").select_option("utility")
    assert page.locator("#fact-list button").count() == 30
    page.locator("[data-fact='utility.u003.retain']").click()
    assert "utility (real world)" in page.locator("#fact h3").first.inner_text()
    assert page.locator("#fact-relatives tbody tr").count() == 29
    page.locator("#fact-group").select_option("")


def test_own_facts_without_values_are_shown_and_not_judged(browser, tmp_path):
    facts = own_study.facts(people=2)
    files = {name: own_study.only(lines, "question", "answer") for name, lines in facts.items()}
    own_study.read(tmp_path, own_study.write_files(tmp_path / "own", **files))
    own_study.write_records(tmp_path)
    settings = {"confidence": 0.95, "levels": None}
    settings |= {"sweep": {"sets": None, "generation": True, "full": []}}
    header = ["--experiment", "own", "--config", "{}", "--hp", json.dumps(settings)]
    models = ["--eval-dir", str(tmp_path / "eval"), "--models", *own_study.MODELS]
    summarize_eval.main([*models, *header, "--out", str(tmp_path / "sweep_results.json")])
    out = tmp_path / "own.html"
    compare_experiments.main(["--results", str(tmp_path), "--out", str(out)])
    with browser.visit(out) as visit:
        ready(visit)
        page = visit.page
        page.locator("#fact-group").select_option("retain")
        assert page.locator("#fact-list button").count() == 10
        page.locator("[data-fact='sr2.sr2.retain']").click()
        fact = page.locator("#fact").inner_text()
        assert "True answer: It is" in fact
        assert set(page.locator("#fact-ways td[data-kind]").evaluate_all(KIND)) == {"u"}
        assert visit.errors == []


@pytest.mark.parametrize("slot", HOSTILE)
def test_what_a_model_wrote_is_shown_as_text(whole, slot):
    page, text = whole.page, HOSTILE[slot]
    open_fact(page, slot)
    answer = page.locator("#fact-ways tbody tr", has_text="epoch 12").locator("td").first
    if not text:
        assert "(empty)" in answer.inner_text()
        return
    said = answer.locator("bdi.said")
    shown = said.evaluate("(one) => one.textContent")
    signs = {"\x07": "\u2407", "\x00": "\u2400", "\x1b": "\u241b"}
    signs |= {"\u202e": "[U+202E]", "\u202c": "[U+202C]", "\u200f": "[U+200F]"}
    assert shown == "".join(signs.get(one, one) for one in text)
    assert said.evaluate("(one) => getComputedStyle(one).unicodeBidi").startswith("isolate")
    assert page.evaluate("typeof broken") == "undefined"
    assert page.locator("#facts img, #facts script, #benchmark script, #benchmark b").count() == 0
    assert answer.bounding_box()["height"] < 400


def test_a_hostile_name_is_text_everywhere(whole):
    shown = NAME.replace("\u202e", "[U+202E]")
    name = whole.page.locator("#people summary bdi").first
    assert name.evaluate("(one) => one.textContent") == shown
    open_fact(whole.page, "sf_0")
    assert whole.page.locator("#fact h3").first.inner_text().startswith(shown)


# --- colours, paper, keyboard ---


LUMINANCE = """(selector) => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (text) => {
    const canvas = document.createElement("canvas").getContext("2d");
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const linear = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((one) => one / 255)
      .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const behind = (one) => {
    const own = getComputedStyle(one).backgroundColor;
    return parts(own)[3] === 0 && one.parentElement ? behind(one.parentElement) : own;
  };
  const shown = (one) => one.offsetParent && one.textContent.trim();
  return [...document.querySelectorAll(selector)].filter(shown).map((one) => {
    const pair = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a);
    return { contrast: (pair[0] + 0.05) / (pair[1] + 0.05), page: light(behind(one)),
      what: `${one.tagName} ${one.className} ${one.textContent.slice(0, 30)}` };
  });
}"""
"""Contrast of elements with what is behind them, as WCAG 2 defines it."""
TEXTS = "p, h1, h2, h3, th, td, dt, dd, a, label, caption, summary, figcaption, .badge, button"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_schemes(browser, pages, scheme):
    with browser.visit(pages.whole, color_scheme=scheme) as visit:
        ready(visit)
        see_all(visit.page)
        page = visit.page
        found = page.evaluate(LUMINANCE, TEXTS)
        assert len(found) > 200
        assert [one for one in found if one["contrast"] < 4.5] == []
        (body,) = page.evaluate(LUMINANCE, "main > h1")
        assert (body["page"] > 0.5) == (scheme == "light")
        ink = "document.querySelector('#trade-off-plot .xtick text').style.fill"
        drawn = page.evaluate(ink)
        page.locator("#scheme").select_option({"light": "dark", "dark": "light"}[scheme])
        (body,) = page.evaluate(LUMINANCE, "main > h1")
        assert (body["page"] > 0.5) == (scheme == "dark")
        until(page, f"{ink} !== '{drawn}'")
        assert visit.errors == []


def test_the_page_is_printed_in_light_colours_with_every_figure(browser, pages):
    with browser.visit(pages.whole, color_scheme="dark") as visit:
        ready(visit)
        page = visit.page
        held = page.evaluate("document.querySelectorAll('.plot .main-svg').length")
        printed = page.pdf(format="A4", print_background=True)
        assert printed.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", printed)) > 3
        drawn = page.evaluate("document.querySelectorAll('.plot .main-svg').length")
        assert drawn > held  # figures far below the window too
        page.emulate_media(media="print", color_scheme="dark")
        (body,) = page.evaluate(LUMINANCE, "main > h1")
        assert body["page"] > 0.5
        assert page.locator("#fact-search").is_hidden() and page.locator("#fact-ways").is_visible()
        assert visit.errors == []


def test_the_keyboard_reaches_the_sections_and_sorts_a_table(browser, pages):
    with browser.visit(pages.whole) as visit:
        ready(visit)
        page = visit.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.url.endswith("#verdicts")
        button = page.locator("#verdict-table thead button").first
        button.focus()
        width = "getComputedStyle(document.activeElement).outlineWidth"
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        assert page.evaluate(width) != "0px"
        page.keyboard.press("Enter")
        assert page.locator("#verdict-table th").first.get_attribute("aria-sort") == "ascending"


def test_a_link_opens_its_section(browser, pages):
    with browser.visit(pages.whole, fragment="#inside") as visit:
        ready(visit)
        top = "document.getElementById('inside').getBoundingClientRect().top"
        until(visit.page, f"{top} > -50 && {top} < 400")


# --- models of others ---


def test_an_audited_model_stands_beside_the_checkpoints(whole):
    page = whole.page
    page.locator("#trade-off").scroll_into_view_if_needed()
    page.locator("#trade-off-plot path.point").first.wait_for()
    names = "document.getElementById('trade-off-plot').data.map((one) => one.name)"
    assert {"theirs (audited)", "reference of audited models"} <= {*page.evaluate(names)}
    open_fact(page, "sf_1")
    beside = page.locator("#fact-overview thead th").all_inner_texts()
    assert beside[-2:] == ["their-start (reference)", "theirs (audited)"]
    rows = page.locator("#fact-ways tbody th").all_inner_texts()
    assert rows[-2:] == ["their-start (reference)", "theirs (audited)"]
    page.locator("#comes-back").scroll_into_view_if_needed()
    page.locator("#comes-back-plot .heatmaplayer image").wait_for(state="attached")
    lines = page.evaluate("document.getElementById('comes-back-plot').data[0].y")
    assert lines[-2:] == ["their-start (reference)", "theirs (audited)"]
    trained = page.locator("#correlated-training option").all_inner_texts()
    assert not [one for one in trained if "theirs" in one]


def test_a_study_that_trains_nothing_has_a_page(browser, pages):
    with browser.visit(pages.audit) as visit:
        ready(visit)
        see_all(visit.page)
        visit.page.locator("#trade-off-plot path.point").first.wait_for()
        assert "1 audited" in visit.page.locator("#about").inner_text()
        assert visit.page.locator("#fact-ways tbody tr").count() == 3
        assert visit.errors == [] and visit.requests == []


# --- relearning ---


def test_relearning_stands_in_the_matrix_and_has_curves(whole):
    page = whole.page
    plot = page.locator("#relearning-plot")
    plot.scroll_into_view_if_needed()
    curves = plot.locator(".scatterlayer path.js-line")
    curves.last.wait_for(state="attached")
    assert curves.count() == 4  # two checkpoints, two oracles
    assert "did not show" in plot.get_attribute("aria-label")
    columns = page.evaluate("document.getElementById('comes-back-plot').data[0].x")
    assert columns[-1] == "relearning: forget facts of some people"
    lines = page.evaluate("document.getElementById('comes-back-plot').data[0].hovertext")
    back = [one[-1] for one in lines if one[-1].startswith("NPO")]
    assert any("known: " in one and "18 questions" in one for one in back), back
    page.locator("#relearning-training").select_option(index=1)
    curves = page.evaluate("document.getElementById('relearning-plot').data")
    (line,) = [one for one in curves if one.get("name", "").startswith("GA")]
    assert line["x"] == [0, 10] and line["y"][1] == 1  # all facts of the others are back
    page.locator("#relearning-training").select_option(index=0)


def after_relearning(page, row: str):
    """The cell of a model in the column of the relearning attack."""
    heads = page.locator("#fact-ways thead th").all_inner_texts()
    number = next(i for i, one in enumerate(heads) if one.startswith("relearning: "))
    line = page.locator("#fact-ways tbody tr", has_text=row).first
    return line.locator("th, td").nth(number), heads[number]


def test_a_fact_shows_what_was_said_after_relearning(whole):
    page = whole.page
    open_fact(page, "sf_0", "GA")
    cell, head = after_relearning(page, "epoch 3")
    assert head.split("\n")[-1] == "the attacker showed this fact"
    assert cell.get_attribute("data-kind") == "t" and "secret 0" in cell.inner_text()
    assert after_relearning(page, "epoch 12")[0].inner_text() == "–"  # not attacked
    assert after_relearning(page, "oracle, seed 1")[0].get_attribute("data-kind") in "tox"
    page.locator("#fact-person").select_option("p001")
    page.locator("[data-fact='p001.sf_0']").click()
    cell, head = after_relearning(page, "epoch 3")
    assert head.split("\n")[-1] == "this fact was not shown"
    assert cell.get_attribute("data-kind") == "t" and "secret 1" in cell.inner_text()
    open_fact(page, "sf_0", "NPO")
    cell, _ = after_relearning(page, "epoch 12")
    assert cell.locator("bdi.said").text_content() == HOSTILE["sf_0"]
    assert page.evaluate("typeof broken") == "undefined"


def comebacks(results: Path) -> dict[tuple[str, str], tuple[int, int]]:
    """(person, slot) → how many checkpoints state a forget fact again, and how many miss it."""
    found = {}
    known = stated(results / "eval/finetuned/items.jsonl", {"sf"})
    for fact in known:
        missed = [m for m in GA + NPO if not stated_by(results, m)[fact]]
        back = [
            model
            for model in missed
            if any(
                stated(path, {"sf", "forget_paraphrased", "forget_joint"}).get(fact)
                for path in [
                    *(results / "eval" / model).glob("items.jsonl"),
                    *(results / "quantize" / model).glob("*.jsonl"),
                    *(results / "relearn" / model / "forget_part").glob("step_10.jsonl"),
                ]
            )
        ]
        found[fact] = (len(back), len(missed)) if known[fact] else (0, 0)
    return found


def stated_by(results: Path, model: str) -> dict[tuple[str, str], bool]:
    return stated(results / "eval" / model / "items.jsonl", {"sf"})


def stated(path: Path, sets: set[str]) -> dict[tuple[str, str], bool]:
    """(person, slot) → whether an answer states the true value; not what an attacker showed."""
    found = {}
    for line in map(json.loads, path.read_text(encoding="utf-8").strip().split("\n")):
        if line["set"] in sets:
            key = line["person_id"], line["slot"]
            match = bool(line["slot_match"]) and not line.get("shown")
            found[key] = found.get(key, False) or match
    return found


def test_facts_that_came_back_stand_first(whole, pages):
    page = whole.page
    page.locator("#fact-search").fill("")
    page.locator("#fact-person").select_option("")
    page.locator("#fact-order").select_option("back")
    entries = page.locator("#fact-list button").all_inner_texts()
    counts = [re.search(r"came back: (\d+) of (\d+)", one) for one in entries]
    shares = [int(one[1]) for one in counts if one]
    assert shares == sorted(shares, reverse=True) and shares[0] > 0
    assert all(int(one[1]) <= int(one[2]) for one in counts if one)
    assert "came back" not in entries[-1]  # a retain fact
    expected = comebacks(pages.whole.parent / "one")
    names = page.locator("#fact-list button").evaluate_all(
        "(all) => all.map((one) => one.dataset.fact)"
    )
    shown = dict(zip((tuple(one.split(".")) for one in names), counts, strict=True))
    for fact, (back, missed) in expected.items():
        found = shown[fact]
        assert (found and (int(found[1]), int(found[2]))) == ((back, missed) if missed else None)
    page.locator("#fact-order").select_option("telling")


# --- other pages ---


def test_a_study_without_optional_parts_says_so_in_each_section(browser, pages):
    with browser.visit(pages.bare) as visit:
        ready(visit)
        see_all(visit.page)
        visit.page.locator("#trade-off-plot path.point").first.wait_for()
        for section in ("verdicts", "facts", "correlated", "comes-back", "inside", "benchmark"):
            said = visit.page.locator(f"#{section} .empty").first.inner_text()
            assert said.startswith(("This study", "There is no", "No ")), section
        assert visit.page.locator("#table-rows tbody tr").count() > 10
        assert visit.errors == [] and visit.requests == []


def test_two_experiments_stand_beside_each_other(browser, pages):
    with browser.visit(pages.two, viewport={"width": 1600, "height": 900}) as visit:
        ready(visit)
        see_all(visit.page)
        page = visit.page
        page.locator("#trade-off-plot-1 path.point").first.wait_for()
        for section in SECTIONS:
            names = page.locator(f"#{section} h3.experiment").all_inner_texts()
            assert names == ["made up", "other"], section
        left, right = (page.locator(f"#{name}").bounding_box() for name in TRADE_OFFS)
        assert left["x"] + left["width"] <= right["x"] and abs(left["y"] - right["y"]) < 40
        together = page.locator("#verdicts-together tbody tr").first.inner_text()
        assert len(re.findall("confirmed|refuted|undecided", together)) == 2
        ids = page.evaluate("[...document.querySelectorAll('section [id]')].map((one) => one.id)")
        own = [one for one in ids if not re.match(r"(clip|legend|top|g)[0-9a-f]{6}", one)]
        assert sorted(own) == sorted(set(own))
        page.locator("#trade-off-x-1").select_option(index=0)
        assert page.locator("#fact-list").is_visible()
        assert visit.errors == [] and visit.requests == []


TRADE_OFFS = ("trade-off-plot", "trade-off-plot-1")
