"""Benchmarks: fixed prompts and seeds with a metric, one file a benchmark."""
