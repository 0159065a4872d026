"""What a network costs, layer by layer, and its picture. Only `measure` reaches torch."""
