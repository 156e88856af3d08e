"""Samples: what leakage and accuracy are measured on, given or made."""
