"""Attacks on the dataset with models that never saw the forget facts, and a defence.

`selection` and `candidate_pools` choose wrong answers that such models find as likely as the truth.
`name_swap`, `name_probe` and `answers_about_names` ask about the wrong person and about a name
alone. `gradients` measures how much training on one fact changes another one. `gates` applies
limits.
"""
