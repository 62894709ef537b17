"""The models of a study: their names, their files and the jobs that make several of them.

A model is named by its folder under <results>/models/: `base`, `finetuned`, `oracle/seed_0`,
`unlearn/npo/lr0.0002_beta0.1/epoch_5`. Parsed in every job: no torch here.
"""

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from excise.config.trajectories import expand_trajectories, needs_of
from excise.evaluation.peers import Peers, peers_in, peers_of
from excise.modeling.settings import Location
from excise.unlearning.registry import is_file
from excise.workflow.audited_models import entries_of, files_of, gguf_folder, location_of
from excise.workflow.imports import import_closure
from excise.workflow.patterns import pattern_of
from excise.workflow.preflight import model_files

ADAPTER_FILES = ["adapter_model.safetensors", "adapter_config.json"]
BASE_MODEL_FILES = [
    "manifest.json",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
]
PROGRAMS = "workflow_scripts"
METHODS = f"{PROGRAMS}/excise/unlearning/methods"
ALTERNATIVES = "data/inputs/idk_answers.txt"
REFERENCE = "<results>/models/finetuned_reference.json"
STAGES_OF_TRAJECTORIES = ["unlearn", "evaluate_unlearned", "represent_unlearned"]


@dataclass(frozen=True)
class Models:
    """The models of a study.

    Attributes:
        config: the checked config.
    """

    config: dict

    @cached_property
    def trajectories(self) -> dict[str, dict]:
        """Name → method, hyperparameters and epochs."""
        return expand_trajectories(self.config)

    # --- the base model ---

    def base_folder(self) -> str:
        """Folder of the base model."""
        model = self.config["model"]
        if model["path"] is not None:
            return model["path"]
        if gguf := model["gguf"]:
            return gguf_folder(gguf)
        hub = Path(model["hub"]["repo"], model["hub"]["revision"])
        return f"data/models/{'--'.join(hub.parts)}"

    def incoming_name(self) -> str:
        """Name of a model that is fetched, which may say its size; empty for a local folder."""
        model = self.config["model"]
        if model["hub"]:
            return model["hub"]["repo"]
        return Path(model["gguf"]["file"]).stem if model["gguf"] else ""

    def base_files(self) -> list[str]:
        """Files of the base model; for a fetched one its manifest, which has their digests."""
        if self.config["model"]["path"] is not None:
            return model_files(self.config["model"]["path"])
        return [f"{self.base_folder()}/manifest.json"]

    # --- adapters ---

    def adapter_of(self, model: str) -> list[str]:
        """Adapter files of a model; base has none."""
        if model == "base":
            return []
        return [f"<results>/models/{model}/{name}" for name in ADAPTER_FILES]

    def adapters(self, wildcards) -> list[str]:
        """Adapter files of the model that a job is about."""
        return self.adapter_of(wildcards.model)

    def own_adapters(self, wildcards) -> list[str]:
        """Adapter files of the model that a job is about, where it is not finetuned."""
        return [] if wildcards.model == "finetuned" else self.adapter_of(wildcards.model)

    def oracle_adapters(self) -> list[str]:
        """Adapter files of all oracles."""
        return [path for oracle in self.oracles() for path in self.adapter_of(oracle)]

    def finetuned_beside(self, wildcards) -> list[str]:
        """Adapter files of the finetuned model, unless they are the model's own."""
        return [] if wildcards.model == "finetuned" else self.adapter_of("finetuned")

    def reference(self, wildcards) -> str | list[str]:
        """Log-probabilities of the finetuned model, for the methods that read them."""
        needs = needs_of(self.trajectories[wildcards.trajectory])
        return REFERENCE if needs.reference_sums else []

    def alternatives(self, wildcards) -> str | list[str]:
        """Other answers to the forget questions, for the methods that read them."""
        needs = needs_of(self.trajectories[wildcards.trajectory])
        return ALTERNATIVES if needs.alternatives else []

    def method_files(self, wildcards) -> list[str]:
        """The file of a trajectory's method, and the modules of ours that it imports."""
        method = self.trajectories[wildcards.trajectory]["method"]
        path = method if is_file(method) else f"{METHODS}/{method}.py"
        return [path, *import_closure(path, root=PROGRAMS)]

    # --- names ---

    def trains(self) -> bool:
        """Whether the study has models of its own besides the base."""
        return not self.config["audit"]["only"]

    def oracles(self) -> list[str]:
        """The oracles, in the order of their seeds."""
        if not self.trains():
            return []
        return [f"oracle/seed_{seed}" for seed in self.config["oracle"]["seeds"]]

    def unexposed_models(self) -> list[str]:
        """The models that never saw the forget facts."""
        return ["base", *self.oracles()]

    def baselines(self) -> list[str]:
        """The models that every checkpoint is compared with."""
        return ["base", "finetuned", *self.oracles()] if self.trains() else ["base"]

    def quantized_models(self) -> list[str]:
        """The models that go through the quantization stress test."""
        return [*self.baselines()[1:], *self.level_checkpoints()]

    def relearning_models(self) -> list[str]:
        """The models that are attacked by relearning; the oracles are the baseline."""
        return [*self.oracles(), *self.level_checkpoints()]

    def checkpoints(self) -> list[str]:
        """All unlearned models."""
        if not self.trains():
            return []
        return [
            f"unlearn/{name}/epoch_{epoch}"
            for name, trajectory in self.trajectories.items()
            for epoch in trajectory["epochs"]
        ]

    def level_checkpoints(self) -> list[str]:
        """The unlearned models that stand for light, medium, heavy, each once."""
        levels = self.config["evaluation"]["checkpoints"].values() if self.trains() else []
        return list(dict.fromkeys(f"unlearn/{name}" for names in levels for name in names))

    def depth_models(self) -> list[str]:
        """The models whose depth of erasure is measured, base, finetuned and oracles among them."""
        depth = self.config["representations"]["depth"]
        chosen = {"levels": self.level_checkpoints, "all": self.checkpoints}
        return self.baselines() + chosen[depth]() if depth in chosen else []

    # --- models of others ---

    @cached_property
    def audited(self) -> dict[str, dict]:
        """Name in result files → entry of section `audit`: `reference/…`, then `audit/…`."""
        return entries_of(self.config)

    @cached_property
    def peers(self) -> dict[str, Peers]:
        """What models of others are compared with."""
        return peers_in(self.config)

    def location(self, model: str) -> Location:
        """Where a model of others lies."""
        return location_of(self.audited[model], self.base_folder())

    def audited_bases(self) -> list[str]:
        """Folders of the audited models that are not adapters of the study's base."""
        folders = [self.location(model).base for model in self.audited]
        return [one for one in dict.fromkeys(folders) if one != self.base_folder()]

    def audited_files(self, wildcards) -> list[str]:
        """Files of the model of others that a job is about."""
        return self.files_of(wildcards.model)

    def files_of(self, model: str) -> list[str]:
        """All files of a model, with those of the base that its adapter belongs to."""
        if model in self.audited:
            return files_of(self.audited[model], self.base_files())
        return [*self.base_files(), *self.adapter_of(model)]

    def compared_models(self, model: str) -> list[str]:
        """What a model of others is compared with: the finetuned one, then oracles."""
        peers = peers_of(model, [], self.peers)
        return [*([peers.finetuned] if peers.finetuned else []), *peers.oracles]

    def compared_files(self, wildcards) -> list[str]:
        """Files of a model of others, and of all that it is compared with."""
        models = [wildcards.model, *self.compared_models(wildcards.model)]
        return list(dict.fromkeys(file for one in models for file in self.files_of(one)))

    def finetuned_files(self, wildcards) -> list[str]:
        """Files of a model of others, and of the finetuned model that it is compared with."""
        finetuned = peers_of(wildcards.model, [], self.peers).finetuned
        models = [wildcards.model, *([finetuned] if finetuned else [])]
        return list(dict.fromkeys(file for one in models for file in self.files_of(one)))

    def audit_models(self) -> list[str]:
        """The models in the tables of an audit: the base, what is compared with, the audited."""
        own = [one for peers in self.peers.values() for one in (peers.finetuned, *peers.oracles)]
        own = [one for one in dict.fromkeys(own) if one is not None and one not in self.audited]
        return ["base", *own, *self.audited]

    def with_states(self, models: list[str]) -> list[str]:
        """Those whose hidden states are compared: with what moved from, or with themselves."""
        serve = {peers.finetuned for peers in self.peers.values()}
        return [
            model
            for model in models
            if model not in self.audited or model in serve or self.peers[model].finetuned
        ]

    # --- what open-unlearning reads ---

    def exported_models(self) -> list[str]:
        """The models that `open_unlearning` exports: those that are asked everything."""
        return [*self.baselines(), *self.level_checkpoints(), *self.audited]

    def retain_model(self, model: str) -> str | None:
        """The one model that open-unlearning calls the retain model: the first oracle."""
        oracles = peers_of(model, self.baselines(), self.peers).oracles
        return oracles[0] if oracles else None

    def records_of_exported(self, wildcards) -> list[str]:
        """Records of a model and of its retain model."""
        retain = self.retain_model(wildcards.model)
        models = [wildcards.model, *([retain] if retain else [])]
        files = ("items.jsonl", "tokens.parquet")
        return [f"<results>/eval/{model}/{file}" for model in models for file in files]

    def retain_argument(self, wildcards) -> str:
        """The same as an argument."""
        retain = self.retain_model(wildcards.model)
        return f"--retain {shlex.quote(retain)}" if retain else ""

    # --- GGUF files ---

    def gguf(self, wildcards) -> dict:
        """The GGUF file that becomes the folder `gguf--{model}`."""
        files = [self.config["model"]["gguf"], *(one["gguf"] for one in self.audited.values())]
        folder = f"data/models/gguf--{wildcards.model}"
        return next((one for one in files if one and gguf_folder(one) == folder), {})

    def gguf_file(self, wildcards) -> str | None:
        """Its path, or its path in its package."""
        return self.gguf(wildcards).get("file")

    def gguf_digest(self, wildcards) -> str | None:
        """Its SHA-256."""
        return self.gguf(wildcards).get("sha256")

    # --- trajectories with the same epochs share their rules ---

    @cached_property
    def _groups(self) -> list[tuple[list[int], str]]:
        groups: dict[tuple[int, ...], list[str]] = {}
        for name, trajectory in self.trajectories.items():
            groups.setdefault(tuple(trajectory["epochs"]), []).append(name)
        return [(list(epochs), pattern_of(names)) for epochs, names in groups.items()]

    def trajectories_by_epochs(self) -> list[tuple[list[int], str]]:
        """For each distinct list of epochs: the epochs, and a pattern of its trajectories.

        Outputs cannot depend on wildcards, so each list of checkpoints is a rule of its own.
        """
        return self._groups

    def first_epochs(self) -> list[int]:
        """Epochs of the first trajectory."""
        return next(iter(self.trajectories.values()))["epochs"]

    def rule_name(self, stem: str, epochs: list[int]) -> str:
        """`unlearn` for the first list of epochs, `unlearn_2_4` for others."""
        return stem if epochs == self.first_epochs() else "_".join([stem, *map(str, epochs)])

    def rules_of_trajectories(self) -> dict[str, tuple[str, list[int]]]:
        """Name of each rule of `STAGES_OF_TRAJECTORIES` → its stage and its epochs."""
        return {
            self.rule_name(stem, epochs): (stem, epochs)
            for stem in STAGES_OF_TRAJECTORIES
            for epochs, _ in self.trajectories_by_epochs()
        }

    # --- what a job makes, read from its outputs ---
    # Snakemake does not track such a param: a shorter or reordered list reruns nothing, and a
    # longer one lacks an output.

    def saved_epochs(self, wildcards, output) -> list[int]:
        """Epochs at which a trajectory is saved."""
        folders = {Path(path).parent.name for path in output[1:]}
        return sorted(int(name.removeprefix("epoch_")) for name in folders)

    def recorded_models(self, wildcards, output) -> list[str]:
        """Models whose records a job makes, such as `unlearn/ga/lr0.0002/epoch_5`."""
        folders = dict.fromkeys(Path(path).parent.name for path in output)
        return [f"unlearn/{wildcards.trajectory}/{name}" for name in folders]

    def recorded_precisions(self, wildcards, output) -> list[str]:
        """Precisions whose records a job makes; the first output, weights.json, has none."""
        return list(dict.fromkeys(Path(path).stem for path in output[1:]))

    def recorded_attacks(self, wildcards, output) -> list[str]:
        """Attacks whose records a job makes; the first output, the log, is of all."""
        return list(dict.fromkeys(Path(path).parent.name for path in output[1:]))

    def recorded_steps(self, wildcards, output) -> list[int]:
        """Steps at which a job asks the model."""
        return sorted({int(Path(path).stem.removeprefix("step_")) for path in output[1:]})
