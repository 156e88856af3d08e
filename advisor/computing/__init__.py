"""On which device tensors are computed: chosen once for a run, entered for the work, left with the results."""
