"""Rows whose target is NULL have no answer yet: they are predicted, and neither learned from nor judged by."""

from ml.lake.sql import quoted


def known_sql(target: str) -> str:
    """Whether a row has its answer."""
    return f"{quoted(target)} is not null"


def told(target: str, unknown: int, rows: int) -> str:
    """What to say of rows, so many of which have no answer; empty where all have theirs."""
    if not unknown:
        return ""
    return f"{unknown:,} of {rows:,} rows have no {target}, the target: they are predicted, and not learned from"
