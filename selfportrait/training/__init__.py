"""What an update needs around the loss: optimizer, EMA, checkpoints, health, metrics."""
