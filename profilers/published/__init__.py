"""Latency of networks as it was published, and what is learnt from it about machines that are not at hand."""
