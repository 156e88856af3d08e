"""What `advisor.whatif` is asked: which link and requirements are varied, and what stays as the advice has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advisor import profilers
from advisor.advice import Advice
from advisor.errors import AdvisorError
from advisor.outlook import LINK, Axis
from advisor.planning.outlooks.ranges import (
    bandwidth,
    is_range,
    link_axis,
    read_range,
    requirement_axis,
)
from advisor.planning.outlooks.repricing import at_rate
from advisor.profilers import Link
from advisor.requirements import Budgets, requirement

MOST_AXES = 2
LIFTED = "none"
"""What lifts a requirement that the advice was made with."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What is varied, and what stays.

    Attributes:
        axes: the ranges.
        base: the link, but for a bandwidth that is varied.
        budgets: the requirements, but for those on an axis.
    """

    axes: tuple[Axis, ...]
    base: Link
    budgets: Budgets

    def link(self, values: Mapping[str, float]) -> Link:
        """The link where the axes have these values."""
        return at_rate(self.base, values[LINK]) if LINK in values else self.base

    def limits(self, values: Mapping[str, float]) -> Budgets:
        """The requirements there."""
        return Budgets(**{**self.budgets.limits, **{name: v for name, v in values.items() if name != LINK}})


def asked_of(advice: Advice, recorded: Link, link: Any, limits: Mapping[str, Any]) -> Asked:
    """What is varied, by a link and by requirements as they are given.

    Args:
        advice: whose requirements stay where none is given.
        recorded: its link.
        link, limits: as `whatif` takes them.

    Raises:
        AdvisorError: on what is no range or value, or more than two ranges.
    """
    base, axes = _link(link, recorded)
    budgets = dict(advice.budgets.limits)
    for name, value in limits.items():
        row = requirement(name)
        if value is None:
            continue
        if is_range(value):
            axes.append(requirement_axis(row, read_range(value, row.parse, row.option)))
            budgets.pop(name, None)
        elif value == LIFTED:
            budgets.pop(name, None)
        else:
            budgets[name] = row.limit(value, row.option)
    if len(axes) > MOST_AXES:
        named = ", ".join(axis.name for axis in axes)
        raise AdvisorError(f"{len(axes)} ranges are no picture: {named}.", "Give two of them, the others one value.")
    return Asked(tuple(axes), base, Budgets(**budgets))


def _link(asked: Any, recorded: Link) -> tuple[Link, list[Axis]]:
    """The link, and the axis of its bandwidth where that is a range or was measured over time."""
    if asked is None:
        return recorded, []
    if not isinstance(asked, str):
        return recorded, [link_axis(read_range(asked, bandwidth, "--link"))]
    parts = [part.strip() for part in asked.split(",")]
    varied = [part for part in parts if is_range(part) and "trace=" not in part]
    if not varied:
        return _single(asked, recorded)
    key, _, text = varied[0].rpartition("=")
    if len(varied) > 1 or key not in ("", "bandwidth", "up"):
        raise AdvisorError(f"--link {asked!r}: of a link the bandwidth alone may be a range.", "Write 1..100Mbps.")
    axis = link_axis(read_range(text, bandwidth, "--link"))
    others = [part for part in parts if part is not varied[0]]
    if not others:
        return recorded, [axis]
    named = [] if "=" in others[0] else [others.pop(0)]
    return _kept(profilers.link(",".join([*named, f"bandwidth={axis.high:.12g}", *others])), recorded), [axis]


def _single(text: str, recorded: Link) -> tuple[Link, list[Axis]]:
    if text[:1].isdigit() and "," not in text and "=" not in text:
        return at_rate(recorded, bandwidth(text)), []
    found = _kept(profilers.link(text), recorded)
    rates = [up for up, _, _ in found.trace]
    if not found.trace or min(rates) == max(rates):
        return found, []
    return found, [link_axis(read_range((min(rates), max(rates)), bandwidth, "--link"))]


def _kept(link: Link, recorded: Link) -> Link:
    """A link that was named now: what is sent stays as it was measured."""
    if link.compression and link.compression != recorded.compression:
        raise AdvisorError(
            "What compression leaves of a message is measured, not computed.",
            f"Ask anew: advisor recommend --from ADVICE --link {link.name}",
        )
    return dataclasses.replace(link, compression=recorded.compression)
