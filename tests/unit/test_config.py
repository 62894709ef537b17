"""The config: what is accepted, what it becomes, and the one line that refuses the rest."""

import copy
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from excise.config.check import check_config
from excise.config.llm import check_llm
from excise.config.load import load_config
from excise.config.trajectories import block_schema, expand_trajectories, needs_of
from excise.errors import InputError
from excise.unlearning.registry import find, names

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
SCHEMA = yaml.safe_load((ROOT / "config.schema.yaml").read_text())


@pytest.fixture
def minimal() -> dict:
    return {
        "experiment": "test",
        "model": {"path": "model"},
        "finetuning": {"epochs": 2, "learning_rate": 0.001},
        "unlearning": {
            "trajectories": [{"method": "ga", "learning_rate": [0.0002], "epochs": [1, 2]}]
        },
    }


def refusal(config: dict, sources=()) -> str:
    with pytest.raises(InputError) as error:
        check_config(config, sources)
    message = str(error.value)
    assert "\n" not in message
    return message


def changed(config: dict, path: str, value) -> dict:
    config = copy.deepcopy(config)
    *above, last = path.split("/")
    target = config
    for step in above:
        target = target[int(step)] if isinstance(target, list) else target.setdefault(step, {})
    target[int(last) if isinstance(target, list) else last] = value
    return config


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


def mappings(schema: dict, where: str):
    """Every mapping of the schema and its path, blocks of trajectories by their method."""
    if "properties" in schema and not where.endswith("trajectories[]"):
        yield where, schema
    for key, inner in schema.get("properties", {}).items():
        yield from mappings(inner, f"{where}.{key}")
    if isinstance(schema.get("items"), dict):
        yield from mappings(schema["items"], f"{where}[]")


BLOCKS = [(name, block_schema(find(name))) for name in names()]
MAPPINGS = list(mappings(SCHEMA, "")) + BLOCKS


@pytest.mark.parametrize("where, schema", MAPPINGS, ids=[where for where, _ in MAPPINGS])
def test_a_mapping_refuses_unknown_keys_and_describes_its_own(where, schema):
    assert schema["additionalProperties"] is False
    for key, inner in schema["properties"].items():
        target = SCHEMA["$defs"][inner["$ref"].split("/")[-1]] if "$ref" in inner else {}
        assert "description" in target | inner or inner == {}, key


@pytest.mark.parametrize("overlay", [None, *EXPERIMENTS])
def test_shipped_experiments_are_valid(overlay):
    check_config(*load_config([ROOT / "config.yaml", *filter(None, [overlay])]))


@pytest.mark.parametrize("study", [None, "smollm2-135m.yaml"])
def test_a_replication_differs_in_seeds_and_folders_alone(study):
    """With other seeds everywhere: no oracle, text or order of training is that of the study."""
    first = [ROOT / "config.yaml", *([ROOT / "experiments" / study] if study else [])]
    name = f"{Path(study).stem}-replication.yaml" if study else "replication.yaml"
    one = check_config(*load_config(first))
    other = check_config(*load_config([*first, ROOT / "experiments" / name]))
    own = {"experiment", "pathvars"}
    assert {key for key in own if one[key] != other[key]} == own
    for section, key in (("generation", "seed"), ("finetuning", "seed"), ("unlearning", "seed")):
        assert one[section].pop(key) != other[section].pop(key)
    seeds = one["oracle"].pop("seeds"), other["oracle"].pop("seeds")
    assert len(seeds[0]) == len(seeds[1]) and not {*seeds[0]} & {*seeds[1]}
    assert {key for key in one if one[key] != other[key]} == own


def test_overlays_share_no_generated_folder():
    folders = []
    for file in EXPERIMENTS:
        checked = check_config(*load_config([ROOT / "config.yaml", file]))
        folders += checked["pathvars"].values()
    assert len(folders) == len(set(folders))
    assert not {"data", "results", "logs", "benchmarks"} & set(folders)


def test_defaults_are_filled_in(minimal):
    checked = check_config(minimal)
    assert checked["pathvars"]["results"] == "results"
    assert checked["model"] == {
        "path": "model",
        "hub": None,
        "gguf": None,
        "dtype": "float32",
        "system_prompt": None,
    }
    assert checked["oracle"]["seeds"] == [1, 2, 3]
    assert checked["resources"] == {"threads": 1, "mem_mb": None, "runtime": None, "gpu": 0}


