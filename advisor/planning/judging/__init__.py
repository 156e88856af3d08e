"""How good the answers of a model and of its plans are."""
