"""Models of others: the config, what they are compared with, the checks before any job."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_located_models import peft_script
from transformers import AutoModelForCausalLM, AutoTokenizer

from excise.config.check import check_config
from excise.errors import InputError
from excise.evaluation.peers import Peers, all_oracles, notes_on_missing, peers_of
from excise.evaluation.sweep import EVERYTHING
from excise.evaluation.tables.distance import compare_with_oracles
from excise.evaluation.tables.evaluation import eval_notes, summarize_eval
from excise.evaluation.tables.settings import SummarySettings
from excise.workflow.audited_models import check_audited_models
from excise.workflow.study import Study
from job_settings import wildcards
from synthetic_records import write_study
from tiny_models import tiny_folder

FILES = {"adapter_config.json", "adapter_model.safetensors"}


def config_with(audit: dict, base: str = "model", **more) -> dict:
    return check_config(
        {
            "experiment": "test",
            "model": {"path": base},
            "finetuning": {"epochs": 2, "learning_rate": 0.001},
            "oracle": {"seeds": [0, 1]},
            "unlearning": {
                "trajectories": [{"method": "ga", "learning_rate": [0.0002], "epochs": [1, 2]}]
            },
            "evaluation": {"checkpoints": {"light": ["ga/lr0.0002/epoch_1"]}},
            "representations": {"middle_layer": 1},
            "audit": audit,
            **more,
        }
    )


THEIRS = {"name": "theirs", "adapter": "a"}
FULL = {"name": "tuned", "path": "p"}
BOTH = {"compare": {"finetuned": "tuned", "oracle": ["retain"]}}
RETAIN = {"name": "retain", "path": "r"}
AUDIT = {"only": True, "models": [THEIRS | BOTH], "references": [FULL, RETAIN]}


@pytest.mark.parametrize(
    "audit, message",
    [
        ({"models": [{"name": "x"}]}, r"audit.models\[0\]: found none of path, adapter and gguf; "),
        ({"models": [THEIRS | {"path": "p"}]}, "found path and adapter of path, adapter and gguf"),
        ({"models": [THEIRS, THEIRS]}, r"audit.models\[1\].name: found .*theirs.* of models\[0\]"),
        ({"models": [THEIRS | {"name": "npo"}]}, "the name of a method; allowed: another name"),
        ({"models": [THEIRS | {"name": "a/b"}]}, r"audit.models\[0\].name: found .*allowed"),
        ({"models": [THEIRS | {"pth": "a"}]}, r"audit.models\[0\].pth: unknown key; did you mean"),
        (
            {"models": [THEIRS | {"compare": {"finetuned": "none"}}]},
            r"audit.models\[0\].compare.finetuned: found .*none.*; allowed: one of finetuned",
        ),
        (
            {"models": [THEIRS | {"compare": {"oracle": ["oracle/seed_9"]}}]},
            r"compare.oracle\[0\]: found .*seed_9.*; allowed: one of oracle/seed_0, oracle/seed_1",
        ),
        (
            {"only": True, "models": [THEIRS | {"compare": {"finetuned": "finetuned"}}]},
            r"compare.finetuned: found .*; allowed: nothing \(audit.references is empty\)",
        ),
        (
            AUDIT | {"models": [THEIRS | {"compare": {"finetuned": "tuned", "oracle": ["tuned"]}}]},
            "which is the finetuned model, too",
        ),
        (AUDIT | {"models": [THEIRS]}, r"audit.references\[0\].name: found .*tuned.*compares with"),
        ({"only": True}, "audit.only: found true; allowed: false without audit.models"),
        (
            AUDIT | {"references": [FULL | {"name": "finetuned"}, RETAIN]},
            r"audit.references\[0\].name: found .*finetuned.*, the name of a model of the study",
        ),
    ],
)
def test_a_mistake_in_the_config_is_one_line_with_its_key(audit, message):
    with pytest.raises(InputError, match=message) as error:
        config_with(audit)
    assert "\n" not in str(error.value)


def test_an_audit_alone_has_no_models_of_the_study_but_the_base():
    study = Study(config_with(AUDIT))
    assert study.baselines() == ["base"] and study.checkpoints() == study.level_checkpoints() == []
    assert study.result_tables() == study.result_plots() == []
    assert study.audit_models() == ["base", "reference/tuned", "reference/retain", "audit/theirs"]
    assert study.models_in("audit/", "quantized") == study.audit_models()[1:]
    assert study.models_in("audit/", "states") == study.audit_models()[1:]
    assert "distance_results" in study.audit_tables()
    assert study.unexposed_models() == ["base"]  # the wrong answers are chosen by it alone


def test_audited_models_are_not_attacked_by_relearning():
    study = Study(config_with({"models": [THEIRS]}, relearning={"steps": [0, 3, 7]}))
    attacked = ["oracle/seed_0", "oracle/seed_1", "unlearn/ga/lr0.0002/epoch_1"]
    assert study.relearning_models() == attacked
    assert study.last_relearning_step() == 7  # what the report shows
    assert Study(config_with(AUDIT)).relearning_models() == []


def test_audited_models_stand_in_the_tables_of_the_study_too():
    compare = {"compare": {"finetuned": "finetuned", "oracle": ["oracle/seed_0"]}}
    study = Study(config_with({"models": [THEIRS | compare, FULL]}))
    assert study.models_in("")[-2:] == ["audit/theirs", "audit/tuned"]
    assert study.models_in("", "states")[-1] == "audit/theirs"  # the other has nothing to move from
    assert study.audit_models() == ["base", "finetuned", "oracle/seed_0", "audit/theirs",
                                    "audit/tuned"]  # fmt: skip
    assert "eval_results" in study.result_tables()
    files = study.compared_files(wildcards(model="audit/theirs"))
    assert {Path(one).name for one in files[:2]} == FILES
    assert "<results>/models/oracle/seed_0/adapter_model.safetensors" in files


def test_without_oracles_their_table_is_not_made_and_that_is_said():
    audit = AUDIT | {"models": [THEIRS | {"compare": {"finetuned": "tuned"}}], "references": [FULL]}
    study = Study(config_with(audit))
    assert "distance_results" not in study.audit_tables()
    assert study.left_out_of_audit() == [
        "reference/tuned: compared with no oracle; left out: all distances from oracles.",
        "audit/theirs: compared with no oracle; left out: all distances from oracles.",
    ]
    alone = Study(config_with({"only": True, "models": [FULL]}))
    assert not [name for name in alone.audit_tables() if name.startswith("repr")]
    assert "audit/tuned: compared with no finetuned model" in alone.left_out_of_audit()[0]


def test_a_job_is_told_where_its_models_lie():
    study = Study(config_with(AUDIT))
    said = study.located_argument(wildcards(model="audit/theirs"))
    places = json.loads(said.removeprefix("--located ").strip("'"))
    assert places == {
        "audit/theirs": {"base": "model", "adapter": "a"},
        "reference/retain": {"base": "r", "adapter": None},
        "reference/tuned": {"base": "p", "adapter": None},
    }
    compared = study.comparison_arguments(wildcards(model="audit/theirs"))
    assert compared == "--reference reference/tuned --oracles reference/retain"
    assert study.finetuned_argument(wildcards(model="audit/theirs")) == (
        "--finetuned reference/tuned"
    )
    assert study.retain_argument(wildcards(model="audit/theirs")) == "--retain reference/retain"


def test_a_gguf_file_becomes_a_folder_that_its_job_reads():
    gguf = {"file": "x/model.gguf", "sha256": "ab" * 32}
    study = Study(config_with({"only": True, "models": [{"name": "q", "gguf": gguf}]}))
    folder = "data/models/gguf--model--abababababab"
    assert study.files_of("audit/q") == [f"{folder}/manifest.json"]
    of_folder = wildcards(model="model--abababababab")
    assert study.gguf_file(of_folder) == "x/model.gguf"
    assert study.gguf_digest(of_folder) == "ab" * 32
    with pytest.raises(InputError, match=r"models\[0\].gguf.file: x/model.gguf: no such file"):
        check_audited_models(study.config, "model")


# --- what is compared with what ---

GIVEN = {
    "audit/theirs": Peers("reference/tuned", ("reference/retain", "reference/more")),
    "reference/retain": Peers("reference/tuned", ("reference/retain", "reference/more")),
    "reference/tuned": Peers("reference/tuned", ("reference/retain",)),
    "audit/alone": Peers(None, ()),
}


def test_a_model_is_compared_with_its_own_peers_and_never_with_itself():
    models = ["base", "finetuned", "oracle/seed_0", *GIVEN]
    assert peers_of("audit/theirs", models, GIVEN) == GIVEN["audit/theirs"]
    assert peers_of("reference/retain", models, GIVEN).oracles == ("reference/more",)
    assert peers_of("reference/tuned", models, GIVEN).finetuned is None
    assert peers_of("base", models, GIVEN) == Peers("finetuned", ("oracle/seed_0",))
    assert peers_of("finetuned", models, GIVEN) == Peers(None, ("oracle/seed_0",))
    expected = ["oracle/seed_0", "reference/retain", "reference/more"]
    assert all_oracles(models, GIVEN) == expected
    without = {"finetuned": "recovery", "oracle": "distances"}
    assert notes_on_missing(models, GIVEN, without) == [
        "audit/alone: compared with no finetuned model; left out: recovery.",
        "audit/alone: compared with no oracle; left out: distances.",
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Records of an audited model and its references: copies of a study's."""
    folder = tmp_path_factory.mktemp("records")
    models = ["base", "finetuned", "oracle/seed_0", "oracle/seed_1", "unlearn/ga/lr0.0002/epoch_8"]
    write_study(folder, people=4, models=models)
    copies = {"audit/theirs": models[4], "reference/tuned": "finetuned"}
    copies |= {"reference/r0": "oracle/seed_0", "reference/r1": "oracle/seed_1"}
    for name, original in copies.items():
        shutil.copytree(folder / "eval" / original, folder / "eval" / name)
    return folder