def test_checking_a_checked_config_changes_nothing(minimal):
    checked = check_config(minimal)
    assert check_config(checked) == checked


def test_the_config_given_is_left_alone(minimal):
    before = copy.deepcopy(minimal)
    check_config(minimal)
    assert minimal == before


@pytest.mark.parametrize(
    "preset, people", [("smoke", 4), ("small", 24), ("paper", 200), ("xl", 1000)]
)
def test_a_preset_is_a_number_of_people(minimal, preset, people):
    assert (
        check_config(changed(minimal, "generation/preset", preset))["generation"]["people"]
        == people
    )


def test_people_override_the_preset(minimal):
    assert check_config(changed(minimal, "generation/people", 7))["generation"]["people"] == 7


def test_one_and_one_point_zero_are_the_same_experiment(minimal):
    block = {"method": "gd", "learning_rate": [1], "retain_weight": [1], "epochs": [2.0]}
    checked = check_config(changed(minimal, "unlearning/trajectories/0", block))
    assert repr(checked["unlearning"]["trajectories"][0]["retain_weight"]) == "[1.0]"
    assert repr(checked["unlearning"]["trajectories"][0]["epochs"]) == "[2]"


def test_no_precisions_and_null_are_the_same(minimal):
    checked = check_config(changed(minimal, "quantization/precisions", None))
    assert checked["quantization"]["precisions"] == []


# --- what is refused ---


def test_a_misspelt_key_gets_the_nearest_one(minimal):
    config = changed(minimal, "finetuning/lerning_rate", 0.1)
    assert refusal(config) == (
        "config: finetuning.lerning_rate: unknown key; did you mean learning_rate?"
    )


def test_a_misspelling_is_named_before_the_key_it_leaves_missing(minimal):
    config = copy.deepcopy(minimal)
    config["unlearning"]["trajectories"][0]["epoch"] = [1]
    del config["unlearning"]["trajectories"][0]["epochs"]
    assert "unlearning.trajectories[0].epoch: unknown key; did you mean epochs?" in refusal(config)


def test_quantized_models_are_asked_the_holdout_only_if_somebody_is_held_out(minimal):
    config = changed(minimal, "generation/holdout", 0)
    check_config(changed(config, "quantization/sets", ["sf", "other"]))
    config = changed(config, "quantization/sets", ["sf", "holdout"])
    assert refusal(config) == (
        "config: quantization.sets: found 'holdout'; allowed: a list without it, because "
        "generation.holdout is 0"
    )
    check_config(changed(config, "generation/holdout", 2))
    own = changed(changed(config, "generation/backend", "files"), "generation/folder", "mine")
    check_config(own)  # the folder may have a holdout.jsonl


def test_an_unknown_key_without_a_near_one_gets_the_list(minimal):
    assert "allowed: alpha, dropout, rank, target_modules" in refusal(
        changed(minimal, "lora/xyz", 1)
    )


