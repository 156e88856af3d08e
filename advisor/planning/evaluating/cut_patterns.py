"""Which cuts patterns of names mean."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase

from advisor.errors import CutError
from advisor.graph import PartitionGraph


def chosen_cuts(graph: PartitionGraph, text: str | None) -> tuple[str, ...]:
    """Names of the cuts that `layer2*,layer3,7` means: patterns of names, names, module paths or indices.

    Raises:
        CutError: on a pattern that no inner cut's name has, or a name of none or several.
    """
    inner = [cut.name for cut in graph.cuts[1:-1]]
    found: list[str] = []
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        if not set("*?").isdisjoint(part):
            named = [name for name in inner if fnmatchcase(name, part)]
            if not named:
                close = difflib.get_close_matches(part, inner, 3) or inner[:3]
                raise CutError(f"No cut is named {part!r}.", f"There are for example {', '.join(close)}.")
            found += named
        elif (cut := graph.cut(part)).name in inner:
            found.append(cut.name)
        else:
            raise CutError(f"At {cut.name!r} nothing is split.", f"Name a cut between, for example {inner[0]}.")
    return tuple(dict.fromkeys(found))
