"""What versions are measured by: the names of metrics by task, how each is called, and what of it is a loss."""

from typing import Literal

Task = Literal["regression", "classification"]
Metric = Literal[
    "rmse", "mae", "log_loss", "brier_score", "accuracy", "roc_auc", "average_precision"
]  # what a gate may judge by

# By task, the first is judged by where the spec names none.
METRICS: dict[Task, tuple[Metric, ...]] = {
    "regression": ("rmse", "mae"),
    "classification": ("log_loss", "brier_score", "accuracy", "roc_auc", "average_precision"),
}
# Of these more is better; what is lost is the rest to 1.
GAINS = ("accuracy", "roc_auc", "average_precision")
# Of these no row has a value of its own: they compare rows with each other.
OF_RANKS = ("roc_auc", "average_precision")

# Of a probability of nothing there is no log: scikit-learn takes this instead, a double's precision.
LEAST = 2.0**-52

_NAMES = {
    "rmse": "RMSE",
    "mae": "MAE",
    "log_loss": "log loss",
    "brier_score": "Brier score",
    "accuracy": "1 - accuracy",
    "roc_auc": "1 - ROC AUC",
    "average_precision": "1 - average precision",
}


def loss(metric: str, value: float) -> float:
    """What of a metric's value is better where it is less."""
    return 1 - value if metric in GAINS else value


def loss_name(metric: str) -> str:
    """What a person calls this loss."""
    return _NAMES[metric]


def name(metric: str) -> str:
    """What a person calls the metric itself."""
    return _NAMES[metric].removeprefix("1 - ")
