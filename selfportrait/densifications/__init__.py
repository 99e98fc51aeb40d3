"""Densifications: one way to write a prompt and its perturbed version out in detail a file."""
