"""What a model answers: which output counts, what labels and outputs mean together."""
