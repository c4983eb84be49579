"""The producer's room: dbt's models, macros and tests, and the plugin that connects them to `ml`."""
