"""The partition card: one page for a file, with what was promised, what was tried, and room for a signature."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from advisor.advice import Advice
from advisor.reports.content import words
from advisor.reports.content.answer import answer_of
from advisor.reports.content.text import clean, shorten
from advisor.reports.html import page

NAMESPACE = "partition-advice"
"""Of the detached signature: `ssh-keygen -Y sign -n partition-advice -f KEY advice.json`."""


def render(advice: Advice) -> str:
    """One printable page, without a script."""
    plan = advice.best
    own = [found for found in words.attacks(advice) if plan is not None and plan.is_of(found[0])][:SHOWN]
    return page(
        "card.html.j2", advice=advice, answer=answer_of(advice), evidence=own,
        more=len(advice.evidence) - len(own), facts=tuple(_facts(advice)), digest=_digest(advice),
        namespace=NAMESPACE, shown=SHOWN, command=words.command(advice),
    )  # fmt: skip


SHOWN = 4
"""Attacks, and quantities that were not measured, that a page has room for."""


def _facts(advice: Advice) -> Iterator[tuple[str, str]]:
    """What the card records of model, data, target and versions."""
    model, data = words.section(advice, "model"), words.section(advice, "data")
    yield "model", _said(model, "path", "name")
    yield "model SHA-256", _said(model, "sha256")
    yield "graph digest", clean(advice.profile.cuts[0].graph if advice.profile.cuts else "") or "not recorded"
    yield "data", _said(data, "description")
    yield "data fingerprint", _said(data, "fingerprint", "sha256")
    for key in ("device", "link", "cloud"):
        yield key, words.place(advice, key)
    yield "seed", _said({"seed": advice.provenance.get("seed")}, "seed")
    versions = words.section(advice, "versions")
    yield "versions", ", ".join(f"{clean(k)} {clean(v)}" for k, v in versions.items()) or "not recorded"


def _said(row: Any, *keys: str) -> str:
    found = next((row.get(key) for key in keys if row.get(key) not in (None, "")), None)
    return "not recorded" if found is None else shorten(found, 120)


def _digest(advice: Advice) -> str:
    try:
        return advice.digest
    except ValueError:  # half a surrogate pair in a name
        return "none: this advice holds text that no file can hold"
