"""The fit of one model: loop, learning rates, checkpoints, several processes."""
