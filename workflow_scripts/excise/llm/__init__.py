"""A client that sends thousands of requests to a language model and pays for each only once."""

from excise.llm.requests import Outcome, Request
from excise.llm.session import Session
from excise.llm.settings import load_settings

__all__ = ["Outcome", "Request", "Session", "load_settings"]
