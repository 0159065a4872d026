"""Trains a recipe and writes its run folder: plan, training, selection, scores."""
