"""What a trained network is worth and what it costs: predictions, scores, costs, and a look at its filters."""
