"""Losses: pure functions of log-likelihoods, one file a loss."""
