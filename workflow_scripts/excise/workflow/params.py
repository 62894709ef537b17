"""What each program is given: its settings from the config, as one JSON text.

Snakemake tracks the text. A settings class names the keys that its program reads, so a job reruns
for these and no others. Parsed in every job: no torch here.
"""

import json
import shlex
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from excise.attacks.attack_sets import GROUPS
from excise.attacks.settings import RelearningSettings
from excise.benchmark.limits import RedTeamLimits, ValidationLimits
from excise.benchmark.own_files import OwnFiles, own_paths, read_own_files
from excise.config.schema import defaults_of
from excise.config.trajectories import labels_of
from excise.evaluation.settings import (
    DepthSettings,
    EmbeddingSettings,
    EvaluationSettings,
    ForecastSettings,
    ProbingSettings,
    QuantizationSettings,
    RepresentationSettings,
)
from excise.evaluation.sweep import EVERYTHING, Sweep
from excise.evaluation.tables.settings import (
    DepthTableSettings,
    DriftSettings,
    FindingSettings,
    RecoverySettings,
    RelearningTableSettings,
    ScoreSettings,
    SummarySettings,
    UpdateSettings,
)
from excise.generation.settings import (
    BudgetSettings,
    JudgedCases,
    ParaphraseSettings,
    PeopleSettings,
    PretrainingSettings,
    PreviewSettings,
    QuestionSettings,
    TextSettings,
    TwinSettings,
    WritingLimits,
)
from excise.modeling.settings import (
    Float32Settings,
    MachineSettings,
    ModelCheckSettings,
    ModelSettings,
)
from excise.plots.settings import PlotSettings
from excise.red_team.settings import GateSettings, JudgeSettings, SelectionSettings
from excise.report.settings import ReportSettings
from excise.settings import as_dict, from_sections
from excise.training.settings import FinetuningSettings, TrainingSettings
from excise.unlearning.settings import ReferenceSettings, TrajectorySettings
from excise.workflow.models import Models

# The keys of generation.llm that decide what the model answers. The others say how it is reached;
# `reserve` says how many people are drawn.
MODEL_KEYS = ["base_url", "model", "extra_body", "structured", "resample_max"]
RESERVE = "reserve"


def as_json(settings: Any) -> str:
    """Settings as one JSON text: one tracked param, keys in a fixed order."""
    return json.dumps(settings if isinstance(settings, dict) else as_dict(settings), sort_keys=True)


