"""Multiply-adds of a graph's operations, from their shapes."""
