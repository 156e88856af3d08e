"""Derivatives of what crosses a cut with respect to the input, for every cut in one walk."""
