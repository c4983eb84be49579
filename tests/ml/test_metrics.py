"""What is lost, by whatever metric, is better where it is less."""

import pytest

from ml.metrics import METRICS, loss, loss_name


@pytest.mark.parametrize(
    ("metric", "value", "lost", "name"),
    [("rmse", 3.0, 3.0, "RMSE"), ("log_loss", 0.7, 0.7, "log loss"), ("accuracy", 0.75, 0.25, "1 - accuracy")],
)
def test_a_loss_has_its_value_and_its_name(metric: str, value: float, lost: float, name: str) -> None:
    assert (loss(metric, value), loss_name(metric)) == (lost, name)


def test_every_metric_has_a_name() -> None:
    assert all(loss_name(metric) for metrics in METRICS.values() for metric in metrics)