class Params(Models):
    """Settings of each program of a study. A method with `_settings` in its name gives its --hp."""

    # --- writing the benchmark ---

    def asks_model(self) -> bool:
        """Whether a language model writes the benchmark."""
        return self.config["generation"]["backend"] == "openai"

    def reads_own_files(self) -> bool:
        """Whether the user's own files are the benchmark."""
        return self.config["generation"]["backend"] == "files"

    @cached_property
    def own_files(self) -> OwnFiles:
        """The user's own files, checked.

        Raises:
            InputError: a file is missing, or a line is at fault.
        """
        return read_own_files(self.config["generation"]["folder"])

    def own_paths(self) -> list[str]:
        """Those of the user's own files that are there."""
        return own_paths(self.config["generation"]["folder"])

    def lacks(self, name: str) -> bool:
        """Whether the user's own files lack a field or file (`OwnFiles.known`)."""
        return self.reads_own_files() and name not in self.own_files.known

    def model_keys(self) -> dict:
        """The keys of generation.llm that decide what a model answers."""
        llm = self.config["generation"].get("llm", {})
        return {key: value for key, value in llm.items() if key in MODEL_KEYS}

    def writing_limits(self) -> dict:
        """What a model's texts are held to while it writes: defaults, whatever the config says."""
        sections = defaults_of("validation"), defaults_of("red_team")
        return as_dict(from_sections(WritingLimits, *sections))

    def _generation(self) -> dict:
        """Section `generation` as the authors need it."""
        generation = self.config["generation"]
        writes = self.asks_model()
        reserve = generation["llm"][RESERVE] if writes else 0.0
        llm, limits = (self.model_keys(), self.writing_limits()) if writes else (None, None)
        return generation | {"llm": llm, "limits": limits, "reserve": reserve}

    def people_settings(self) -> str:
        """Who is drawn; if a model writes, a few more, since it may leave some out."""
        return as_json(from_sections(PeopleSettings, self._generation()))

    def facts_settings(self) -> str:
        """Who writes the facts."""
        return as_json(from_sections(TextSettings, self._generation()))

    def question_settings(self) -> str:
        """How the facts are asked."""
        return as_json(from_sections(QuestionSettings, self._generation()))

    def paraphrase_settings(self) -> str:
        """How many held-out questions are written."""
        return as_json(from_sections(ParaphraseSettings, self._generation()))

    def preview_settings(self) -> str:
        """Settings of all four files: they decide the texts of the people shown."""
        return as_json(from_sections(PreviewSettings, self._generation()))

    def client_settings(self) -> str:
        """How the model is reached: limits, retries, budget, name of the key's variable.

        Programs get it from the environment, which Snakemake does not track. A new budget or a
        slower pace continues a run and makes nothing again.
        """
        llm = self.config["generation"].get("llm", {})
        tracked = [*MODEL_KEYS, RESERVE]
        return as_json({key: value for key, value in llm.items() if key not in tracked})

    def author_settings(self) -> str:
        """What a model must know of the whole dataset that decides no text; not tracked either."""
        judge = self.config["red_team"]["judge"]
        asked = from_sections(JudgedCases, judge) if judge["enabled"] else None
        sections = (
            self.config["generation"],
            {"incomplete_people": self.config["validation"]["incomplete_people"]},
        )
        return as_json(from_sections(BudgetSettings, *sections, {"judge": asked}))

    def prompt_files(self, part: str) -> list[str]:
        """Prompt and reply schema of a part, if a model writes it."""
        stem = f"data/inputs/prompts/{part}"
        return [f"{stem}.md", f"{stem}.schema.json"] if self.asks_model() else []

    def refused_people(self, wildcards) -> list[str]:
        """File of the people whom a model refused to write about after their profile was there."""
        path = f"{self.config['pathvars']['data']}/generated/journal/refused.json"
        return [path] if self.asks_model() and Path(path).exists() else []

    def forget_facts(self, wildcards) -> str:
        """Whose held-out questions are written; a model must also know what is trained on."""
        return f"<data>/generated/{'qa' if self.asks_model() else 'facts'}.jsonl"

    def forget_facts_argument(self, wildcards, input) -> str:
        """The same as an argument."""
        return f"--{'qa' if self.asks_model() else 'facts'} {shlex.quote(input.source)}"

    # --- checking it ---

    def validation_settings(self) -> str:
        """What counts as a duplicate, how many people are wanted and how many may be missing."""
        people = {key: self.config["generation"][key] for key in ("people", "holdout")}
        return as_json(from_sections(ValidationLimits, self.config["validation"], people))

    def rule_limits(self) -> list[str]:
        """Keys of red_team that the checks without models use."""
        return [key for key in self.config["red_team"] if key not in ("models", "judge")]

    def red_team_settings(self) -> str:
        """What the checks that need no model let pass."""
        sections = self.config["red_team"], self.config["generation"]
        return as_json(from_sections(RedTeamLimits, *sections))

    def selection_settings(self) -> str:
        """How candidates are scored and drawn, and what the chosen ones are held to."""
        asking = {"batch_size": self.config["evaluation"]["batch_size"]}
        sections = self._model(), asking, self.config["generation"]
        return as_json(from_sections(SelectionSettings, *sections))

    def gate_settings(self) -> str:
        """What models that never saw the forget facts must not do."""
        sections = self.config["red_team"]["models"], self.config["evaluation"]
        return as_json(from_sections(GateSettings, *sections))

    def judge_settings(self) -> str:
        """How many cases a judge is asked, and the seed of their choice."""
        seed = {"seed": self.config["generation"]["seed"]}
        sections = self.config["red_team"]["judge"], seed, self.config["evaluation"]
        return as_json(from_sections(JudgeSettings, *sections))

    def judge_model(self) -> str:
        """Which model judges."""
        return as_json(self.model_keys())

    def authors(self) -> list[str]:
        """Whose texts are compared: those of the experiment's author, and of the frames."""
        return list(dict.fromkeys([self.config["generation"]["backend"], "offline"]))

    def twin_argument(self, wildcards) -> str:
        """How the offline frames write about the people of a dataset that a model wrote."""
        if not self.asks_model() or wildcards.get("author", "offline") != "offline":
            return ""
        settings = as_json(from_sections(TwinSettings, self.config["generation"]))
        return f"--offline-twin {shlex.quote(settings)}"

    def embedding_arguments(self, wildcards, input) -> str:
        """AUTHOR=FILE for each file of embeddings."""
        pairs = zip(self.authors(), input.embeddings, strict=True)
        return " ".join(shlex.quote(f"{author}={file}") for author, file in pairs)

    # --- models ---

    def _model(self) -> dict:
        """How a model is loaded and on what it runs."""
        return as_dict(from_sections(ModelSettings, self.config["model"], self.config["resources"]))

    def package_argument(self, wildcards) -> str:
        """The package that holds a GGUF file, if one does."""
        package = self.gguf(wildcards).get("package")
        return f"--package {shlex.quote(package)}" if package else ""

    def pretraining_settings(self) -> str:
        """How the embedded base model is made."""
        return as_json(from_sections(PretrainingSettings, self.config["pretraining"]))

    def model_check_settings(self) -> dict:
        """Settings that decide whether a model works."""
        sections = self.config["model"], {"lora": self.config["lora"]}, self.config["evaluation"]
        return as_dict(from_sections(ModelCheckSettings, *sections))

    def method_check_settings(self) -> dict:
        """The blocks of trajectories, which methods check against the model."""
        return {"unlearning": {"trajectories": self.config["unlearning"]["trajectories"]}}

    def finetuning_settings(self, wildcards) -> str:
        """What makes the finetuned model, or the oracle of a seed."""
        section = self.config["finetuning"]
        if "seed" in wildcards.keys():  # noqa: SIM118 - Snakemake's wildcards are no mapping
            section = section | {"seed": int(wildcards.seed)}
        lora = {"lora": self.config["lora"]}
        return as_json(from_sections(FinetuningSettings, self._model(), section, lora))

    def unlearning_settings(self, wildcards) -> str:
        """Settings of a trajectory, without the epochs to save (see `saved_epochs`)."""
        own = self.trajectories[wildcards.trajectory]
        training = from_sections(TrainingSettings, self.config["unlearning"])
        method = {key: own[key] for key in ("method", "hyperparameters")} | {"epochs": []}
        settings = from_sections(TrajectorySettings, self._model(), method, {"training": training})
        return as_json({key: value for key, value in as_dict(settings).items() if key != "epochs"})

    def reference_settings(self) -> str:
        """How the forget answers are scored before unlearning."""
        sections = self._model(), self.config["unlearning"]
        return as_json(from_sections(ReferenceSettings, *sections))

    def optional_arguments(self, wildcards, input) -> str:
        """Files of the reference and of alternative answers, for the methods that read them."""
        given = {name: input.get(name) for name in ("reference", "alternatives")}
        return " ".join(f"--{name} {shlex.quote(path)}" for name, path in given.items() if path)

    def evaluation_settings(self) -> str:
        """How questions are asked and answers scored, and which probes are asked."""
        sections = self._model(), self.config["evaluation"]
        return as_json(from_sections(ProbingSettings, *sections))

    def asking_settings(self) -> str:
        """How questions that are no probes are asked and answers scored."""
        sections = self._model(), self.config["evaluation"]
        return as_json(from_sections(EvaluationSettings, *sections))

    def sweep(self) -> Sweep:
        """What checkpoints are asked. The levels matter only where the others are asked less."""
        limits = self.config["evaluation"]["sweep"]
        everything = from_sections(Sweep, limits, {"full": []})
        if everything == EVERYTHING:
            return EVERYTHING
        return from_sections(Sweep, limits, {"full": self.level_checkpoints()})

    def sweep_argument(self, wildcards) -> str:
        """The same for the checkpoints of one trajectory, if they are asked less."""
        if self.sweep() == EVERYTHING:
            return ""
        own = [
            name
            for name in self.sweep().full
            if name.startswith(f"unlearn/{wildcards.trajectory}/")
        ]
        return f"--sweep {shlex.quote(as_json(replace(self.sweep(), full=tuple(own))))}"

    def quantization_settings(self) -> str:
        """How a quantized model is asked the same."""
        sections = self._model(), self.config["evaluation"], self.config["quantization"]
        return as_json(from_sections(QuantizationSettings, *sections))

    def relearning_attacks(self) -> list[str]:
        """The attacks of the config whose facts exist: own files may have no groups."""
        wanted = self.config["relearning"]["attacks"]
        if not self.reads_own_files():
            return wanted
        groups = {"sf", *(line.record.get("group") for line in self.own_files.sr)}
        return [one for one in wanted if GROUPS[one] in groups]

    def last_relearning_step(self) -> int:
        """The last step at which attacked models are asked."""
        return max(self.config["relearning"]["steps"])

    def relearning_settings(self) -> str:
        """How a model is attacked by relearning, and asked meanwhile."""
        section = self.config["relearning"] | {"warmup_steps": 0}
        rate = section["learning_rate"] or self.config["finetuning"]["learning_rate"]
        parts = {
            "evaluation": json.loads(self.asking_settings()),
            "training": as_dict(from_sections(TrainingSettings, section)),
            "learning_rate": rate,
            "share": section["share"],
        }
        return as_json(from_sections(RelearningSettings, parts))

    def representation_settings(self) -> str:
        """How hidden states are read."""
        sections = self._model(), self.config["evaluation"], self.config["representations"]
        return as_json(from_sections(RepresentationSettings, *sections))

    def depth_settings(self) -> str:
        """How states are patched and probed."""
        sections = self._model(), self.config["evaluation"], self.config["representations"]
        return as_json(from_sections(DepthSettings, *sections))

    def gradient_settings(self) -> str:
        """How the gradients of facts are read."""
        return as_json(from_sections(Float32Settings, self._model()))

    def forecast_settings(self) -> str:
        """How gradients and hidden states of facts are read before unlearning."""
        sections = self._model(), self.config["evaluation"], self.config["representations"]
        return as_json(from_sections(ForecastSettings, *sections))

    def machine_settings(self) -> str:
        """On what a program computes that runs no model."""
        return as_json(from_sections(MachineSettings, self.config["resources"]))

    def embedding_settings(self) -> str:
        """How texts are read."""
        sections = self._model(), self.config["evaluation"]
        return as_json(from_sections(EmbeddingSettings, *sections))

    # --- tables and figures ---

    def plot_settings(self) -> str:
        """How figures write the methods, and the coverage that their titles state."""
        generates = self.config["evaluation"]["sweep"]["generation"]
        matches = generates and not self.lacks("value")
        drawn = {
            "labels": labels_of(self.trajectories),
            "metric": "slot_accuracy" if matches else "probability",
        }
        return as_json(from_sections(PlotSettings, self.config["evaluation"], drawn))

    def _peers(self) -> dict:
        """What models of others are compared with."""
        return {name: as_dict(peers) for name, peers in self.peers.items()}

    def located_argument(self, wildcards) -> str:
        """Where models of others lie, for a job about one of them."""
        models = [wildcards.model, *self.compared_models(wildcards.model)]
        places = {one: as_dict(self.location(one)) for one in models if one in self.audited}
        return f"--located {shlex.quote(json.dumps(places, sort_keys=True))}"

    def finetuned_argument(self, wildcards) -> str:
        """The finetuned model that a model of others is compared with, if there is one."""
        finetuned = self.peers[wildcards.model].finetuned
        return f"--finetuned {shlex.quote(finetuned)}" if finetuned else ""

    def comparison_arguments(self, wildcards) -> str:
        """With which models the hidden states of a model of others are compared."""
        peers = self.peers[wildcards.model]
        oracles = " ".join(map(shlex.quote, peers.oracles))
        reference = shlex.quote(peers.finetuned or wildcards.model)
        return f"--reference {reference} --oracles {oracles}"

    def report_settings(self) -> str:
        """How the report writes the methods, and the coverage of its intervals."""
        labels = {"labels": labels_of(self.trajectories)}
        return as_json(from_sections(ReportSettings, self.config["evaluation"], labels))

    def _levels(self) -> dict:
        """The checkpoints that stand for each level of unlearning."""
        if not self.trains():
            return {"levels": {}}
        return {"levels": self.config["evaluation"]["checkpoints"]}

    def _summary(self, kind: type, *sections: dict) -> Any:
        evaluation = self.config["evaluation"] | {"sweep": self.sweep(), "peers": self._peers()}
        return from_sections(kind, evaluation, *sections)

    def summary_settings(self, marks_levels: bool = True) -> str:
        """How intervals are made, and which checkpoints stand for which level, if any do."""
        levels = self._levels() if marks_levels else {"levels": None}
        return as_json(self._summary(SummarySettings, levels))

    def recovery_settings(self) -> str:
        """The same for the quantized models, and their precisions."""
        return as_json(self._summary(RecoverySettings, self._levels(), self.config["quantization"]))

    def relearning_table_settings(self) -> str:
        """How attacked models are summarised, after which attacks and steps."""
        section = {
            "attacks": self.relearning_attacks(),
            "steps": self.config["relearning"]["steps"],
        }
        sections = self.config["evaluation"], self._levels(), section
        return as_json(from_sections(RelearningTableSettings, *sections))

    def update_settings(self) -> str:
        """Which checkpoints stand for which level."""
        return as_json(from_sections(UpdateSettings, self._levels()))

    def score_settings(self) -> str:
        """How a forecast is scored, at which levels."""
        return as_json(from_sections(ScoreSettings, self.config["evaluation"], self._levels()))

    def finding_settings(self) -> str:
        """How claims are judged."""
        sections = self.config["evaluation"], self.config["representations"], self._levels()
        return as_json(from_sections(FindingSettings, *sections))

    def control_argument(self) -> str:
        """The table of the positive control as an argument, if the config names one."""
        control = self.config["findings"]["control"]
        return f"--control {shlex.quote(control)}" if control else ""

    def replications_argument(self) -> str:
        """The findings of other runs, and the table of the positive control, if there are any."""
        control, given = self.control_argument(), self.config["findings"]
        others = " ".join(map(shlex.quote, given["replications"]))
        return f"{control} --replications {others}" if others else control

    def drift_settings(self, wildcards) -> str:
        """How intervals are made, and which layer a table of drift is about."""
        named = {"repr_layers": "all", "repr_results": "last"}
        number = wildcards.table.rpartition("_")[2]
        layer = {"layer": named.get(wildcards.table) or int(number), "peers": self._peers()}
        return as_json(from_sections(DriftSettings, self.config["evaluation"], layer))

    def depth_table_settings(self) -> str:
        """How the depth of erasure is summarised."""
        sections = self.config["evaluation"], self._levels(), self.config["representations"]
        return as_json(from_sections(DepthTableSettings, *sections))

    def result_config(self, *sections: str, **parts: list[str]) -> str:
        """The part of the config in a result's header: whole sections, or some keys of one."""
        settings = {key: self.config[key] for key in ("experiment", "model", *sections)}
        for section, keys in parts.items():
            settings[section] = {key: self.config[section][key] for key in keys}
        return as_json(settings | {"generation": self.reported_generation()})

    def reported_generation(self) -> dict:
        """Section `generation` in a result's header: what the data depend on."""
        generation = self.config["generation"]
        if self.reads_own_files():
            return {key: generation[key] for key in ("backend", "folder")}
        settings = {key: value for key, value in generation.items() if key not in ("llm", "folder")}
        return settings | ({"llm": self.model_keys()} if self.asks_model() else {})
