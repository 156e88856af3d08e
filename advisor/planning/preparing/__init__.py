"""From a request to measured cuts: model, samples by role, costs and leakage, taken from before where they apply."""
