"""Numbers as a person reads them."""


def figure(value: float) -> str:
    """A measured value: whole from a thousand on, with separators; of a smaller one four digits say something."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
