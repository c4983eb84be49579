"""What a person calls; Dagster never loads them."""
