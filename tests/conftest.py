"""Fixtures that tests of several folders use, and the order of the tests.

Tests marked `extended` cost minutes and are about single cases. A file of such tests comes last.
After the time that EXCISE_EXTENDED_UNTIL names, in seconds since 1970, they are skipped: `.ci/run`
must end within an hour also on a slow machine. Without the variable all of them run.
"""

import os
import time

import pytest

from llm_server import fault_server

__all__ = ["fault_server"]


def pytest_collection_modifyitems(items):
    """Put extended files last. Tests stay in their file: they share what is made for it."""
    plain = {item.path for item in items if item.get_closest_marker("extended") is None}
    items.sort(key=lambda item: item.path not in plain)


def pytest_runtest_setup(item):
    """Skip an extended test that would begin too late."""
    until = float(os.environ.get("EXCISE_EXTENDED_UNTIL") or "inf")
    if item.get_closest_marker("extended") and time.time() > until:
        pytest.skip("too late: EXCISE_EXTENDED_UNTIL has passed; without it, this test runs")
