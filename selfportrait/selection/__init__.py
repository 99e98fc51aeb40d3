"""Selections: scores of a group become advantages, one file a rule."""
