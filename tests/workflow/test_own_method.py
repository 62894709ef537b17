"""A method is an input of its own trajectories and of no others, also in a user's own file."""

import pytest

from how_to import blocks, files
from workflow.conftest import Workspace

pytestmark = pytest.mark.workflow

PAGE = "docs/how-to/add-a-method.md"
METHODS = "workflow_scripts/excise/unlearning/methods"
MODELS = "experiments/smoke/results/models/unlearn"
GA, NPO, OWN = "ga/lr0.0002", "npo/lr0.0002_beta0.1", "ga_kl/lr0.0002_lambda1"
LOGS = [f"{MODELS}/{name}/training_log.json" for name in (GA, NPO)]


def follow(workspace: Workspace) -> None:
    """Write the files of the page where it says."""
    for name, text in files(PAGE).items():
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).write_text(text)


def test_editing_a_method_reruns_its_trajectories_and_no_others(smoke):
    with smoke.edited(f"{METHODS}/npo.py", '"""', '"""Edited. '):
        assert smoke.plan(*LOGS) == {f"Unlearning: {NPO}"}


@pytest.mark.parametrize("file", ["methods/simnpo.py", "arithmetic.py"])
def test_editing_what_no_trajectory_reads_reruns_nothing(smoke, file):
    with smoke.edited(f"workflow_scripts/excise/unlearning/{file}", '"""', '"""Edited. '):
        assert smoke.plan(*LOGS) == set()


@pytest.mark.parametrize("file", ["losses.py", "method.py", "registry.py", "trajectory.py"])
def test_editing_what_all_methods_share_reruns_all(smoke, file):
    with smoke.edited(f"workflow_scripts/excise/unlearning/{file}", '"""', '"""Edited. '):
        assert smoke.plan(*LOGS) == {f"Unlearning: {name}" for name in (GA, NPO)}


def test_other_answers_are_an_input_of_the_methods_that_read_them_alone(smoke):
    block = "{method: idk_dpo, learning_rate: [2.0e-4], epochs: [1]}"
    old = "    - {method: npo"
    target = f"{MODELS}/idk_dpo/lr0.0002_beta0.1/training_log.json"
    with smoke.edited("experiments/smoke.yaml", old, f"    - {block}\n{old}"):
        said = smoke.run("--dry-run", "--printshellcmds", target)
        assert "--alternatives data/inputs/idk_answers.txt" in said
        with smoke.edited("data/inputs/idk_answers.txt", "I don't know.", "Who knows?"):
            assert smoke.plan(*LOGS) == set()


def test_the_page_is_followed_to_the_letter(fresh, tmp_path):
    workspace = fresh.copy(tmp_path / "fresh")
    follow(workspace)
    plan = next(block for block in blocks(PAGE, "bash") if "--dry-run" in block)
    program, *arguments = plan.split()
    assert program == "snakemake"
    planned = workspace.plan(*[one for one in arguments if one != "--dry-run"], config=None)
    assert {one for one in planned if one.startswith("Unlearning")} == {
        f"Unlearning: {name}" for name in (GA, OWN, "ga_kl/lr0.0002_lambda5")
    }


def test_editing_a_users_file_reruns_its_own_trajectories_and_nothing_else(own):
    follow(own)
    block = "{method: {file: my_methods/ga_kl.py}, learning_rate: [2.0e-4], "
    block += "retain_weight: [1.0], epochs: [1, 2]}"
    smoke = own / "experiments/smoke.yaml"
    old = "    - {method: npo"
    smoke.write_text(smoke.read_text().replace(old, f"    - {block}\n{old}", 1))
    logs = [*LOGS, f"{MODELS}/{OWN}/training_log.json"]
    assert own.plan(*logs) == {f"Unlearning: {OWN}"}
    own.run("--", *logs)
    assert own.plan(*logs) == set()

    with own.edited("my_methods/ga_kl.py", "-cross_entropy", "-2 * cross_entropy"):
        assert own.plan(*logs) == {f"Unlearning: {OWN}"}
        planned = own.plan("all")
    behind = {f"Unlearning: {OWN}", f"Evaluating {OWN}", f"Extracting hidden states: {OWN}"}
    model_work = {one for one in planned if one.startswith(("Unl", "Eval", "Extract", "Quant"))}
    assert model_work == behind
    assert own.plan(*logs) == set()
    with own.edited(f"{METHODS}/npo.py", '"""', '"""Edited. '):
        assert own.plan(*logs) == {f"Unlearning: {NPO}"}


@pytest.mark.parametrize(
    "file, message",
    [
        ("my_methods/none.py", "my_methods/none.py: cannot read (No such file or directory)"),
        ("my_methods/broken.py", "my_methods/broken.py:1: not Python ("),
        ("my_methods/column.py", "Settings.epoch: a column of result files has this name"),
        ("./my_methods/ga_kl.py", "found text './my_methods/ga_kl.py'; allowed: 'my_methods/ga"),
    ],
)
def test_a_file_that_is_no_method_stops_snakemake_with_one_line(smoke, file, message):
    follow(smoke)
    text = (smoke / "my_methods/ga_kl.py").read_text()
    (smoke / "my_methods/broken.py").write_text("def\n")
    column = text.replace("retain_weight: float = retain_weight()", "epoch: int = 1")
    (smoke / "my_methods/column.py").write_text(column)
    old = "    - {method: npo"
    block = f"{{method: {{file: {file}}}, learning_rate: [1.0e-4], epochs: [1]}}"
    with smoke.edited("experiments/smoke.yaml", old, f"    - {block}\n{old}"):
        done = smoke.snakemake("--dry-run", "all")
    said = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line]
    assert done.returncode and len(said) == 1
    where = "error: experiments/smoke.yaml: unlearning.trajectories[1].method.file: "
    assert said[0].startswith(where) and message in said[0]
