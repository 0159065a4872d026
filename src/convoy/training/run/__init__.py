"""Turns a recipe into a run folder: plan, training, selection, scores."""
