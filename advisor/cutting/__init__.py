"""Where a graph can be cut, and the halves that a cut makes."""
