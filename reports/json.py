"""An advice as JSON: what `load_advice` reads."""

from __future__ import annotations

import json

from advisor.plans import Advice


def render(advice: Advice) -> str:
    """The whole advice; nothing is left out or rounded."""
    return json.dumps(advice.to_json(), indent=1, allow_nan=False) + "\n"
