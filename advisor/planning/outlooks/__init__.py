"""Outlooks: how the choice of an advice moves with link and requirements, without measuring again."""
