"""Machines of the catalog: what they can do, and how long an operation takes by their peaks."""
