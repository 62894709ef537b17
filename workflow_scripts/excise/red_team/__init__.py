"""Attacks on the benchmark itself: by rules, by models, by a judge."""
