"""Excise: cut one fact out of a person, keep the person. What `workflow_scripts/*.py` share."""
