"""What a graph of operations says by itself: what depends on what, what shares memory, which sizes follow the batch."""
