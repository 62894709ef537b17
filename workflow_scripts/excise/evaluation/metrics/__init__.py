"""The metrics: one file per family, one function per metric, found by `registry`."""
