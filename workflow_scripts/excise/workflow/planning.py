"""Less work for the Snakemake that plans: what it would do for every object or job, and needs not.

Measured by perf/plan_scale.py. Parsed in every job: no torch here.
"""

import atexit
import gc
from collections.abc import Callable
from contextlib import suppress
from inspect import signature


def speed_up_planning() -> None:
    """Look for garbage seldom, leave the plan whole at the end, ask once what a method takes."""
    # Planning makes millions of objects and drops few: by default an eighth of its time goes into
    # looking for garbage.
    gc.set_threshold(1_000_000, 50, 100)
    # At the end of the process Python would take the plan apart, object by object: a seventh.
    atexit.register(gc.freeze)
    with suppress(ImportError, AttributeError):  # another version: slower, and nothing else
        from snakemake.resources import Resource

        remember_signature(Resource.evaluate, Resource("any", 0).evaluate)  # a method, without self


def remember_signature(function: Callable, as_called: Callable | None = None) -> Callable:
    """The function, of which Snakemake need not find out again and again what arguments it takes.

    It does so two or three times for each param and each resource of each job. It has a place for
    answers that are known, which other functions of its own use; a version without it is slower,
    and nothing else.
    """
    with suppress(ImportError):
        from snakemake.common import overwrite_function_params

        overwrite_function_params(function, signature(as_called or function).parameters)
    return function