OTHERS = ["base", "reference/tuned", "reference/r0", "reference/r1", "audit/theirs"]
OWN = ["base", "finetuned", "oracle/seed_0", "oracle/seed_1", "unlearn/ga/lr0.0002/epoch_8"]
GROUP = Peers("reference/tuned", ("reference/r0", "reference/r1"))
PEERS = dict.fromkeys(OTHERS[1:], GROUP)


def settings(peers: dict) -> SummarySettings:
    return SummarySettings(0.95, None, EVERYTHING, peers=peers)


@pytest.mark.parametrize("table", [summarize_eval, compare_with_oracles])
def test_an_audit_has_the_numbers_of_the_same_models_in_a_study(written, table):
    own = table(written / "eval", OWN, settings({}))
    others = table(written / "eval", OTHERS, settings(PEERS))
    names = dict(zip(OTHERS, OWN, strict=True))
    others = [row | {"model": names[row["model"]]} for row in others]
    told = ("method", "epoch", "seed", "learning_rate")
    # An own base has peers that the base of an audit has not.
    mine, theirs = (
        [{k: v for k, v in row.items() if k not in told} for row in rows if row["model"] != "base"]
        for rows in (own, others)
    )
    assert mine == theirs and len(mine) > 80


def test_the_method_of_an_audited_model_is_its_name(written):
    rows = summarize_eval(written / "eval", OTHERS, settings(PEERS))
    methods = {row["model"]: row["method"] for row in rows}
    assert methods == dict.fromkeys(OTHERS[:4]) | {"audit/theirs": "theirs"}


