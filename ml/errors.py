"""The root of every error that a person mends."""


class TractError(Exception):
    """A person mends this: the message is a sentence for them, and no traceback helps.

    It names what was wrong, where, what was found, what is allowed, and what to do.
    """


class MemoryRanOutError(TractError):
    """DuckDB or Python ran out of memory; the message names what takes it, and the settings that bound it."""
