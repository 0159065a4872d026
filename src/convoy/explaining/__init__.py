"""Explains a trained network: filters, feature maps, attribution maps, layer statistics, a map of the images. Only
`attribution`, `layers` and `run` import torch."""
