"""Unlearning: methods, and the trajectory that runs one of them."""
