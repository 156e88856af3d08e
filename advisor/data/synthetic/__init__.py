"""Samples where no data was given."""
