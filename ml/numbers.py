"""Numbers as a person reads them."""


def figure(value: float) -> str:
    """A measured value: whole from a thousand on, with separators; of smaller ones, and of huge ones, four digits."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"
