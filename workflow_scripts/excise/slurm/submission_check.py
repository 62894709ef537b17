"""Report at the start what the plugin would refuse only when it submits or runs a job.

The plugin's own functions do the check. Their results are ignored; an exception becomes one line.
"""

import re
import shlex
from typing import Any

from excise.errors import InputError
from excise.slurm.job_request import PROFILE

# Options that slurm_extra must not contain, in the plugin's terms, and the resource to set instead.
RESOURCE_FOR_OPTION = {
    "account": "slurm_account",
    "partition": "slurm_partition",
    "memory": "mem_mb",
    "memory per CPU": "mem_mb_per_cpu",
    "number of tasks": "tasks",
    "tasks per GPU": "tasks_per_gpu",
    "CPUs per task": "cpus_per_task",
    "CPUs per GPU": "cpus_per_gpu",
    "runtime/time limit": "runtime",
    "node constraints": "constraint",
    "quality of service": "qos",
    "number of nodes": "nodes",
    "cluster specification": "slurm_cluster",
    "generic resources (GRES)": "gres",
    "GPU allocation": "gpu",
}


def validate_submission(name: str, job: Any, settings: Any) -> None:
    """Check the resources of a job with the functions of the plugin.

    Args:
        name: name of its rule or group.
        job: Snakemake's job or group.
        settings: the plugin's settings.

    Raises:
        InputError: the plugin would refuse it; the message is one line.
    """
    from snakemake.exceptions import WorkflowError
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command
    from snakemake_executor_plugin_slurm.utils import set_gres_string
    from snakemake_executor_plugin_slurm_jobstep import get_gpu_setting, get_node_setting

    check_extra(name, str(job.resources.get("slurm_extra") or ""))
    placeholders = ("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir")
    try:
        get_submit_command(job, dict.fromkeys(placeholders, ""), settings)
        for part in (set_gres_string, get_gpu_setting, get_node_setting):
            part(job)
    except (WorkflowError, TypeError) as error:  # TypeError: a number instead of a name
        raise InputError(f"{PROFILE}: {name}: {' '.join(str(error).split())}") from error


def check_extra(name: str, extra: str) -> None:
    """Check slurm_extra of a rule.

    Raises:
        InputError: it contains an option that a resource sets, or an unclosed quote.
    """
    from snakemake_executor_plugin_slurm.validation import get_forbidden_slurm_options

    setting = f"{PROFILE}: slurm_extra of {name} is {extra!r}"
    try:
        shlex.split(extra)
    except ValueError as error:
        raise InputError(f"{setting}: {error}; write it as on a command line") from error
    for pattern, option in get_forbidden_slurm_options().items():
        if match := re.search(pattern, extra):
            instead = RESOURCE_FOR_OPTION.get(option)
            remedy = f"set {instead} instead" if instead else "the plugin sets it itself"
            raise InputError(
                f"{setting}: {match[0].strip(' =')} is not allowed in it, {remedy}; allowed are "
                "options that no resource sets, for example --nice=100"
            )