def test_a_model_without_oracles_has_no_rows_about_them_and_a_note_names_these(written):
    peers = PEERS | {"audit/theirs": Peers("reference/tuned", ())}
    rows = summarize_eval(written / "eval", OTHERS, settings(peers))
    metrics = {row["metric"] for row in rows if row["model"] == "audit/theirs"}
    needing = {"forget_quality", "privleak", "excess_loss", "truth_ratio_ks", "auc_reference"}
    assert not metrics & needing and "slot_accuracy" in metrics
    (note,) = [one for one in eval_notes(OTHERS, settings(peers)) if "audit/theirs" in one]
    assert needing <= set(re.findall(r"\w+", note))


# --- checks before any job ---


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("audit") / "base", "qwen2", layers=2)


def refused(base: Path, entry: dict, **more) -> str:
    config = config_with({"only": True, "models": [{"name": "x"} | entry]}, str(base), **more)
    with pytest.raises(InputError) as error:
        check_audited_models(config, str(base))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"peft_type": "IA3"}, "adapter_config.json: peft_type is 'IA3'; allowed is 'LORA'"),
        ({"task_type": "SEQ_CLS"}, "task_type is 'SEQ_CLS'; allowed is 'CAUSAL_LM'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changes the base"),
        ({"layer_replication": [[0, 1]]}, r"layer_replication is \[\[0, 1\]\]; allowed: a LoRA"),
        ({"use_qalora": True}, "use_qalora is True; allowed: a LoRA adapter without it"),
    ],
)
def test_an_adapter_of_another_kind_is_refused_before_any_job(base, tmp_path, change, message):
    folder = peft_script(base, tmp_path / "adapter")
    content = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(content | change))
    said = refused(base, {"adapter": str(folder)})
    assert said.startswith("audit.models[0].adapter: ") and re.search(message, said)


