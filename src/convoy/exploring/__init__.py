"""One offline page to look inside a trained network. Only `trace` and `run` import torch."""
