"""The local stack, with real servers."""
