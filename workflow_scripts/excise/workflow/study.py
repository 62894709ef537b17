"""A study, as the rules see it: what is made, from what, and what each job needs.

The Snakefile makes one `Study` from the checked config; rules call its methods. Nothing here knows
Snakemake, so tests call them with plain configs. Parsed in every job: no torch here.
"""

from collections.abc import Sequence
from pathlib import Path

from excise.benchmark.export import CARD, PROFILES, exported_files
from excise.config.trajectories import keeps_finetuned, needs_of
from excise.evaluation.findings.claims import CLAIMS
from excise.evaluation.peers import all_oracles, notes_on_missing
from excise.evaluation.quantized_sets import asks_holdout
from excise.plots.figures import FIGURES
from excise.unlearning.method import Needs
from excise.workflow.imports import import_closure
from excise.workflow.models import PROGRAMS
from excise.workflow.params import Params
from excise.workflow.resources import (
    STAGES,
    Counts,
    estimated_minutes,
    generated_counts,
    memory_mb,
    parameters,
)

# Before training. holdout.jsonl is empty if nobody is held out.
VALIDATED_FILES = ["sf", "sr", "perturbed_candidates", "forget_paraphrased", "holdout"]
DATA_FILES = ["sf", "sr", "wrong_details", "forget_paraphrased"]  # what models are asked
HOLDOUT = "<data>/holdout.jsonl"  # evaluation asks this, too
ASKED = [*(f"<data>/{name}.jsonl" for name in ("sf", "sr", "forget_paraphrased")), HOLDOUT]
GENERATED_PARTS = ["profiles", "facts", "qa", "forget_paraphrased"]
JUDGE_PROMPTS = [
    "joint_inference",
    "one_answer",
    "statement",
    "same_event",
    "same_meaning",
    "polarity",
    "severity",
    "real_person",
]
UTILITY = "data/inputs/utility_qa.jsonl"
PUBLIC_FIGURES = "data/inputs/public_figures.txt"
MODEL_AUTHOR = ["excise.llm", "excise.generation.verbalising"]
"""Modules that only the openai backend imports."""


def library_of(program: str, unread: Sequence[str] = (), without: Sequence[str] = ()) -> list[str]:
    """Our own files that a program uses, as inputs: editing one reruns only the programs using it.

    Args:
        program: its name.
        unread: kinds of records that an imported module could read but this program never reads.
        without: modules that this use of the program never imports.
    """
    return import_closure(f"{PROGRAMS}/{program}.py", without, unread)


