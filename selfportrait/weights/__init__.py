"""Weights: how much each place of a picture counts in its log-likelihood, one file a way of weighing."""
