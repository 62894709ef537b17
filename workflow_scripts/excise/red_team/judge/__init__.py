"""A language model judges the dataset: `cases` makes the questions and plants defects, `judge` asks
them and counts the verdicts.
"""
