"""Recipes: one order of events a file."""
