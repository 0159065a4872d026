"""Predictions, scores and costs of networks."""
