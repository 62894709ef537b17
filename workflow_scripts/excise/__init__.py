"""Excise: cut one fact out of a person, keep the person. The library behind `workflow_scripts/*.py`."""
