"""One offline page in which a person looks inside a trained network. Only `trace` and `run` import torch."""
