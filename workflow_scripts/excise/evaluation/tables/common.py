"""What all tables share: sets of questions, and notes for the reader."""

SETS = {
    "sf": ("sf",),
    "forget_paraphrased": ("forget_paraphrased",),
    "correlated": ("correlated",),
    "other": ("other",),
    "sr": ("correlated", "other"),
    "utility": ("utility",),
    "holdout": ("holdout",),
    "forget_joint": ("forget_joint",),
    "retain_joint": ("retain_joint",),
}
"""Sets of questions in result files, and the sets of the records they are made of."""

BASIC_NOTES = [
    "Intervals: over people (over questions for utility), not adjusted for the number of rows; "
    "`interval` names the method (docs/statistics.md). Limits are null if all inputs were "
    "equal and the metric is unbounded: the width is then unknown. fixed: computed, not sampled.",
    "A value is null if any of its n inputs was NaN or infinite (n_undefined says how many).",
]
