"""What a unified model is asked in words, and how its answers are read: one kind of request a file."""
