"""What the rules share, and what changes Snakemake itself. This file has no rules.

The logic is in excise/workflow: `study.py` (names, settings and needs of jobs) and `hooks.py`
(before the first job, at the end). Every job parses this file, so nothing here may import torch.
"""

import os
import re
from snakemake.logging import logger

from excise.config.check import check_config
from excise.config.load import load_config
from excise.errors import InputError
from excise.lifeline import VARIABLE as WAITING
from excise.lifeline import this_process
from excise.plots.figures import FIGURES
from excise.workflow.forking import ForkServers
from excise.workflow.hooks import Hooks, check_surroundings, inherit_from_profile
from excise.workflow.job_records import Digests, recording
from excise.workflow.models import ADAPTER_FILES, BASE_MODEL_FILES, REFERENCE
from excise.workflow.params import as_json
from excise.workflow.planning import remember_signature, speed_up_planning
from excise.workflow.provenance_report import place_of, place_of_figures, place_of_layers
from excise.workflow.study import (
    ASKED,
    DATA_FILES,
    GENERATED_PARTS,
    HOLDOUT,
    JUDGE_PROMPTS,
    PUBLIC_FIGURES,
    UTILITY,
    VALIDATED_FILES,
    Study,
    library_of,
)
from excise.workflow.unchanged import skip_unchanged_jobs
from snakemake_logger_plugin_excise import handler_of

speed_up_planning()
skip_unchanged_jobs()

# PYTHONSAFEPATH removes a program's own folder from its path. Programs would not find their library.
os.environ.pop("PYTHONSAFEPATH", None)
os.environ.update(
    # Programs find the packages of the running Snakemake, even if no .venv is active.
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
    # glibc returns large blocks to the system after every use. The page faults to get them again cost
    # 4 % of a training step of the default (perf/train_step.py), and more for larger batches.
    MALLOC_MMAP_THRESHOLD_=str(1 << 30),
    MALLOC_TRIM_THRESHOLD_=str(1 << 33),
    # Compute nodes often have no internet: only download_model may ask the hub.
    HF_HUB_OFFLINE="1",
)
# Processes that wait for the programs: this Snakemake, and the Snakemake that started it here.
above = [os.environ.get(WAITING)] if workflow.subprocess_exec else []
os.environ[WAITING] = ";".join(filter(None, [*above, this_process()]))

# Kinds of records that a table made of other tables never reads.
RECORDS = ["item", "forget_paraphrased", "utility", "wrong_details"]
READ_IN_PASSING = 2_000_000_000  # bytes; `check` reads all; no file is read twice
DIGESTS = Digests(Path(".snakemake/excise-digests.json"), READ_IN_PASSING)


def check_folder():
    """Check that Snakemake runs in the repository, because rules name their files relative to it."""
    here, repository = Path.cwd(), Path(workflow.basedir).resolve()
    if not here.samefile(repository):
        sys.exit(
            f"error: Snakemake runs in {here}; it must run in the repository {repository} "
            "(cd there and leave out --directory; to move results, set pathvars)"
        )


def checked_config():
    """The config with its defaults; a mistake in it ends Snakemake with one line."""
    settings = workflow.config_settings
    paths = [os.path.relpath(path) for path in settings.configfiles]
    try:
        merged, sources = load_config(["config.yaml", *paths], settings.config)
        checked = check_config(merged, sources)
        study = Study(checked)
        if study.reads_own_files():
            study.own_files  # each job plans by these files, which may have changed since the run began
        if workflow.is_main_process:  # its jobs need no second check
            builds_base = "pretrain_base" in sys.argv  # Snakemake's own list of targets comes later
            check_surroundings(study, builds_base, logger.warning, sources)
    except InputError as error:
        sys.exit(f"error: {error}")
    return checked


def bar_of_programs():
    """Where programs show their progress bar, because stdout goes to logs: the run's line or the terminal."""
    if not workflow.is_main_process:
        return os.environ.get("EXCISE_BAR", "") if workflow.subprocess_exec else ""
    handler = handler_of(workflow)
    if handler is not None:
        return handler.line.pipe
    return os.ctermid() if sys.stderr.isatty() else ""


def folder(path):
    """A folder as a param, its path variables filled in."""
    filled = workflow.pathvars.apply(path)
    return remember_signature(lambda wildcards: filled)


def per_attempt(amount):
    """A resource that grows with every further attempt of a job."""
    return remember_signature(lambda wildcards, attempt: amount * attempt)


def memory(kind):
    """Main memory of a model job in MB."""

    def amount(wildcards, attempt):
        about = wildcards.get("trajectory"), wildcards.get("model")
        return attempt * study.memory_mb(kind, *about)

    return remember_signature(amount)


def walltime(stage, epochs=()):
    """Wall time of a model job in minutes."""

    def amount(wildcards, attempt):
        return attempt * study.minutes(stage, epochs, wildcards.get("trajectory"))

    return remember_signature(amount)
