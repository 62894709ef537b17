"""Measuring a model: per-question records, metrics, intervals, result files."""
