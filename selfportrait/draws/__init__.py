"""Draws: where a log-likelihood is evaluated, one file a way of drawing."""
