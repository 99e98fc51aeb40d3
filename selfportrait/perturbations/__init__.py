"""Perturbations: one way to write prompts that no longer describe a prompt's picture a file."""
