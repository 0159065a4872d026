"""Measures how much a result varies with the seed, for one source of randomness at a time."""
