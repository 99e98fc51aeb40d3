"""Questions: one way to turn a prompt into yes/no questions a file."""
