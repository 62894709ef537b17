"""Attacks on the dataset by models that never saw the forget facts, and what is done against them.

`selection` chooses wrong answers that such models find as likely as the truth; `name_swap` and
`name_probe` ask what they say of the wrong person and of a name alone; `gradients` how far facts
share what training on them changes; `gates` holds all of it to limits.
"""
