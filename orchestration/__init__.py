"""What runs when: Dagster's definitions, and the local stack that they run on."""
