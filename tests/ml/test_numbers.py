"""Numbers as a person reads them."""

import pytest

from ml.numbers import figure


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (316900.4, "316,900"),
        (-1234.5, "-1,234"),
        (999.94, "999.9"),
        (0.12345, "0.1235"),
        (0.0, "0"),
        (1.23456e15, "1.235e+15"),
    ],
)
def test_small_numbers_keep_what_they_say(value: float, said: str) -> None:
    assert figure(value) == said
