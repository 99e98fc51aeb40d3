"""Where prompts come from: one source a file."""
