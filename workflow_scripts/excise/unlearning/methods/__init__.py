"""Unlearning methods, one file each; `excise.unlearning.method` says what a file holds."""
