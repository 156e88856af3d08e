"""Fits of a recommendation: which, how long, and what their plans cost and leak."""
