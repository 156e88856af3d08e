"""Programs of torch.export (.pt2): each member checked before torch opens them."""
