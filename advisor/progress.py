"""Who is told how far a long piece of work is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float, str], None]
"""Of a run of several stages: called with the stage, the share of it that is done, 0 to 1, and what is worked on."""

StepProgress = Callable[[float, str], None]
"""Of one step: called with the share that is done and what is worked on."""

ShareProgress = Callable[[float], None]
"""Of one piece of work: called with the share that is done."""
