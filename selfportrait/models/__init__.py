"""Models that draw: one file a family of real pipelines."""
