"""Trained defenses by name: one method a file, and one entry here."""

from __future__ import annotations

from advisor.defenses.training.base import TrainedDefense

METHODS: dict[str, TrainedDefense] = {}
"""Every method by name; a user's own is one more entry."""
