"""What Snakemake does of ours before the first job and at the end. No torch here.

Before: check the folders and the model, report results that do not match, hand over to SLURM. At
the end: report again. The common.smk makes one `Hooks`; tests make it with stand-ins.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from excise.benchmark.own_files import left_out
from excise.config.messages import Source
from excise.config.trajectories import check_methods_fit
from excise.errors import InputError
from excise.slurm import job_request, start
from excise.workflow import result_checks
from excise.workflow.audited_models import check_audited_models
from excise.workflow.job_records import Digests
from excise.workflow.model_verdicts import check_once, known_fault
from excise.workflow.models import PROGRAMS, STAGES_OF_TRAJECTORIES, Models
from excise.workflow.preflight import (
    check_model_fits,
    check_model_folder,
    check_writable,
    model_files,
)
from excise.workflow.study import Study
from excise.workflow.time_left import plan_of
from snakemake_logger_plugin_excise import handler_of

VERDICTS = ".snakemake/excise_models"
TRAINING = ("finetune_lora", "train_retain_model")
"""Rules that train what audited models may be compared with."""


def model_trial(study: Study, folder: str | None = None) -> tuple[str, dict, str, str]:
    """Arguments of `check_once`: model, its settings, the checking program, folder of verdicts.

    Args:
        study: the study.
        folder: a model that is audited; None: the base model.
    """
    program = f"{PROGRAMS}/check_model.py"
    return folder or study.base_folder(), study.model_check_settings(), program, VERDICTS


def check_surroundings(
    study: Study,
    builds_base: bool,
    warn: Callable[[str], None],
    sources: Sequence[Source] = (),
) -> None:
    """Check that folders can be written, and that the base model is one and fits the experiment.

    Args:
        study: the study.
        builds_base: whether this run makes the base model.
        warn: called with what own files leave out, and with a fault of the model that an earlier
            run found.
        sources: who set which key of the config, for error messages.

    Raises:
        InputError: a folder, the model or a setting that must fit the model is at fault.
    """
    config = study.config
    for name, folder in config["pathvars"].items():
        check_writable(folder, f"pathvars.{name}")
    for key, file in study.other_findings():
        if not Path(file).is_file():
            raise InputError(f"findings.{key}: {file}: no such file; run its experiment first")
    if study.reads_own_files():
        left = "; ".join(left_out(study.own_files.known))
        warn(f"{config['generation']['folder']}: not computed: {left}")
    folder = study.base_folder()
    check_audited_models(config, folder)
    if config["model"]["path"] is not None and not builds_base:
        check_model_folder(folder, "model.path")
    if model_files(folder) and not builds_base:  # a fetched model is there from the second run on
        targets = config["lora"]["target_modules"]
        check_model_fits(folder, targets, config["representations"]["middle_layer"])
        check_methods_fit(config, folder, sources)
        if fault := known_fault(*model_trial(study)):  # a dry run should say this too
            warn(f"A run with this model will stop before its first job: {fault}")


@dataclass
class Hooks:
    """Checks and reports around a run of Snakemake.

    Attributes:
        workflow: Snakemake's workflow.
        study: what it makes.
        digests: of the files that were read.
        warn: called with a warning.
    """

    workflow: Any
    study: Study
    digests: Digests
    warn: Callable[[str], None]

    # --- before the first job ---

    def before_the_first_job(self) -> None:
        """Report results that do not match, check the model, then run the checks for SLURM."""
        self.only_preview()
        if self.checks_only():
            sys.exit(self.report_check())
        for line in self.lines_about_results():
            self.warn(line)
        self.only_audit()
        self.try_model()
        if self.workflow.executor_plugin.name == "slurm":
            self.remember_base_model()
            self.start_on_cluster()
        self.begin_line()

    def only_preview(self) -> None:
        """With `preview` in the config, refuse every other target."""
        preview = self.study.config["preview"]
        names = {job.rule.name for job in self.workflow.dag.needrun_jobs()}
        if preview is not None and names - {"preview"}:
            sys.exit(
                f"error: preview: found {preview}; with it only the preview can be made; "
                "leave out the other targets, or the key preview"
            )

    def only_audit(self) -> None:
        """Say what an audit leaves out; refuse to train for a run of `audit` alone."""
        jobs = list(self.workflow.dag.needrun_jobs())
        if any(job.rule.name.endswith("_audited") for job in jobs):
            for line in self.study.left_out_of_audit():
                self.warn(line)
        targets = {rule.name for rule in self.workflow.dag.targetrules}
        trained = [job for job in jobs if job.rule.name in TRAINING]
        if targets == {"audit"} and trained:
            sys.exit(
                f"error: audit trains nothing, but {trained[0].output[0]} is missing or out of "
                "date; run the study first (target all), or set audit.only: true"
            )

    def try_model(self) -> None:
        """Check the model before the first job that needs it. Takes seconds, once per model."""
        workflow, study = self.workflow, self.study
        needed = any(
            study.estimate_of_rule(job.rule.name) is not None for job in workflow.dag.needrun_jobs()
        )
        if not (workflow.is_main_process and needed and model_files(study.base_folder())):
            return  # download_model and convert_gguf check a model that is not there yet
        if workflow.touch:
            return
        names = {job.rule.name for job in workflow.dag.needrun_jobs()}
        audits = any(name.endswith("_audited") for name in names)
        audited = study.audited_bases() if audits else []
        try:
            for folder in [study.base_folder(), *filter(model_files, audited)]:
                check_once(*model_trial(study, folder), self.warn)
        except InputError as error:
            sys.exit(f"error: {error}")

    def begin_line(self) -> None:
        """Tell the line of the run its jobs, and how long they took before."""
        if handler := handler_of(self.workflow):
            dag = self.workflow.dag
            benchmarks = self.study.config["pathvars"]["benchmarks"]
            estimates = self.study.estimate_of_rule
            handler.begin(plan_of(dag.needrun_jobs(), dag.jobs, benchmarks, estimates))

    def remember_base_model(self) -> None:
        """Store the digests of the base model; else each SLURM job would read it whole, first."""
        jobs = self.workflow.dag.needrun_jobs()
        read = {str(path) for job in jobs for path in job.input}
        for path in read.intersection(self.study.base_files()):
            self.digests(path)
        self.digests.remember()

    def start_on_cluster(self) -> None:
        """Before the first job goes to SLURM: checks, names, status commands."""
        from snakemake.exceptions import WorkflowError  # of groups whose jobs cannot go together

        config = self.study.config
        folders = {f"pathvars.{name}": Path(path) for name, path in config["pathvars"].items()}
        try:
            start.start(
                self.workflow.scheduler._executor,
                job_request.submissions(self.workflow.dag),
                self.study.estimate_of_rule,
                config["experiment"],
                folders | {"the repository": Path.cwd()},
                model_elsewhere(self.study),
                self.warn,
            )
        except (InputError, WorkflowError) as error:
            sys.exit(f"error: {error}")

    # --- results that do not match ---

    def at_the_end(self) -> None:
        """Report again: Snakemake calls `onstart` only if there is a job to run."""
        try:
            if self.workflow._dag is not None and not self.checks_only():
                for line in self.lines_about_results():
                    print(line, file=sys.stderr)
        except (Exception, KeyboardInterrupt) as error:  # a failed report ends no run
            print(f"warning: {not_checked(error)}", file=sys.stderr)
        finally:
            self.digests.remember()

    def checks_only(self) -> bool:
        """Whether the target is `check`."""
        return any(rule.name == "check" for rule in self.workflow.dag.targetrules)

    def lines_about_results(self) -> list[str]:
        """One line for each kind of finding; a fault of this report ends no run."""
        try:
            return self.lines_of(self.examine_results())
        except Exception as error:
            return [f"warning: {not_checked(error)}"]

    def report_check(self) -> int:
        """Print a line for each result that does not match; return the exit status of `check`."""
        self.digests.allowance = float("inf")
        try:
            found, folders = self.examine_results(), self.made_folders()
            model = result_checks.model_faults(self.study.base_folder(), self.digests)
            planned = [str(path) for job in self.workflow.dag.jobs for path in job.output]
            packages = {} if self.conda_is_used() else found.packages
            left = result_checks.leftover_files(planned, folders)
            lines = result_checks.report(found, self.unexpected_results(), left, model, packages)
        except Exception as error:
            print(f"error: {not_checked(error)}", file=sys.stderr)
            return 1
        print("\n".join(lines), flush=True)
        return int(bool(found.mismatches or found.broken or model))

    def examine_results(self) -> result_checks.Findings:
        """Compare the results in the plan with the records of what they were made from."""
        dag, memory = self.workflow.dag, self.workflow.persistence
        return result_checks.examine(
            dag.jobs,
            dag.needrun,  # results of this run match by definition
            lambda path: memory.metadata(path) is not None,
            self.made_folders(),
            self.digests,
        )

    def lines_of(self, found: result_checks.Findings) -> list[str]:
        """One line for each kind of finding."""
        results = self.made_folders()["results"]
        model = result_checks.model_faults(self.study.base_folder(), self.digests)
        lines = [
            result_checks.mismatch_line(found.mismatches),
            result_checks.unknown_line(found.unknown),
            result_checks.broken_line(found.broken),
            result_checks.unexpected_results_line(results, self.unexpected_results()),
            result_checks.model_line(model),
            None if self.conda_is_used() else result_checks.package_line(found.packages),
        ]
        return list(filter(None, lines))

    def unexpected_results(self) -> list[str]:
        """Tables and figures in the results folder that today's config does not make."""
        made = [f"{table}.json" for table in self.study.result_tables()]
        made += [f"{plot}.png" for plot in self.study.result_plots()]
        return result_checks.unexpected_results(self.made_folders()["results"], made)

    def made_folders(self) -> dict[str, str]:
        """The folders `data` and `results`; their files have records."""
        apply = self.workflow.pathvars.apply
        return {name: os.path.normpath(apply(f"<{name}>")) for name in ("data", "results")}

    def conda_is_used(self) -> bool:
        """Whether programs run in conda environments, whose packages may differ from those here."""
        methods = self.workflow.deployment_settings.deployment_method
        return any(str(method) == "conda" for method in methods)


def not_checked(error: BaseException) -> str:
    """Why there is no report about the results."""
    return f"the results could not be checked ({error!r})"


def model_elsewhere(models: Models) -> dict[str, Path]:
    """A file of a base model outside of the repository, which nodes must see too; else nothing."""
    model = Path(models.base_folder()).resolve()
    file = model / "config.json"
    inside = model.is_relative_to(Path.cwd().resolve())
    return {} if inside or not file.is_file() else {"model.path": file}


def inherit_from_profile(given: Any, models: Models) -> None:
    """What a profile sets for `unlearn` holds for `unlearn_5_10` too, and so on.

    A block of trajectories with epochs of its own is a rule of its own, which nobody can name
    before the experiment is written.

    Args:
        given: Snakemake's resource settings, which are changed.
        models: the models of the study.
    """
    for settings in (given.overwrite_resources, given.overwrite_threads):
        for stem in STAGES_OF_TRAJECTORIES:
            for epochs, _ in models.trajectories_by_epochs():
                if stem in settings:
                    settings.setdefault(models.rule_name(stem, epochs), settings[stem])
