"""The containers have the packages of requirements.txt and a supported Python."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
RECIPES = [ROOT / "containers" / name for name in ("Dockerfile", "excise.def")]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.name)
def test_a_recipe_installs_only_the_lock(file):
    text = "\n".join(
        line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")
    )
    assert "requirements.txt /opt/excise/requirements.txt" in text
    (command,) = re.findall(r"pip install(.*?)(?:\n[^ ]|\Z|\n\n)", text, flags=re.DOTALL)
    arguments = re.sub(r"\$\{INDEX:.*?\}\}?|\\", "", command).split()
    arguments = [one for one in arguments if one not in ("}", "${INDEX}}")]
    assert arguments == ["--no-cache-dir", "--requirement", "/opt/excise/requirements.txt"]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.name)
def test_a_recipe_has_a_supported_python(file):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = re.search(r"(?i)^from:? python:([\d.]+)-", file.read_text(), flags=re.MULTILINE)[1]
    assert SpecifierSet(project["requires-python"]).contains(f"{version}.0")
