"""Less work for the Snakemake that plans: what it would do for every object or job, and needs not.

Measured by benchmarks/plan_scale.py. Parsed in every job: no torch here.
"""

import atexit
import gc
from contextlib import suppress
from inspect import signature


def spare_work() -> None:
    """Look for garbage seldom, leave the plan whole at the end, ask once what a method takes."""
    # Planning makes millions of objects and drops few: by default an eighth of its time goes into
    # looking for garbage.
    gc.set_threshold(1_000_000, 50, 100)
    # At the end of the process Python would take the plan apart, object by object: a seventh.
    atexit.register(gc.freeze)
    _remember_signature()


def _remember_signature() -> None:
    """Twice for each resource of each job Snakemake inspects this method's signature: a twentieth.

    It has a place for answers that are known, which other functions of its own use.
    """
    with suppress(ImportError, AttributeError):  # another version: slower, and nothing else
        from snakemake.common import overwrite_function_params
        from snakemake.resources import Resource

        parameters = signature(Resource("any", 0).evaluate).parameters
        overwrite_function_params(Resource.evaluate, parameters)
