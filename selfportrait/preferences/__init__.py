"""Preference pairs that are there already: published datasets, folders of a user's own, runs. One file a format."""
