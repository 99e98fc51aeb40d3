"""Instance judges: one way to say which of two pictures shows an instance better a file."""
