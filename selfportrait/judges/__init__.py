"""Judges: one way to turn (prompts, images) into scores a file."""
