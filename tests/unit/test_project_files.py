"""Files that other programs read: the workflow catalog, citation managers, readers of versions."""

import re
import tomllib
from pathlib import Path

import yaml

from job_settings import study

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_that_of_pyproject_everywhere():
    version = PROJECT["version"]
    assert yaml.safe_load(text("CITATION.cff"))["version"] == version
    assert re.search(r"Cite version (\S+) as in", text("README.md"))[1] == version
    assert re.search(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)[1].strip("[]") == version


def test_the_citation_has_what_its_format_requires_and_the_project_says():
    citation = yaml.safe_load(text("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["license"] == PROJECT["license"]
    assert "(CITATION.cff)" in text("README.md")


def test_the_workflow_catalog_finds_what_it_asks_for():
    usage = yaml.safe_load(text(".snakemake-workflow-catalog.yml"))["usage"]
    assert usage["software-stack-deployment"]["conda"] is True
    assert set(usage) <= {"mandatory-flags", "software-stack-deployment", "report"}
    assert all(word in text("README.md").lower() for word in ("snakemake", "workflow"))
    assert (ROOT / "Snakefile").is_file() and list((ROOT / "rules").glob("*.smk"))
    assert text("config/README.md")


def test_conda_has_an_environment_for_every_job():
    for path in (ROOT / "rules").glob("*.smk"):
        rules = re.split(r"^ *rule\b", path.read_text(), flags=re.MULTILINE)[1:]
        assert all("conda:" in rule for rule in rules if "shell:" in rule), path.name


def test_readme_names_every_table_of_the_default_study():
    for name in study().result_tables():
        assert f"`{name}.json`" in text("README.md"), name
