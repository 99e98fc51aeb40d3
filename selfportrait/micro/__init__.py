"""The embedded micro world: small scenes with exact ground truth, and the checkpoints trained on it."""
