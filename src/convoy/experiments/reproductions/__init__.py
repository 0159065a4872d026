"""Several reproduced experiments on one page."""
