"""Measured on the machine itself, or on another over ssh, by one agent that needs no package of ours there."""
