"""What Dagster shows as assets: dbt's models, and of each exposure its model, predictions, card and MLflow."""
