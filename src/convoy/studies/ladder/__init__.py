"""Explains why the accuracies of two recipes differ: one change at a time, and leaving out each change."""
