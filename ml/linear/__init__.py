"""Linear models from sums that the warehouse makes, and back to SQL; DuckDB and numpy, no exposure."""
