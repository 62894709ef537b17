"""Attacks on an unlearned model: what brings back what it forgot."""
