"""How far a long piece of work is, and a run of several stages."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float, str], None]
"""Called with the stage, the share of it that is done, 0 to 1, and what is being worked on ("" where that is plain)."""
