"""An advice as JSON: what `load_advice` reads."""

from __future__ import annotations

import json

from advisor.advice import Advice
from advisor.reports.content.answer import answer_of


def render(advice: Advice) -> str:
    """The answer as people read it, then the whole advice; nothing is left out or rounded."""
    whole = {"answer": answer_of(advice).to_json(), **advice.to_json()}
    return json.dumps(whole, indent=1, allow_nan=False) + "\n"
