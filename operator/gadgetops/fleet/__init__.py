"""Many recordings asked as one, by DuckDB on this machine or by Spark on many."""
