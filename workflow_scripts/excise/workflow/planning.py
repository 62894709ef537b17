"""Speed up Snakemake's planning: avoid repeated work for every object and every job.

perf/plan_scale.py measures it. Every job imports this module, so it must not import torch.
"""

import atexit
import gc
from collections.abc import Callable
from contextlib import suppress
from inspect import signature


def speed_up_planning() -> None:
    """Collect garbage less often, skip the collection at exit, inspect each signature once."""
    # Planning makes millions of objects and drops few. With the default thresholds, garbage
    # collection takes an eighth of the time.
    gc.set_threshold(1_000_000, 50, 100)
    # At exit, Python would free the plan object by object, which takes a seventh of the time.
    atexit.register(gc.freeze)
    with suppress(ImportError, AttributeError):  # another version of Snakemake: only slower
        from snakemake.resources import Resource

        remember_signature(Resource.evaluate, Resource("any", 0).evaluate)  # bound, so without self


def remember_signature(function: Callable, as_called: Callable | None = None) -> Callable:
    """Store a function's signature for Snakemake, and return the function.

    Otherwise Snakemake inspects the signature two or three times for each param and each resource
    of each job. Snakemake has a cache for known signatures; a version without it is only slower.
    """
    with suppress(ImportError):
        from snakemake.common import overwrite_function_params

        overwrite_function_params(function, signature(as_called or function).parameters)
    return function
