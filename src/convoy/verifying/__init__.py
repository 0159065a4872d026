"""Checks whether a run folder is what its recipe gives: hashes, scores, predictions, retrained epochs."""
