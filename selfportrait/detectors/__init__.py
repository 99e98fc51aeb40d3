"""Detectors: one way to find named things in a picture a file."""
