"""Short names of hyperparameters in the names of trajectories; results have the long ones."""

SHORT = {
    "learning_rate": "lr",
    "retain_weight": "lambda",
    "steering_layer": "layer",
    "steering_scale": "c",
}
"""Hyperparameter → short name. One that is not listed has the same name in both places."""

COLUMNS = {short: column for column, short in SHORT.items()}
"""Short name → column of result files."""
