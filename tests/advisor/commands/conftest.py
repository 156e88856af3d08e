"""Attacks are short: what is tested here is what becomes of their numbers."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def _short(short_attacks: None) -> None:
    pass
