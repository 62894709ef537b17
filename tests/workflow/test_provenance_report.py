"""Snakemake's own report: how every result was made (`make report`), on the real DAG."""

import re
import zipfile
from pathlib import Path

import pytest

import chromium
import job_settings
from excise.plots.figures import FIGURES
from excise.workflow.provenance_report import SUBJECTS, place_of

ROOT = Path(__file__).parents[2]
RESULTS = "experiments/smoke/results"
WRAPPED = re.compile(r'report\(\s*(f?"[^"]+"),\s*\*\*place_of\w*\([^()]*\),?\s*\)')


@pytest.fixture(scope="module")
def unpacked(smoke, tmp_path_factory) -> Path:
    """The report of the smoke experiment, made where every request to a network fails."""
    nowhere = "http://127.0.0.1:9"
    variables = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), nowhere)
    archive = smoke / f"{RESULTS}/provenance.zip"
    smoke.run("all", "--report", str(archive), **variables)
    folder = tmp_path_factory.mktemp("provenance")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    archive.unlink()
    return folder / "provenance"


@pytest.mark.workflow
def test_the_report_holds_every_table_and_figure_as_it_is(smoke, unpacked):
    held = {path.name: path for path in unpacked.glob("data/raw/*/*")}
    made = [path for path in (smoke / RESULTS).iterdir() if path.suffix in (".json", ".png")]
    made = {path.name: path for path in made if path.stem not in ("validation", "updates")}
    assert made.keys() <= held.keys() and len(made) > 20
    assert all(held[name].read_bytes() == path.read_bytes() for name, path in made.items())


@pytest.mark.workflow
def test_the_report_opens_offline_and_shows_captions_and_commands(unpacked):
    with chromium.running() as browser, browser.visit(unpacked / "report.html") as visit:
        page = visit.page
        page.get_by_role("heading", name="Provenance of the study smoke").wait_for()
        page.get_by_text("Forgetting and damage").first.click()
        figure = page.locator("tr", has_text="retain_gap")
        assert "figure" in figure.inner_text()
        figure.locator("[iconname=information-circle]").click()
        page.get_by_text("Correlated and other retain facts along training").wait_for()
        page.get_by_text("plot", exact=True).locator("xpath=..").locator("a").click()
        page.get_by_text("pip: seaborn==").wait_for()
        assert "--figure {wildcards.figure:q}" in page.locator("body").inner_text()
        assert visit.errors == [] and visit.requests == []


@pytest.mark.workflow
def test_a_place_in_the_report_reruns_nothing(smoke):
    """The smoke experiment ran with these marks; it is up to date without them too."""
    before = {path: path.read_text() for path in (smoke / "rules").glob("*.smk")}
    try:
        marks = 0
        for path, text in before.items():
            plain, found = WRAPPED.subn(r"\1", text)
            path.write_text(plain)
            marks += found
        assert marks == sum(text.count("**place_of") for text in before.values()) > 10
        with smoke.edited("report/findings.rst", "Verdicts", "Sentences"):
            assert smoke.plan("all") == set()
    finally:
        for path, text in before.items():
            path.write_text(text)


# --- places, without Snakemake ---


def test_every_table_has_a_subject_and_every_place_has_a_caption():
    study = job_settings.study(red_team={"judge": {"enabled": True}})
    tables = {re.sub(r"^repr_results_\d+$", "repr_results", one) for one in study.result_tables()}
    assert tables <= SUBJECTS.keys() and "red_team_judge" in tables
    captions = {path.stem for path in (ROOT / "report").glob("*.rst")}
    assert captions == {*SUBJECTS, "figure", "result", "workflow"} - {"repr_layers"}


def test_a_table_that_a_user_added_needs_no_words():
    place = place_of("my_results", "table")
    assert place["category"] == "Further results" and place["caption"].endswith("/result.rst")
    assert place_of("findings", "table")["caption"].endswith("/findings.rst")


def test_every_figure_has_words_of_its_own():
    caption = (ROOT / "report/figure.rst").read_text()
    assert re.findall(r'^  "(\w+)":', caption, flags=re.MULTILINE) == list(FIGURES)
