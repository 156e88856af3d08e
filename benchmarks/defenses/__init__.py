"""Trained defenses: what a fit costs, and what it hides."""
