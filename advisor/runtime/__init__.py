"""Exported halves at work: `Edge` sends, `Cloud` answers. Neither the search nor an estimator is imported.

    message = advisor.runtime.Edge("halves").send(x)
    output = advisor.runtime.Cloud("halves").receive(message)

A folder may be a stranger's: its files are held against `plan.json`, their content is checked like that of any model
file, and none of its code is imported. Matching hashes say that files belong together, not who made them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advisor.runtime.cloud import Cloud as Cloud
    from advisor.runtime.opened import CheckedEdge as Edge

__all__ = ["Cloud", "Edge"]

_HOLDS = {"Cloud": ("advisor.runtime.cloud", "Cloud"), "Edge": ("advisor.runtime.opened", "CheckedEdge")}


def __getattr__(name: str) -> Any:
    if name not in _HOLDS:
        raise AttributeError(f"module 'advisor.runtime' has no attribute {name!r}")
    module, inner = _HOLDS[name]
    return getattr(import_module(module), inner)
