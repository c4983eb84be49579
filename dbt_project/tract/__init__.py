"""The dbt package that a project uses: hooks, exports, marts, tests, and the plugin that answers for `ml`."""
