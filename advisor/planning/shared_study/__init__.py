"""A study that several workers share: where it lies, what it is about, its rounds, results by digest."""
