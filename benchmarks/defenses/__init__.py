"""Trained defenses: what a fit costs, and what each method hides at four cuts of a ResNet-20 under one protocol."""
