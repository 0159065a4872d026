"""How much a result varies with the seed: the same recipe with other seeds, one source of randomness at a time."""
