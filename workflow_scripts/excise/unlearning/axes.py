"""Short names of hyperparameters in the names of trajectories, and their columns in results."""

COLUMNS = {
    "lr": "learning_rate",
    "lambda": "retain_weight",
    "layer": "steering_layer",
    "c": "steering_scale",
}
"""Short name → column. A hyperparameter that is not listed has one name in both places."""
