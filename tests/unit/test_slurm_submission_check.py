"""Requests that the plugin would refuse at submission are reported in one line at the start."""

import re

import pytest
from snakemake.jobs import ResourceList
from snakemake_executor_plugin_slurm import ExecutorSettings

from excise.errors import InputError
from excise.slurm.submission_check import RESOURCE_FOR_OPTION, check_extra, validate_submission


class Job:
    """The attributes of a job that the plugin reads."""

    threads = 1

    def __init__(self, **resources):
        self.resources = ResourceList(fromdict=resources)


def check(**resources) -> None:
    settings = ExecutorSettings(requeue=True, status_command="sacct")
    validate_submission("unlearn", Job(mem_mb=500, runtime=10, **resources), settings)


@pytest.mark.parametrize(
    "resources",
    [
        {},
        {"gpu": 1, "gpu_model": "a100", "constraint": "big", "slurm_extra": "--nice=100"},
        {"gpu": 0, "gres": "gpu:a100:1", "slurm_extra": "--mail-user='a b' --mail-type=END"},
    ],
)
def test_the_examples_of_the_profile_pass(resources):
    check(**resources)


@pytest.mark.parametrize(
    "extra, reason",
    [
        ("--gpus=2", "--gpus is not allowed in it, set gpu instead; allowed are"),
        ("--nice=5 -t 60", "-t is not allowed in it, set runtime instead"),
        ("--job-name=mine", "--job-name is not allowed in it, the plugin sets it itself"),
        ("--mail-user='a b", "No closing quotation; write it as on a command line"),
    ],
)
def test_a_forbidden_option_is_named_with_the_resource_to_set(extra, reason):
    with pytest.raises(InputError) as caught:
        check(slurm_extra=extra)
    message = str(caught.value)
    assert message.startswith(f"the SLURM profile: slurm_extra of unlearn is {extra!r}: {reason}")
    assert "\n" not in message


@pytest.mark.parametrize(
    "resources, reason",
    [
        ({"gres": "gpu=1"}, "unlearn: Invalid GRES format: gpu=1. Expected format"),
        ({"gpu": "a100:1"}, "unlearn: gpu must be an integer, but is a100:1"),
        ({"gpu": 1, "gpu_model": 100}, "unlearn: "),
        ({"nodes": 0}, "unlearn: If provided, 'nodes' must be an integer"),
        ({"cpus_per_task": "4"}, "unlearn: cpus_per_task must be an integer"),
    ],
)
def test_other_values_that_the_plugin_refuses_get_one_line(resources, reason):
    with pytest.raises(InputError, match=re.escape(f"the SLURM profile: {reason}")) as caught:
        check(**resources)
    assert "\n" not in str(caught.value)


def test_every_option_in_our_table_is_one_that_the_plugin_forbids():
    from snakemake_executor_plugin_slurm.validation import get_forbidden_slurm_options

    assert set(RESOURCE_FOR_OPTION) <= set(get_forbidden_slurm_options().values())
    check_extra("unlearn", "")
