"""The loss landscape: the loss at several learning rates, along the update step, and around the trained weights."""
