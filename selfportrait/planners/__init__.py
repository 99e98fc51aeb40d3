"""Planners: one way to name the things that both pictures of a pair show a file."""
