"""Asking a language model thousands of questions without losing or paying twice for any."""

from excise.llm.requests import Outcome, Request
from excise.llm.session import Session
from excise.llm.settings import load_settings

__all__ = ["Outcome", "Request", "Session", "load_settings"]
