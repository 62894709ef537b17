"""What the rules ask of a study: names, files, settings and needs of jobs, from plain configs."""

import json
import re
import shlex
from types import SimpleNamespace

import pytest

import job_settings
from excise.evaluation.sweep import Sweep
from excise.workflow.study import library_of
from job_settings import study, wildcards

GA = {"method": "ga", "learning_rate": [0.1, 0.2], "epochs": [1, 3]}
GD = {"method": "gd", "learning_rate": [0.1], "retain_weight": [1.0], "epochs": [2]}
NPO = {"method": "npo", "learning_rate": [0.1], "beta": [0.5], "retain_weight": [0.0]}
EVERYTHING = {"sets": None, "generation": True}
SWEEP = {"trajectories": [GA, GD, NPO | {"epochs": [1, 3]}]}


@pytest.fixture
def small():
    """Two lists of epochs, two oracles, one checkpoint that stands for two levels."""
    levels = {"light": ["ga/lr0.1/epoch_1"], "heavy": ["ga/lr0.2/epoch_3", "ga/lr0.1/epoch_1"]}
    evaluation = {"checkpoints": levels, "sweep": EVERYTHING}
    return study(unlearning=SWEEP, evaluation=evaluation, oracle={"seeds": [0, 7]})


def written_by_model(**generation):
    llm = {"model": "m", "reserve": 0.1, "resample_max": 2, "budget": {"usd": 3}}
    return study(generation={"backend": "openai", "llm": llm} | generation)


# --- models ---


def test_names_of_models(small):
    assert small.oracles() == ["oracle/seed_0", "oracle/seed_7"]
    assert small.unexposed_models() == ["base", "oracle/seed_0", "oracle/seed_7"]
    assert small.baselines() == ["base", "finetuned", "oracle/seed_0", "oracle/seed_7"]
    assert small.checkpoints() == [
        *("unlearn/ga/lr0.1/epoch_1", "unlearn/ga/lr0.1/epoch_3"),
        *("unlearn/ga/lr0.2/epoch_1", "unlearn/ga/lr0.2/epoch_3"),
        "unlearn/gd/lr0.1_lambda1/epoch_2",
        *("unlearn/npo/lr0.1_beta0.5/epoch_1", "unlearn/npo/lr0.1_beta0.5/epoch_3"),
    ]
    levels = ["unlearn/ga/lr0.1/epoch_1", "unlearn/ga/lr0.2/epoch_3"]
    assert small.level_checkpoints() == levels
    assert small.quantized_models() == ["finetuned", "oracle/seed_0", "oracle/seed_7", *levels]


def test_every_quantized_model_is_compared_with_finetuned(small):
    assert small.finetuned_beside(wildcards(model="finetuned")) == []
    expected = small.adapter_of("finetuned")
    assert small.finetuned_beside(wildcards(model="oracle/seed_0")) == expected


def test_files_of_models(small):
    assert small.adapters(wildcards(model="base")) == []
    assert small.adapters(wildcards(model="finetuned")) == [
        "<results>/models/finetuned/adapter_model.safetensors",
        "<results>/models/finetuned/adapter_config.json",
    ]
    hub = {"repo": "Owner/Name-1B", "revision": "v1"}
    from_hub = study(model={"path": None, "hub": hub})
    assert from_hub.base_folder() == "data/models/Owner--Name-1B--v1"
    assert from_hub.base_files() == ["data/models/Owner--Name-1B--v1/manifest.json"]


def test_hidden_states_are_compared_with_all_oracles(small):
    files = small.oracle_adapters()
    assert len(files) == 2 * len(small.oracles())
    assert files[0] == "<results>/models/oracle/seed_0/adapter_model.safetensors"


