"""Attacks that try to recover forgotten facts from an unlearned model."""
