"""Checks whether a run folder follows from its recipe: hashes, scores, predictions, retrained epochs."""