def test_depth_is_measured_of_the_levels_of_all_or_of_none(small):
    assert small.depth_models() == [*small.baselines(), *small.level_checkpoints()]
    assert small.own_adapters(wildcards(model="finetuned")) == []
    assert small.own_adapters(wildcards(model="oracle/seed_0")) == small.adapter_of("oracle/seed_0")
    every = study(representations={"depth": "all"})
    assert every.depth_models() == [*every.baselines(), *every.checkpoints()]
    assert study(representations={"depth": "none"}).depth_models() == []


def test_the_reference_is_for_the_methods_that_read_it(small):
    assert small.reference(wildcards(trajectory="ga/lr0.1")) == []
    needed = small.reference(wildcards(trajectory="npo/lr0.1_beta0.5"))
    assert needed == "<results>/models/finetuned_reference.json"
    assert small.optional_arguments(None, {}) == ""
    given = {"reference": "a b.json", "alternatives": "c.txt"}
    said = small.optional_arguments(None, given)
    assert said == "--reference 'a b.json' --alternatives c.txt"


def test_the_files_of_its_method_are_inputs_of_a_trajectory(small):
    files = small.method_files(wildcards(trajectory="gd/lr0.1_lambda1"))
    folder = "workflow_scripts/excise/unlearning"
    assert files[0] == f"{folder}/methods/gd.py"
    assert f"{folder}/losses.py" in files and f"{folder}/methods/npo.py" not in files


def test_trajectories_with_the_same_epochs_share_a_rule(small):
    (first, pattern), (second, other) = small.trajectories_by_epochs()
    assert (first, second) == ([1, 3], [2])
    names = list(small.trajectories)
    assert [bool(re.fullmatch(pattern, name)) for name in names] == [True, True, False, True]
    assert [bool(re.fullmatch(other, name)) for name in names] == [False, False, True, False]
    assert small.rule_name("unlearn", first) == "unlearn"
    assert small.rule_name("evaluate_unlearned", second) == "evaluate_unlearned_2"
    assert small.rules_of_trajectories()["represent_unlearned_2"] == ("represent_unlearned", [2])


def test_what_a_job_makes_is_read_from_its_outputs(small):
    folder = "results/models/unlearn/ga/lr0.1"
    outputs = [f"{folder}/training_log.json"]
    outputs += [f"{folder}/epoch_{epoch}/{name}" for epoch in (12, 3) for name in "ab"]
    assert small.saved_epochs(None, outputs) == [3, 12]
    records = [f"results/eval/unlearn/ga/lr0.1/epoch_{epoch}/items.jsonl" for epoch in (3, 12)]
    assert small.recorded_models(wildcards(trajectory="ga/lr0.1"), records) == [
        *("unlearn/ga/lr0.1/epoch_3", "unlearn/ga/lr0.1/epoch_12")
    ]
    made = ["q/weights.json", "q/int8.jsonl", "q/nf4.jsonl"]
    assert small.recorded_precisions(None, made) == ["int8", "nf4"]
    made = [
        f"r/{attack}/step_{step}.jsonl" for attack in ("other", "correlated") for step in (10, 0)
    ]
    assert small.recorded_attacks(None, ["r/training_log.json", *made]) == ["other", "correlated"]
    assert small.recorded_steps(None, ["r/training_log.json", *made]) == [0, 10]


def test_the_attack_reads_its_own_keys_and_finetunings_rate_where_it_has_none():
    own = json.loads(study().relearning_settings())
    assert own["learning_rate"] == study().config["finetuning"]["learning_rate"]
    assert own["training"]["warmup_steps"] == 0
    given = study(relearning={"learning_rate": 0.5, "steps": [0, 9]}).relearning_settings()
    assert json.loads(given) == own | {"learning_rate": 0.5}  # steps are read from the outputs


# --- settings ---


def test_an_oracle_has_its_own_seed_and_everything_else_of_finetuning():
    of_all = json.loads(study().finetuning_settings(wildcards()))
    of_one = json.loads(study().finetuning_settings(wildcards(seed="7")))
    assert of_one["training"].pop("seed") == 7 and of_all["training"].pop("seed") == 0
    assert of_one == of_all


