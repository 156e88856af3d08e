"""The leakage study of one model, and what follows from its columns: score and zone."""
