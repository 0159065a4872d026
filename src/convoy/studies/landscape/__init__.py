"""The loss landscape: how the loss depends on the learning rate, along the step, and around the weights."""
