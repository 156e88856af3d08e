"""Which plans are priced: payload defenses at every cut, then fits at a few."""