@pytest.mark.parametrize(
    "path, value, found, allowed",
    [
        ("finetuning/epochs", 0, "found 0", "at least 1"),
        ("finetuning/epochs", 1.5, "found 1.5", "a whole number"),
        ("finetuning/epochs", True, "found True", "a whole number"),
        ("finetuning/learning_rate", -1.0, "found -1.0", "above 0"),
        ("finetuning/learning_rate", float("nan"), "found nan", "a finite number"),
        ("finetuning/learning_rate", float("inf"), "found inf", "a finite number"),
        ("finetuning/learning_rate", "fast", "found text 'fast'", "a number"),
        ("lora/dropout", 1, "found 1", "below 1"),
        ("lora/target_modules", 3, "found 3", "or a list of module names"),
        ("model/dtype", "float16", "found text 'float16'", "one of float32, bfloat16"),
        ("generation/backend", "gpt", "found text 'gpt'", "one of offline, openai"),
        ("generation/preset", "huge", "found text 'huge'", "one of smoke, small, paper, xl"),
        ("oracle/seeds", [], "found []", "at least 1 entry"),
        ("oracle/seeds", [1, 1], "found [1, 1]", "no entry twice"),
        ("quantization/precisions", ["int3"], "found text 'int3'", "one of int8, nf4, fp4"),
        ("unlearning/trajectories", [], "found []", "at least 1 entry"),
        ("unlearning/trajectories/0/learning_rate", [], "found []", "at least 1 entry"),
        ("unlearning/trajectories/0/learning_rate", 0.1, "found 0.1", "a list"),
        ("unlearning/trajectories/0/epochs", [1, 1], "found [1, 1]", "no entry twice"),
        (
            "unlearning/trajectories/0/method",
            "simpo",
            "'simpo'",
            "one of ft, ga, gd, idk_dpo,",
        ),
        ("unlearning/trajectories/0/method", "simpo", "'simpo'", "or {file: my_method.py}"),
        ("unlearning/trajectories/0/method", 3, "found 3", "text or a mapping"),
        ("unlearning/trajectories/0/method", {"file": "a.txt"}, "'a.txt'", "a Python file"),
        ("unlearning/trajectories/0/learning_rate", [0], "found 0", "above 0, at most 1"),
        ("unlearning/trajectories/0/learning_rate", ["x"], "found text 'x'", "a number"),
        ("unlearning/trajectories/0", 5, "found 5", "a mapping"),
        ("resources/gpu", 2, "found 2", "at most 1"),
        ("pathvars/results", "/a b", "found text '/a b'", "matching"),
        ("evaluation/checkpoints", {"Light!": []}, "Light!", "a name like"),
        ("experiment", "a b", "found text 'a b'", "matching"),
    ],
)
def test_a_value_out_of_range_names_key_value_and_range(minimal, path, value, found, allowed):
    message = refusal(changed(minimal, path, value))
    dotted = path.split("/")[0]
    assert message.startswith(f"config: {dotted}") and found in message and allowed in message


def test_a_number_that_yaml_reads_as_text_says_how_to_write_it(minimal):
    value = yaml.safe_load("2e-4")
    assert value == "2e-4"
    message = refusal(changed(minimal, "finetuning/learning_rate", value))
    assert "found text '2e-4' (YAML reads this as text: write 2.0e-4)" in message


@pytest.mark.parametrize("method, axis", [("gd", "retain_weight"), ("npo", "beta")])
def test_a_method_needs_its_own_hyperparameters(minimal, method, axis):
    config = changed(minimal, "unlearning/trajectories/0/method", method)
    assert f"unlearning.trajectories[0].{axis}: missing" in refusal(config)


def test_a_method_takes_no_other_hyperparameters(minimal):
    config = changed(minimal, "unlearning/trajectories/0/beta", [0.1])
    assert "unlearning.trajectories[0].beta: unknown key" in refusal(config)


def test_a_missing_section_says_what_it_is_for(minimal):
    del minimal["finetuning"]
    assert refusal(minimal).startswith(
        "config: finetuning: missing; needed: Training of the finetuned model"
    )


@pytest.mark.parametrize("model", [{}, {"path": "a", "hub": {"repo": "a/b", "revision": "c"}}])
def test_exactly_one_of_path_and_hub(minimal, model):
    assert "allowed: exactly one" in refusal(minimal | {"model": model})


def test_a_checkpoint_beyond_the_last_epoch_gets_the_epochs_there_are(minimal):
    config = changed(minimal, "evaluation/checkpoints", {"heavy": ["ga/lr0.0002/epoch_9"]})
    assert refusal(config) == (
        "config: evaluation.checkpoints.heavy[0]: found 'ga/lr0.0002/epoch_9'; "
        "ga/lr0.0002 is saved at epochs 1, 2"
    )


def test_a_checkpoint_of_no_trajectory_gets_the_trajectories_there_are(minimal):
    config = changed(minimal, "evaluation/checkpoints", {"heavy": ["ga/lr1/epoch_1"]})
    assert "the trajectories are ga/lr0.0002" in refusal(config)


