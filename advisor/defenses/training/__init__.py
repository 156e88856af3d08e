"""Defenses that learn what to send: what a method is handed, what it gives back, and the variant that is made of it."""
