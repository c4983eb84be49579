"""A module that fails when it is imported, by no ImportError."""

raise RuntimeError("not on this machine")
