"""A study, as the rules see it: what is made, from what, and what each job needs.

The Snakefile makes one `Study` from the checked config; rules call its methods. Nothing here knows
Snakemake, so tests call them with plain configs. Parsed in every job: no torch here.
"""

from collections.abc import Sequence

from excise.benchmark.export import exported_files
from excise.config.trajectories import keeps_finetuned, needs_of
from excise.evaluation.findings.claims import CLAIMS
from excise.plots.figures import FIGURES
from excise.unlearning.method import Needs
from excise.workflow.imports import import_closure
from excise.workflow.models import PROGRAMS
from excise.workflow.params import Params
from excise.workflow.resources import STAGES, estimated_minutes, memory_mb, parameters

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

    # --- results ---

    def exported_files(self) -> list[str]:
        """Files of the exported dataset."""
        return list(exported_files(self.config["generation"]["holdout"] > 0))

    def result_tables(self) -> list[str]:
        """Stems of the tables."""
        middle = self.config["representations"]["middle_layer"]
        tables = ["distance_results", "eval_results", "sweep_results", "retain_compare_results"]
        tables += ["comparison_results"]
        tables += ["repr_layers", "repr_results", f"repr_results_{middle}"]
        tables += ["depth_results"] * bool(self.depth_models())
        tables += ["red_team_models", "diversity_report", "update_results"]
        tables += ["forecast_results", "findings"]
        tables += ["red_team_judge"] * self.config["red_team"]["judge"]["enabled"]
        return tables + ["quantize_results"] * bool(self.config["quantization"]["precisions"])

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

    def shown_tables(self) -> list[str]:
        """Tables that the report shows: all of this study, the findings first."""
        tables = sorted(self.result_tables(), key=lambda name: name != "findings")
        return [f"<results>/{name}.json" for name in tables]

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

    # --- what a job needs ---

    def model_size(self) -> float:
        """Parameters of the base model; of a fetched one by its name until it is there."""
        return parameters(self.base_folder(), self.incoming_name())

    def memory_mb(self, kind: str, trajectory: str | None = None) -> int:
        """Main memory of a model job in MB, as configured or estimated.

        Args:
            kind: a key of `excise.workflow.resources.COPIES`.
            trajectory: the one that the job is about, if it is about one.
        """
        if given := self.config["resources"]["mem_mb"]:
            return given
        trains = kind == "train" and trajectory is not None
        keeps = trains and keeps_finetuned(self.trajectories[trajectory])
        return memory_mb(kind, self.config, self.model_size(), keeps)

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
        return max(estimated_minutes(stage, self.config, size, epochs, one) for one in needs)

    def minutes(self, stage: str, epochs: Sequence[int] = (), trajectory: str | None = None) -> int:
        """Wall time of a model job: as configured, or three times the estimate."""
        given = self.config["resources"]["runtime"]
        return given or round(3 * self.estimate(stage, epochs, trajectory)) + 10

    def estimate_of_rule(self, name: str) -> float | None:
        """The estimate of a rule's jobs in minutes; None for a rule without a model."""
        if name in STAGES:
            return self.estimate(name, self.first_epochs() if name == "unlearn" else ())
        if name in (rules := self.rules_of_trajectories()):
            stem, epochs = rules[name]
            return self.estimate(stem.removesuffix("_unlearned"), epochs)
        return None