def test_a_trajectory_gets_its_own_point_and_not_the_epochs(small):
    settings = json.loads(small.unlearning_settings(wildcards(trajectory="gd/lr0.1_lambda1")))
    assert settings["method"] == "gd"
    assert settings["hyperparameters"] == {"learning_rate": 0.1, "retain_weight": 1.0}
    assert "epochs" not in settings
    assert settings["training"].keys() == {
        *("batch_size", "warmup_steps", "max_grad_norm", "weight_decay", "autocast", "seed")
    }


@pytest.mark.parametrize("name", [*job_settings.PARTS.values(), "client_settings"])
def test_offline_texts_do_not_depend_on_the_endpoint(name):
    with_endpoint = study(generation={"llm": {"model": "m", "reserve": 0.5, "resample_max": 9}})
    same = name != "client_settings"
    assert (getattr(with_endpoint, name)() == getattr(study(), name)()) == same


def test_a_models_texts_depend_on_what_decides_its_answers_alone():
    writes = written_by_model()
    people = json.loads(writes.people_settings())
    assert people["llm"] == {"model": "m", "resample_max": 2}
    assert people["reserve"] == 0.1
    facts = json.loads(writes.facts_settings())
    assert facts == {"backend": "openai", "llm": people["llm"], "limits": writes.writing_limits()}
    assert json.loads(writes.client_settings()) == {"budget": {"usd": 3}}
    assert json.loads(writes.judge_model()) == people["llm"]


def test_a_model_is_held_to_the_defaults_of_the_later_checks_whatever_the_config_says():
    default = written_by_model()
    strict = written_by_model()
    strict.config["validation"] = strict.config["validation"] | {"near_duplicate": 51}
    strict.config["red_team"] = strict.config["red_team"] | {"leak_ratio": 52}
    for settings in ("facts_settings", "question_settings", "paraphrase_settings"):
        assert getattr(strict, settings)() == getattr(default, settings)()
    checks = default.config["validation"] | default.config["red_team"]
    limits = default.writing_limits()
    assert limits == {key: checks[key] for key in limits} and len(limits) == 6
    assert json.loads(study().question_settings())["limits"] is None


def test_an_author_knows_how_much_is_to_come():
    nobody = json.loads(study().author_settings())
    assert nobody == {
        **{"people": 16, "holdout": 8, "incomplete_people": 0.0, "forget_paraphrases": 3},
        "judge": None,
    }
    judge = {"judge": {"enabled": True, "cases": None, "planted": 4}}
    asked = json.loads(study(red_team=judge).author_settings())
    assert asked["judge"] == {"cases": None, "planted": 4}


def test_prompts_and_questions_are_inputs_only_of_a_model(tmp_path):
    offline, writes = study(), written_by_model()
    assert offline.prompt_files("qa") == []
    assert writes.prompt_files("qa") == [
        *("data/inputs/prompts/qa.md", "data/inputs/prompts/qa.schema.json")
    ]
    assert offline.forget_facts(None) == "<data>/generated/facts.jsonl"
    assert writes.forget_facts(None) == "<data>/generated/qa.jsonl"
    given = SimpleNamespace(source="a b")
    assert writes.forget_facts_argument(None, given) == "--qa 'a b'"
    assert offline.forget_facts_argument(None, given) == "--facts 'a b'"
    assert "excise/llm/session.py" in str(writes.generation_library_of("generate_qa"))
    assert "excise/llm/session.py" not in str(offline.generation_library_of("generate_qa"))


def test_refused_people_are_an_input_once_there_are_any(tmp_path):
    writes = written_by_model()
    writes.config["pathvars"] = {"data": str(tmp_path)}
    assert writes.refused_people(None) == []
    file = tmp_path / "generated/journal/refused.json"
    file.parent.mkdir(parents=True)
    file.write_text("[]")
    assert writes.refused_people(None) == [str(file)]


