"""A language model as judge of the dataset: `cases` says what it is asked, defects planted among
it; `judge` asks, and counts what it found.
"""
