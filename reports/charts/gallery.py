"""The pictures that an advice holds, along the cuts; the plan's own cut first, nothing left out."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.advice import Advice
from advisor.reports.content import tables, words
from advisor.reports.content.text import is_png, shorten

MOST_OPEN = 24
"""Strips that are shown at once: more of them are alike from one to the next."""


@dataclass(frozen=True)
class Strip:
    """One row of pictures; None where an entry was no PNG."""

    index: int
    name: str
    chosen: bool
    pictures: tuple[str | None, ...]
    note: str


@dataclass(frozen=True)
class Pictures:
    """What the report holds and shows.

    Attributes:
        says: which pictures it holds, in one sentence.
        originals: None where an entry was no PNG.
        open: strips of the cuts that close a block, at most `MOST_OPEN` of them over the depth, and of the plan's.
        rest: the other strips.
    """

    says: str
    originals: tuple[str | None, ...]
    open: tuple[Strip, ...]
    rest: tuple[Strip, ...]


def of(advice: Advice) -> Pictures:
    """The pictures of an advice."""
    order = {cut.name: cut.index for cut in advice.profile.cuts}
    known = sorted((name for name in advice.gallery.reconstructions if name in order), key=lambda name: order[name])
    chosen = {name for plan in (advice.best, advice.best_split) if plan is not None for name in plan.places}
    strips = [
        Strip(order[n], shorten(n, words.NAME_LENGTH), n in chosen, _checked(advice.gallery.reconstructions[n]),
              _caption(advice, order[n]))
        for n in known
    ]  # fmt: skip
    blocks = set(tables.block_rows(advice))
    closing = [strip for strip in strips if strip.index in blocks or strip.chosen]
    important = [number for number, strip in enumerate(closing) if strip.chosen]
    shown = [closing[number] for number in tables.pick_rows(len(closing), important, MOST_OPEN)]
    return Pictures(
        _says(advice), _checked(advice.gallery.originals), tuple(shown),
        tuple(strip for strip in strips if strip not in shown),
    )  # fmt: skip


def _says(advice: Advice) -> str:
    if not advice.holds_pictures:
        return "This report holds no picture of any input."
    samples = len(advice.gallery.originals)
    attacked = 2 * sum(len(item.pictures) for item in advice.evidence)
    made = sum(map(len, advice.gallery.reconstructions.values()))
    return (
        f"This report holds pictures of private inputs, kept because --pictures asked for them: {samples} originals, "
        f"{made} reconstructions along the cuts, {attacked} pictures of attacks. Think before you share it."
    )


def _checked(uris: tuple[str, ...]) -> tuple[str | None, ...]:
    return tuple(uri if is_png(uri) else None for uri in uris)


def _caption(advice: Advice, index: int) -> str:
    shown = [name for name in ("ka_nmse", "ka_ssim") if name in advice.profile]
    return ", ".join(f"{tables.label(name)} {tables.cell(advice.profile, name, index)}" for name in shown)
