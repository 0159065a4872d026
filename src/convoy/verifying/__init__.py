"""Verifies a run folder: hashes, scores, predictions and retrained epochs are compared with its recipe, data and
weights."""
