"""Inversion networks: how they are built, trained, and kept from one run to the next."""
