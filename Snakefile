"""Excise: build the benchmark, finetune, unlearn, evaluate. `snakemake --cores all` runs it all.

Config keys: config.schema.yaml. Files and programs: docs/architecture.md.
"""

import atexit
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "workflow_scripts"))


report: "report/workflow.rst"


# results, logs and benchmarks are Snakemake's own.
pathvars:
    data="data",


# Several jobs may share one cluster job. Inside it, jobs with the resource `group_serial` run one after another, and
# Snakemake computes what the cluster job needs from that. The scope is local, so the Snakemake that submits is not
# limited by it (profiles/slurm).
workflow.register_resource("group_serial", 1)


resource_scopes:
    group_serial="local",


include: "rules/common.smk"


check_folder()
checked = checked_config()  # before `configfile`: a broken file gives our line, no traceback


configfile: "config.yaml"


config = checked
study = Study(config)
hooks = Hooks(workflow, study, DIGESTS, logger.warning)
# Each job records what its results were made from. It starts with third-party packages already imported.
shell = recording(shell, hooks.made_folders(), DIGESTS, ForkServers(workflow).environment)
# Settings of the language model that writes the benchmark, and of the checks after a download.
# Snakemake does not track environment variables, so a change of these settings reruns nothing.
os.environ.update(
    EXCISE_CLIENT=study.client_settings(),
    EXCISE_AUTHOR=study.author_settings(),
    EXCISE_MODEL=as_json(study.model_check_settings()),
    EXCISE_UNLEARNING=as_json(study.method_check_settings()),
    EXCISE_BAR=bar_of_programs(),
)
inherit_from_profile(workflow.resource_settings, study)
if workflow.is_main_process:
    atexit.register(hooks.at_the_end)


if study.reads_own_files():

    include: "rules/own_files.smk"

else:

    include: "rules/data.smk"
    include: "rules/dataset.smk"
    include: "rules/red_team.smk"


include: "rules/base.smk"
include: "rules/finetune.smk"
include: "rules/unlearn.smk"
include: "rules/evaluate.smk"
include: "rules/quantize.smk"
include: "rules/relearn.smk"
include: "rules/represent.smk"
include: "rules/audit.smk"
include: "rules/depth.smk"
include: "rules/updates.smk"
include: "rules/forecast.smk"
include: "rules/summaries.smk"
include: "rules/plots.smk"
include: "rules/report.smk"
include: "rules/open_unlearning.smk"


onstart:
    hooks.before_the_first_job()


rule all:
    """Every table and every figure of the experiment, and the report."""
    default_target: True
    input:
        "<results>/data_report.json",
        collect("<results>/dataset/{name}", name=study.exported_files()),
        collect("<results>/{table}.json", table=study.result_tables()),
        collect("<results>/{plot}.png", plot=study.result_plots()),
        study.pages(),
        collect("<results>/audit/{table}.json", table=study.audit_tables()),
        collect("<results>/audit/{plot}.png", plot=study.audit_plots()),


rule audit:
    """Only the tables and figures of the audited models."""
    input:
        collect("<results>/audit/{table}.json", table=study.audit_tables()),
        collect("<results>/audit/{plot}.png", plot=study.audit_plots()),


rule open_unlearning:
    """Every model that answers all questions, as files of open-unlearning's evaluator."""
    input:
        collect(
            "<results>/open_unlearning/{model}/TOFU_SUMMARY.json", model=study.exported_models()
        ),


rule check:
    """List results that do not match today's config, data, code and packages; run nothing."""
    input:
        rules.all.input,


if config["preview"] is not None:
    workflow.default_target = "preview"  # an included file cannot set this
