"""An offline page that runs trained networks in the browser. Only `trace` and `run` import torch."""
