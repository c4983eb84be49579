"""The consumer's room: learn from a published snapshot, judge, register, score. No Dagster and no dbt in here."""
