"""Derivatives of the activation at a cut with respect to the input, for every cut in one forward pass."""
