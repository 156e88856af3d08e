"""The plans that are shown, attacked."""
