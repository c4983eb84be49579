"""The example: what houses are worth, from a census; it uses the machine as a stranger's project would."""
