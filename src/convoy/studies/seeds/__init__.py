"""How much of a result is luck: the same recipe with other seeds, one source of chance at a time."""
