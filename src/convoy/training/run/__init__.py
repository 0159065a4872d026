"""A recipe becomes a run folder: plan, training, selection, scores."""
