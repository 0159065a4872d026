"""One published experiment, reproduced."""
