"""dbt's side: `tract`, the package that any project uses, and `housing`, the example that uses it."""
