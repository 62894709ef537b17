"""Unlearning: the methods, what they have in common, and the run of one trajectory."""