# --- who set it ---


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_file_that_sets_a_key_is_named(tmp_path, minimal):
    base = write(tmp_path / "base.yaml", yaml.safe_dump(minimal))
    overlay = write(tmp_path / "overlay.yaml", "finetuning: {epochs: 0}")
    assert refusal(*load_config([base, overlay])).startswith(f"{overlay}: finetuning.epochs")
    good = write(tmp_path / "good.yaml", "finetuning: {seed: 1}")
    broken = write(tmp_path / "broken.yaml", yaml.safe_dump(changed(minimal, "lora/rank", 0)))
    assert refusal(*load_config([broken, good])).startswith(f"{broken}: lora.rank")


def test_the_command_line_is_named(tmp_path, minimal):
    base = write(tmp_path / "base.yaml", yaml.safe_dump(minimal))
    sources = load_config([base], {"finetuning": {"epochs": "many"}})
    message = refusal(*sources)
    assert message.startswith("--config: finetuning.epochs: found text 'many'")


def test_numbers_inside_a_command_line_mapping_are_numbers(tmp_path, minimal):
    """Snakemake hands `--config 'finetuning={epochs: 3}'` on as {'epochs': '3'}."""
    base = write(tmp_path / "base.yaml", yaml.safe_dump(minimal))
    overrides = {"finetuning": {"epochs": "3", "learning_rate": "1e-4", "autocast": "none"}}
    checked = check_config(*load_config([base], overrides))
    assert checked["finetuning"]["epochs"] == 3
    assert checked["finetuning"]["learning_rate"] == 0.0001
    assert checked["finetuning"]["autocast"] == "none"


def test_lists_of_an_overlay_replace_and_mappings_merge(tmp_path):
    a = write(tmp_path / "a.yaml", "x: {p: 1, q: [1, 2]}")
    b = write(tmp_path / "b.yaml", "x: {q: [3]}")
    merged, _ = load_config([a, b])
    assert merged == {"x": {"p": 1, "q": [3]}}


@pytest.mark.parametrize(
    "text, line, reason",
    [("a: 1\nb: [1\n", 3, "not a config"), ("a: 1\na: 2\n", 2, "'a' is given twice")],
)
def test_broken_yaml_names_file_and_line(tmp_path, text, line, reason):
    path = write(tmp_path / "a.yaml", text)
    with pytest.raises(InputError, match=rf"a.yaml:{line}: .*{reason}|{reason}"):
        load_config([path])


def test_a_config_that_is_no_mapping_is_refused(tmp_path):
    with pytest.raises(InputError, match="a config is a mapping"):
        load_config([write(tmp_path / "a.yaml", "- 1\n")])


# --- trajectories ---


def grid(*blocks: dict) -> dict:
    return {"unlearning": {"trajectories": list(blocks)}}


def test_a_block_is_the_grid_of_its_lists_and_names_come_from_values():
    block = {
        "method": "npo",
        "learning_rate": [0.0002, 1e-05],
        "beta": [0.1, 0.5],
        "retain_weight": [0.0],
        "epochs": [10, 5],
    }
    trajectories = expand_trajectories(grid(block))
    assert list(trajectories) == [
        "npo/lr0.0002_beta0.1",
        "npo/lr0.0002_beta0.5",
        "npo/lr1e-05_beta0.1",
        "npo/lr1e-05_beta0.5",
    ]
    assert trajectories["npo/lr0.0002_beta0.5"] == {
        "method": "npo",
        "hyperparameters": {"learning_rate": 0.0002, "beta": 0.5, "retain_weight": 0.0},
        "epochs": [5, 10],
    }


def test_a_retain_weight_is_part_of_the_name_unless_it_is_zero():
    gd = {"method": "gd", "learning_rate": [0.0002], "retain_weight": [1.0], "epochs": [1]}
    npo = {"method": "npo", "learning_rate": [0.1], "beta": [1.0], "retain_weight": [0.0, 2.0]}
    assert list(expand_trajectories(grid(gd, npo | {"epochs": [1]}))) == [
        "gd/lr0.0002_lambda1",
        "npo/lr0.1_beta1",
        "npo/lr0.1_beta1_lambda2",
    ]


