"""Stored signatures equal those that Snakemake would find by inspection."""

from inspect import signature

from snakemake.common import get_function_params
from snakemake.resources import Resource

from excise.workflow.planning import remember_signature, speed_up_planning


def test_the_stored_signature_is_that_of_the_method():
    method = Resource("mem_mb", lambda wildcards, attempt: 100 * attempt).evaluate
    own = dict(signature(method).parameters)
    speed_up_planning()
    assert dict(get_function_params(method)) == own


def test_a_resource_still_gets_its_arguments():
    speed_up_planning()
    resource = Resource("mem_mb", lambda wildcards, attempt: 100 * attempt)
    assert resource.evaluate(None, attempt=2, input=[], threads=1).value == 200


def test_a_function_with_stored_signature_is_unchanged():
    def resource(wildcards, attempt):
        return 100 * attempt

    assert remember_signature(resource) is resource
    assert list(get_function_params(resource)) == ["wildcards", "attempt"]
