"""Payload defenses: what happens to an activation before it is sent; one a file."""