def test_what_a_trajectory_needs_depends_on_its_settings(minimal):
    blocks = [
        {"method": "ga", "learning_rate": [0.1], "epochs": [1]},
        {"method": "npo", "learning_rate": [0.1], "beta": [1], "epochs": [1]},
        {"method": "simnpo", "learning_rate": [0.1], "retain_weight": [0, 1], "epochs": [1]},
        {"method": "idk_dpo", "learning_rate": [0.1], "epochs": [1]},
    ]
    checked = check_config(changed(minimal, "unlearning/trajectories", blocks))
    trajectories = expand_trajectories(checked)
    read = {name: needs_of(trajectory) for name, trajectory in trajectories.items()}
    assert [name for name in read if read[name].reference_sums] == [
        "npo/lr0.1_beta1",
        "idk_dpo/lr0.1_beta0.1",
    ]
    assert [name for name in read if read[name].retain] == ["simnpo/lr0.1_beta4.5_lambda1"]
    assert [name for name in read if read[name].alternatives] == ["idk_dpo/lr0.1_beta0.1"]


def test_defaults_of_a_method_are_filled_in(minimal):
    block = {"method": "simnpo", "learning_rate": [0.1], "epochs": [1]}
    checked = check_config(changed(minimal, "unlearning/trajectories/0", block))
    filled = checked["unlearning"]["trajectories"][0]
    assert filled == block | {"beta": [4.5], "delta": [0.0], "retain_weight": [0.0]}


@pytest.mark.parametrize(
    "values, message",
    [
        ({"retain_weight": [-1]}, "retain_weight[0]: found -1; allowed: a number, at least 0"),
        ({"bta": [1]}, "bta: unknown key; did you mean beta?"),
        ({"beta": [1, 1]}, "beta: found [1, 1]; allowed: a list, with at least 1 entry, no entry"),
        ({"delta": [-0.1]}, "delta[0]: found -0.1; allowed: a number, at least 0, in nats a token"),
    ],
)
def test_a_wrong_hyperparameter_is_named_with_what_is_allowed(minimal, values, message):
    block = {"method": "simnpo", "learning_rate": [0.1], "epochs": [1]} | values
    found = refusal(changed(minimal, "unlearning/trajectories/0", block))
    assert found.startswith(f"config: unlearning.trajectories[0].{message}")


def test_a_wrong_switch_is_named_with_what_is_allowed(minimal):
    message = refusal(changed(minimal, "evaluation", {"sweep": {"generation": "no"}}))
    assert message == (
        "config: evaluation.sweep.generation: found text 'no'; allowed: true or false"
    )


def test_adding_a_point_leaves_the_others_alone():
    block = {"method": "ga", "learning_rate": [0.1], "epochs": [1]}
    before = expand_trajectories(grid(block))
    after = expand_trajectories(grid(block | {"learning_rate": [0.3, 0.1]}))
    assert before.items() <= after.items()


def test_the_same_point_twice_is_refused(minimal):
    block = {"method": "ga", "learning_rate": [0.0002], "epochs": [5]}
    config = changed(
        minimal, "unlearning/trajectories", [*minimal["unlearning"]["trajectories"], block]
    )
    message = refusal(config)
    assert "unlearning.trajectories[1]: ga/lr0.0002 is already made by trajectories[0]" in message


def _llm(**extra_body) -> dict:
    return {"model": "m", "extra_body": extra_body}


@pytest.mark.parametrize(
    "key, value",
    [
        ("n", 1),
        ("best_of", 3),
        ("prediction", {"type": "content", "content": "x"}),
        ("web_search_options", {}),
        ("service_tier", "priority"),
        ("tools", []),
        ("models", ["a", "b"]),
    ],
)
def test_a_key_that_may_cost_more_than_is_reserved_is_refused(key, value):
    why = f"extra_body.{key}: found, but it may cost more than the budget reserves for a call"
    with pytest.raises(InputError, match=rf"{why}; allowed: any key but .*\b{key}\b") as error:
        check_llm(_llm(**{key: value}))
    assert "\n" not in str(error.value)


def test_a_key_that_the_client_sets_is_refused_and_a_free_one_passes():
    with pytest.raises(InputError, match=r"extra_body\.stream: found, but the client sets it"):
        check_llm(_llm(stream=True))
    free = {"reasoning_effort": "minimal", "chat_template_kwargs": {"enable_thinking": False}}
    assert check_llm(_llm(**free))["extra_body"] == free
