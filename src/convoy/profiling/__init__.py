"""The layers of a network, their cost, and a picture of them. Only `measure` imports torch."""