class Study(Params):
    """A study: its models, the settings of its programs, its results and the needs of its jobs."""

    def generation_library_of(self, program: str) -> list[str]:
        """`library_of` a program that writes text; without the model's author if nobody asks it."""
        return library_of(program, without=[] if self.asks_model() else MODEL_AUTHOR)

    # --- questions ---

    def asked_files(self, section: str, key: str, *unread: str) -> list[str]:
        """Files of the benchmark that a program reads to ask the sets which a key chooses.

        Args:
            section: of the config.
            key: a list of sets; null: all.
            unread: kinds of records that the program never reads.
        """
        unread = self.unread_kinds(section, key, *unread)
        files = [f"<data>/{name}.jsonl" for name in DATA_FILES if name not in unread]
        files += [HOLDOUT] * asks_holdout(self.config[section][key])
        return files if "utility" in unread else [*files, UTILITY]

    def unread_kinds(self, section: str, key: str, *unread: str) -> list[str]:
        """Kinds of records that the same program does not read."""
        chosen = self.config[section][key]
        optional = ["forget_paraphrased", "utility"]
        left_out = [one for one in optional if chosen is not None and one not in chosen]
        return [*unread, *left_out]

    # --- results ---

    def exported_files(self) -> list[str]:
        """Files of the exported dataset; own files are not exported."""
        if self.reads_own_files():
            return []
        return list(exported_files(self.config["generation"]["holdout"] > 0))

    def result_tables(self) -> list[str]:
        """Stems of the tables.

        Those of an audit are in a folder of their own. Those that the user's own files cannot give
        are left out.
        """
        if not self.trains():
            return []
        middle = self.config["representations"]["middle_layer"]
        tables = ["distance_results", "eval_results", "sweep_results"]
        tables += ["retain_compare_results"] * (not self.lacks("partner"))
        tables += ["comparison_results"] * (not self.lacks("value"))
        tables += ["repr_layers", "repr_results", f"repr_results_{middle}"]
        tables += ["depth_results"] * bool(self.depth_models() and not self.lacks("value"))
        tables += ["red_team_models", "diversity_report"] * (not self.reads_own_files())
        tables += ["update_results"]
        tables += ["relearn_results"] * bool(self.relearning_attacks())
        tables += ["forecast_results", "findings"]
        tables += ["red_team_judge"] * self.config["red_team"]["judge"]["enabled"]
        return tables + ["quantize_results"] * bool(self.config["quantization"]["precisions"])

    def audit_tables(self) -> list[str]:
        """Stems of the tables in the folder `audit`."""
        if not self.audited:
            return []
        middle = self.config["representations"]["middle_layer"]
        tables = ["eval_results"] + ["retain_compare_results"] * (not self.lacks("partner"))
        if all_oracles(self.audit_models(), self.peers):
            tables.append("distance_results")
        if self.audited_with_states():
            tables += ["repr_layers", "repr_results", f"repr_results_{middle}"]
        return tables + ["quantize_results"] * bool(self.config["quantization"]["precisions"])

    def table_folders(self) -> list[str]:
        """Folders of tables below the results: the study's own, and that of an audit."""
        return ["", "audit/"] if self.audited else [""]

    def models_in(self, where: str, kind: str = "all") -> list[str]:
        """The models in the tables of a folder.

        Args:
            where: one of `table_folders`.
            kind: `all`, `quantized` or `states` (hidden states).
        """
        if where:
            chosen = {"all": self.audit_models, "states": self.audited_with_states}
            return chosen.get(kind, lambda: self.audit_models()[1:])()  # the base is not quantized
        own = self.quantized_models() if kind == "quantized" else None
        own = [*self.baselines(), *self.checkpoints()] if own is None else own
        return own + (self.with_states(list(self.audited)) if kind == "states" else [*self.audited])

    def tables_of(self, kind: str) -> list[tuple[str, str, str, list[str]]]:
        """For each folder of tables: it, suffix of the rule, remark in messages, the models."""
        said = {"": ("", ""), "audit/": ("_audit", " (audit)")}
        return [(one, *said[one], self.models_in(one, kind)) for one in self.table_folders()]

    def table_config(self, where: str, *sections: str) -> str:
        """The config in the header of a table: an audit depends on no training."""
        training = [] if where else ["lora", "finetuning", "oracle", "unlearning"]
        audit = ["audit"] if self.audited else []
        return self.result_config(*training, *sections, *audit)

    def audited_with_states(self) -> list[str]:
        """The models of an audit whose hidden states are compared; the base has no finetuned."""
        return [one for one in self.with_states(self.audit_models()) if one != "base"]

    def audit_plots(self) -> list[str]:
        """Stems of the figures in the folder `audit`."""
        tables = self.audit_tables()
        return [name for name, figure in FIGURES.items() if figure.audit in tables]

    def judged_tables(self) -> list[str]:
        """Tables of this study that findings read."""
        middle = self.config["representations"]["middle_layer"]
        wanted = [claim.table.format(middle=middle) for claim in CLAIMS]
        return [f"<results>/{name}.json" for name in wanted if name in self.result_tables()]

    def other_findings(self) -> list[tuple[str, str]]:
        """Files of other studies that findings read, each with its key."""
        given = self.config["findings"]
        found = [("replications", file) for file in given["replications"]]
        return found + [("control", given["control"])] * bool(given["control"])

    def pages(self) -> list[str]:
        """The report; a study that trains nothing has the tables of its audit alone."""
        return ["<results>/report.html"] * self.trains()

    def shown_tables(self) -> list[str]:
        """Tables that the report shows: all of this study, the findings first."""
        tables = sorted(self.result_tables(), key=lambda name: name != "findings")
        return [f"<results>/{name}.json" for name in tables]

    def shown_dataset(self) -> list[str]:
        """Files of the exported dataset that the report shows; own files are not exported."""
        if self.reads_own_files():
            return []
        return [f"<results>/dataset/{name}" for name in (CARD, PROFILES)]

    def shown_controls(self) -> list[str]:
        """The table of the positive control that the report shows, if the config names one."""
        return [file for key, file in self.other_findings() if key == "control"]

    def trained_logs(self) -> list[str]:
        """Training logs of finetuned, oracles and trajectories."""
        trained = ["finetuned", *self.oracles(), *(f"unlearn/{name}" for name in self.trajectories)]
        return [f"<results>/models/{name}/training_log.json" for name in trained]

    def result_plots(self) -> list[str]:
        """Stems of the figures: those of its tables."""
        tables = self.result_tables()
        return [name for name, figure in FIGURES.items() if figure.table in tables]

    def figure_library(self, wildcards) -> list[str]:
        """Our own files that draw a figure, without the modules of other figures."""
        modules = {figure.module for figure in FIGURES.values()}
        others = sorted(modules - {FIGURES[wildcards.figure].module})
        return library_of("plot", unread=["result"], without=others)

    def figure_table(self, wildcards) -> str:
        """The table that a figure shows."""
        return f"<results>/{FIGURES[wildcards.figure].table}.json"

    def left_out_of_audit(self) -> list[str]:
        """A line for each audited model that has nothing to be compared with."""
        without = {
            "finetuned": "hidden states and recovery",
            "oracle": "all distances from oracles",
        }
        return notes_on_missing(self.audit_models(), self.peers, without)

    def audit_figure_table(self, wildcards) -> str:
        """The table of an audit that a figure shows."""
        return f"<results>/audit/{FIGURES[wildcards.figure].audit}.json"

    # --- what a job needs ---

    def model_size(self) -> float:
        """Parameters of the base model; of a fetched one by its name until it is there."""
        return parameters(self.base_folder(), self.incoming_name())

    def audited_size(self, model: str) -> float:
        """Parameters of a model of others, without its adapter."""
        file = (self.audited[model]["gguf"] or {}).get("file", "")
        return parameters(self.location(model).base, Path(file).stem)

    def memory_mb(self, kind: str, trajectory: str | None = None, model: str | None = None) -> int:
        """Main memory of a model job in MB, as configured or estimated.

        Args:
            kind: a key of `excise.workflow.resources.COPIES`.
            trajectory: the one that the job is about, if it is about one.
            model: the one that the job is about; one of others may have another size.
        """
        if given := self.config["resources"]["mem_mb"]:
            return given
        trains = kind == "train" and trajectory is not None
        keeps = trains and keeps_finetuned(self.trajectories[trajectory])
        size = self.audited_size(model) if model in self.audited else self.model_size()
        return memory_mb(kind, self.config, size, keeps)

    def estimate(
        self, stage: str, epochs: Sequence[int] = (), trajectory: str | None = None
    ) -> float:
        """Minutes that a model job is estimated to take.

        Args:
            stage: one of `excise.workflow.resources.STAGES`.
            epochs: epochs at which a trajectory is saved.
            trajectory: the one that the job is about; without it, the longest one of these epochs.
        """
        needs = [Needs()]
        if stage == "unlearn" and trajectory is not None:
            needs = [needs_of(self.trajectories[trajectory])]
        elif stage == "unlearn":
            alike = [one for one in self.trajectories.values() if one["epochs"] == list(epochs)]
            needs = list(map(needs_of, alike)) or needs
        size = self.model_size()
        counts = self.counts()
        return max(
            estimated_minutes(stage, self.config, size, epochs, one, counts) for one in needs
        )

    def counts(self) -> Counts:
        """How many people, facts and questions there are."""
        if not self.reads_own_files():
            return generated_counts(self.config["generation"])
        own = self.own_files
        return Counts(
            people=own.people or len(own.sf),
            forget=len(own.sf),
            facts=len(own.sf) + len(own.sr),
            paraphrased=len(own.forget_paraphrased),
            holdout=len(own.holdout),
        )

    def minutes(self, stage: str, epochs: Sequence[int] = (), trajectory: str | None = None) -> int:
        """Wall time of a model job: as configured, or three times the estimate."""
        given = self.config["resources"]["runtime"]
        return given or round(3 * self.estimate(stage, epochs, trajectory)) + 10

    def estimate_of_rule(self, name: str) -> float | None:
        """The estimate of a rule's jobs in minutes; None for a rule without a model."""
        name = name.removesuffix("_audited")
        if name in STAGES:
            return self.estimate(name, self.first_epochs() if name == "unlearn" else ())
        if name in (rules := self.rules_of_trajectories()):
            stem, epochs = rules[name]
            return self.estimate(stem.removesuffix("_unlearned"), epochs)
        return None
