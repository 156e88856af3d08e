"""What profilers share: the context that they are handed, and profiles that were measured before."""
