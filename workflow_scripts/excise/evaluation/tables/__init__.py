"""The rows of each result table."""
