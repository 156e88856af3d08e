"""Spread of what is measured: intervals of means, ratios and shares."""
