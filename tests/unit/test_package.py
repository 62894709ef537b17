"""`pip install -e .`: the metadata names every package and every data file of the library."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
SOURCE = ROOT / "workflow_scripts"
LIBRARY = SOURCE / "excise"


def files(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in found if "__pycache__" not in path.parts]


def test_the_build_system_is_named():
    assert PROJECT["build-system"]["build-backend"] == "setuptools.build_meta"


def test_the_packages_are_the_library_and_nothing_else():
    find = SETUPTOOLS["packages"]["find"]
    plugin = "snakemake_logger_plugin_excise"
    assert find == {"where": ["workflow_scripts"], "include": ["excise*", plugin]}
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert packages == {"excise", plugin}


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in files(LIBRARY) if path.suffix == ".py"}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


def test_every_data_file_belongs_to_a_package_and_no_pattern_is_without_files():
    found = set()
    for package, patterns in SETUPTOOLS["package-data"].items():
        folder = SOURCE.joinpath(*package.split("."))
        assert (folder / "__init__.py").is_file(), package
        for pattern in patterns:
            matching = set(folder.glob(pattern))
            assert matching, f"{package}: {pattern}"
            found |= matching
    assert found == {path for path in files(LIBRARY) if path.suffix != ".py"}


def test_make_installs_the_package_and_only_the_snakefile_and_profiles_set_the_path():
    assert "pip install --quiet --no-deps --editable ." in (ROOT / "Makefile").read_text()
    sources = [ROOT / "Snakefile", *files(ROOT / "profiles"), *files(ROOT / "perf")]
    sources += [*files(SOURCE), *files(ROOT / "rules")]
    text = [path for path in sources if path.suffix in (".py", ".smk", ".yaml", "")]
    named = {str(path.relative_to(ROOT)) for path in text if "sys.path" in path.read_text()}
    profiles = {"profiles/default/profile.yaml", "profiles/slurm/profile.yaml"}
    slurm = {"profiles/slurm/bin/sacct", "profiles/slurm/bin/sbatch"}  # stand before SLURM's own
    starts = {"workflow_scripts/excise/workflow/fork_server.py"}  # as a fresh interpreter does
    assert named == {"Snakefile"} | profiles | slurm | starts
