"""Partition-point advisor: where to split a network between edge and cloud, and what to send."""
