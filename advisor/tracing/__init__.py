"""From a user's model to a graph of operations, by torch.export where it can."""