def test_the_offline_twin_is_for_datasets_that_a_model_wrote():
    writes = written_by_model()
    assert study().authors() == ["offline"] and writes.authors() == ["openai", "offline"]
    assert study().twin_argument(wildcards()) == ""
    assert writes.twin_argument(wildcards(author="openai")) == ""
    asked = writes.twin_argument(wildcards(author="offline"))
    assert asked == """--offline-twin '{"forget_paraphrases": 3, "seed": 0}'"""
    embeddings = SimpleNamespace(embeddings=["a", "b c"])
    assert writes.embedding_arguments(None, embeddings) == "openai=a 'offline=b c'"


@pytest.mark.parametrize(
    "table, layer", [("repr_layers", "all"), ("repr_results", "last"), ("repr_results_14", 14)]
)
def test_a_table_of_drift_is_about_its_layer(table, layer):
    assert json.loads(study().drift_settings(wildcards(table=table)))["layer"] == layer


def test_figures_state_the_coverage_of_the_tables():
    assert json.loads(study(evaluation={"confidence": 0.9}).plot_settings())["confidence"] == 0.9


def test_a_header_has_the_sections_that_its_result_depends_on():
    header = json.loads(study().result_config("lora", red_team=["judge"]))
    assert header.keys() == {"experiment", "model", "lora", "red_team", "generation"}
    assert header["red_team"].keys() == {"judge"}
    assert "llm" not in header["generation"]
    of_model = json.loads(written_by_model().result_config())
    assert of_model["generation"]["llm"] == {"model": "m", "resample_max": 2}


# --- results ---


def test_tables_and_plots_follow_the_config():
    whole = study(red_team={"judge": {"enabled": True}}, quantization={"precisions": ["int8"]})
    assert {"red_team_judge", "quantize_results", "repr_results_3"} <= {*whole.result_tables()}
    assert "quantize_recovery" in whole.result_plots()
    assert "depth_results" in whole.result_tables() and "depth_by_layer" in whole.result_plots()
    changed = {"middle_layer": 14, "depth": "none"}
    less = study(quantization={"precisions": []}, representations=changed)
    assert "depth_results" not in less.result_tables()
    assert "depth_by_layer" not in less.result_plots()
    assert "quantize_results" not in less.result_tables()
    assert "relearn_results" in less.result_tables() and "relearning_curves" in less.result_plots()
    assert "relearn_results" not in study(relearning={"attacks": []}).result_tables()
    assert "red_team_judge" not in less.result_tables()
    assert "repr_results_14" in less.result_tables()
    assert "quantize_recovery" not in less.result_plots()


# --- needs of jobs ---


def test_memory_and_time_are_as_configured_or_from_the_models_size():
    given = study(resources={"mem_mb": 500, "runtime": 7})
    assert given.memory_mb("train") == 500 and given.minutes("unlearn", [1]) == 7
    free = study(resources={"mem_mb": None, "runtime": None})
    assert free.memory_mb("train") > 1000
    assert free.minutes("unlearn", [40]) == round(3 * free.estimate("unlearn", [40])) + 10
    hub = {"repo": "Owner/Name-7B", "revision": "v1"}
    assert study(model={"path": None, "hub": hub}).model_size() == 7e9


def test_a_trajectory_needs_what_its_method_declares():
    """GA trains on the forget set alone; RMU also on the retain set, which finetuned reads too."""
    shared = {"learning_rate": [1e-4], "epochs": [1, 2]}
    rmu = {"method": "rmu", "steering_layer": [1], "steering_scale": [1.0], "retain_weight": [1.0]}
    mixed = study(unlearning={"trajectories": [{"method": "ga"} | shared, rmu | shared]})
    ga, rmu = mixed.trajectories
    short, long = (mixed.estimate("unlearn", [1, 2], one) for one in (ga, rmu))
    assert long == pytest.approx(short * 14 / 6)
    assert mixed.estimate_of_rule("unlearn") == long
    less, more, neither = (mixed.memory_mb("train", one) for one in (ga, rmu, None))
    assert less == neither < more
    assert mixed.memory_mb("represent", rmu) == mixed.memory_mb("represent", ga)


