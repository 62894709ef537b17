"""Fixtures that tests of several folders use."""

from llm_server import fault_server

__all__ = ["fault_server"]
