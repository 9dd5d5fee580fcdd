"""The two-stage training and what belongs to it."""