def test_every_rule_with_a_model_has_an_estimate(small):
    for name in ("finetune_lora", "evaluate", "unlearn", "evaluate_unlearned_2"):
        assert small.estimate_of_rule(name) > 0, name
    assert small.estimate_of_rule("summarize_eval") is None
    gd = small.estimate("unlearn", [2])  # trains on the retain set too, so twice as much an epoch
    assert small.estimate_of_rule("unlearn_2") == gd
    assert gd == pytest.approx(small.estimate_of_rule("unlearn") * 2 * 2 / 3)


def test_the_library_of_a_program_leaves_out_what_it_never_reads():
    everything, less = library_of("represent"), library_of("represent", ["wrong_details"])
    missing = set(everything) - set(less)
    assert missing == {"workflow_scripts/excise/schemas/wrong_details.schema.json"}


def test_a_job_that_asks_few_sets_has_few_files_as_inputs():
    few = study(quantization={"sets": ["sf", "other"]})
    data = ["<data>/sf.jsonl", "<data>/sr.jsonl", "<data>/wrong_details.jsonl"]
    assert few.asked_files("quantization", "sets") == data
    assert few.unread_kinds("quantization", "sets") == ["forget_paraphrased", "utility"]
    some = study(quantization={"sets": ["forget_paraphrased", "utility"]})
    more = ["<data>/forget_paraphrased.jsonl", "data/inputs/utility_qa.jsonl"]
    assert some.asked_files("quantization", "sets") == [*data, *more]
    held_out = study(quantization={"sets": ["sf", "holdout"]})
    assert held_out.asked_files("quantization", "sets") == [*data, "<data>/holdout.jsonl"]
    every = study(quantization={"sets": None})
    assert every.asked_files("quantization", "sets") == [*data, *more]
    every = study(representations={"middle_layer": 3, "depth_sets": None})
    never = ["wrong_details", "utility"]
    assert every.asked_files("representations", "depth_sets", *never) == [*data[:2], more[0]]
    assert every.unread_kinds("representations", "depth_sets", *never) == never


# --- sweeps ---


def test_a_sweep_asks_the_checkpoints_of_no_level_less(small):
    assert small.sweep_argument(wildcards(trajectory="ga/lr0.1")) == ""
    few = {"sets": ["sf", "correlated", "other"], "generation": False}
    evaluation = small.config["evaluation"] | {"sweep": few}
    limited = study(unlearning=SWEEP, evaluation=evaluation, oracle={"seeds": [0, 7]})
    argument = limited.sweep_argument(wildcards(trajectory="ga/lr0.2"))
    own = json.loads(shlex.split(argument)[1])
    assert own == few | {"full": ["unlearn/ga/lr0.2/epoch_3"]}  # a level elsewhere changes nothing
    assert json.loads(limited.plot_settings())["metric"] == "probability"
    sweep = limited.sweep()
    assert sweep.asks("unlearn/ga/lr0.1/epoch_3", "sf")
    assert not sweep.asks("unlearn/ga/lr0.1/epoch_3", "utility")
    for model in ("finetuned", "oracle/seed_0", "unlearn/ga/lr0.1/epoch_1"):
        assert sweep.asks(model, "utility") and sweep.generates(model)
    assert not sweep.generates("unlearn/ga/lr0.1/epoch_3")
    assert Sweep(None, False, ()).asks("unlearn/a/b/epoch_1", "utility")
    assert not Sweep(None, False, ()).asks("unlearn/a/b/epoch_1", "forget_joint")


def test_levels_matter_to_a_sweep_only_where_the_others_are_asked_less(small):
    evaluation = {"checkpoints": {}, "sweep": EVERYTHING}
    other_levels = study(unlearning=SWEEP, evaluation=evaluation, oracle={"seeds": [0, 7]})
    assert small.sweep() == other_levels.sweep()
    assert small.summary_settings(False) == other_levels.summary_settings(False)
