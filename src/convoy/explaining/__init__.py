"""Explains what a trained network responds to: filters, maps, attributions, layers, a map of the images. Only
`attribution`, `layers` and `run` import torch."""