def test_an_adapter_of_another_base_or_a_broken_one_is_refused(base, tmp_path):
    wide = tiny_folder(tmp_path / "llama", "llama", layers=2)
    folder = peft_script(base, tmp_path / "adapter")
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    wrong = {name: torch.zeros(one.shape[0], 7) if "lora_A" in name else torch.zeros(9, 4)
             for name, one in tensors.items()}  # fmt: skip
    save_file(wrong, file)
    assert "the adapter belongs to another base model" in refused(base, {"adapter": str(folder)})
    save_file({name.replace("layers", "blocks"): one for name, one in tensors.items()}, file)
    assert "no layer of it is in" in refused(base, {"adapter": str(folder)})
    file.write_bytes(file.read_bytes()[:-10])
    assert "its header says" in refused(base, {"adapter": str(folder)})
    file.unlink()
    assert "no adapter_model.safetensors; needed" in refused(base, {"adapter": str(folder)})
    assert "no such folder" in refused(base, {"adapter": str(tmp_path / "none")})
    assert wide.is_dir()


def test_an_enlarged_vocabulary_is_refused(base, tmp_path):
    folder = peft_script(base, tmp_path / "adapter", modules_to_save=["embed_tokens"])
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    (name,) = [one for one in tensors if "embed_tokens" in one]
    tensors[name] = torch.cat([tensors[name], tensors[name][:3]])
    save_file(tensors, file)
    assert "keeps the vocabulary of its base model" in refused(base, {"adapter": str(folder)})


def test_what_must_be_merged_needs_float32(base, tmp_path):
    folder = peft_script(base, tmp_path / "adapter", modules_to_save=["lm_head"])
    config = config_with({"only": True, "models": [THEIRS | {"adapter": str(folder)}]}, str(base))
    check_audited_models(config, str(base))
    config["model"]["dtype"] = "bfloat16"
    with pytest.raises(InputError, match=r"modules_to_save \['lm_head'\].*allowed: 'float32'"):
        check_audited_models(config, str(base))


def test_a_folder_of_the_trainer_of_transformers_is_a_model(base, tmp_path):
    """`save_model` leaves shards, the tokenizer and its own files beside them."""
    folder = tmp_path / "trained"
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(folder, max_shard_size="100KB")
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    for name in ("trainer_state.json", "training_args.bin", "TOFU_EVAL.json"):
        (folder / name).write_text("{}")
    study = Study(config_with({"only": True, "models": [FULL | {"path": str(folder)}]}, str(base)))
    check_audited_models(study.config, str(base))
    names = {Path(one).name for one in study.files_of("audit/tuned")}
    assert {"config.json", "model.safetensors.index.json", "tokenizer.json"} <= names
    assert len([name for name in names if name.endswith(".safetensors")]) > 1
    assert not names & {"trainer_state.json", "training_args.bin", "TOFU_EVAL.json"}
    (folder / "chat_template.jinja").unlink()
    said = refused(base, {"path": str(folder)})
    assert said.startswith("audit.models[0].path: ") and "no chat template" in said


def test_a_finetuned_model_of_other_sizes_is_refused(base, tmp_path):
    deep = tiny_folder(tmp_path / "deep", "qwen2", layers=3)
    audit = {
        "only": True,
        "models": [{"name": "x", "path": str(base), "compare": {"finetuned": "tuned"}}],
        "references": [FULL | {"path": str(deep)}],
    }
    config = config_with(audit, str(base))
    with pytest.raises(InputError, match=r"models\[0\].compare: reference/tuned .*has 3 layers"):
        check_audited_models(config, str(base))
    config = config_with(audit, str(base), representations={"middle_layer": 3})
    with pytest.raises(InputError, match=r"middle_layer: found 3; allowed: 0 to 2, .*models\[0\]"):
        check_audited_models(config, str(base))
