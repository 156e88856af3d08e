"""Roles of the plans that stand beside the chosen one: the words that tell them apart in an advice."""

from __future__ import annotations

ELSEWHERE = "the same on "
"""Before the name of another device: such a plan is none of this one's."""
