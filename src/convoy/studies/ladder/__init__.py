"""Explains why the accuracies of two recipes differ: applies the differences one at a time, and leaves each one out."""
