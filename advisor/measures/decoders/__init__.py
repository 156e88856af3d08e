"""Decoders from an activation to the input: a linear part in closed form, and a network that corrects it."""
