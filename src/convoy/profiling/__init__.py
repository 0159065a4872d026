"""Profiles a network: its layers, their cost, and a diagram. Only `measure` imports torch."""
