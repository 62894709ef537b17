"""What Snakemake is spared must be what it would have found out by itself."""

from inspect import signature

from snakemake.common import get_function_params
from snakemake.resources import Resource

from excise.workflow.planning import remember_signature, speed_up_planning


def test_the_remembered_signature_is_the_method_s_own():
    method = Resource("mem_mb", lambda wildcards, attempt: 100 * attempt).evaluate
    own = dict(signature(method).parameters)
    speed_up_planning()
    assert dict(get_function_params(method)) == own


def test_a_resource_still_gets_what_it_asks_for():
    speed_up_planning()
    asks = Resource("mem_mb", lambda wildcards, attempt: 100 * attempt)
    assert asks.evaluate(None, attempt=2, input=[], threads=1).value == 200


def test_a_remembered_function_is_the_same_function():
    def asks(wildcards, attempt):
        return 100 * attempt

    assert remember_signature(asks) is asks
    assert list(get_function_params(asks)) == ["wildcards", "attempt"]
