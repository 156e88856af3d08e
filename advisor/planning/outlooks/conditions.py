"""`advisor.whatif`: how the choice of an advice moves with the link and the requirements, without measuring again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from advisor.advice import Advice, load_advice
from advisor.errors import AdvisorError
from advisor.estimators.study.zone import ZoneThresholds
from advisor.outlook import LINK, Axis, Outlook
from advisor.planning.outlooks import recorded_plans
from advisor.planning.outlooks.assembling_outlooks import Looking
from advisor.planning.outlooks.choosing import Chooser
from advisor.planning.outlooks.repricing import Repricer
from advisor.planning.outlooks.varied import Asked, asked_of
from advisor.plans import Plan
from advisor.request_parts import IN_PYTHON
from advisor.requirements import REQUIREMENTS
from advisor.requirements import objective as row_of

HYSTERESIS = 0.05


def whatif(
    advice: Advice | str | Path,
    link: str | tuple[Any, Any] | None = None,
    *,
    portfolio: int | None = None,
    hysteresis: float = HYSTERESIS,
    objective: str | Callable[[Plan], float] | None = None,
    require_split: bool | None = None,
    requirements: Mapping[str, Any] | None = None,
    **limits: Any,
) -> Outlook:
    """How the choice moves over ranges of bandwidth and of requirements, in seconds: nothing is measured again.

    Costs are computed again from what the advice records, by the same formulas; leakage and accuracy are as recorded,
    predicted or verified. Plans are those that the advice records, shown or merely tried, each cut without a defense,
    all-edge and all-cloud; what is chosen among them is decided as in `recommend`.

    Args:
        advice: an advice, its file, or the folder that holds it.
        link: a range of bandwidth, "1..100Mbps" or two values; one value; or a link as `recommend` takes it, in which
            one figure may be a range, "lte,bandwidth=1..20Mbps"; `trace=FILE.csv` is a measured trace. None: the
            recorded one.
        portfolio: pick at most so many plans that serve the range or the trace, and say when an edge switches.
        hysteresis: share by which another plan must be better before an edge switches, 0 to 1.
        objective: as for `recommend`; None: the recorded one.
        require_split: leave all-edge and all-cloud out; None: as recorded.
        requirements: requirements by name, likewise; every row of the table.
        limits: the same as keywords, each a value, a range "10ms..1s", or "none", which lifts it; those that are not
            named are as the advice has them. At most two ranges, that of the link included.

    Raises:
        AdvisorError: on what is no range or value, more than two ranges, or an advice that does not record its costs.
    """
    opened = advice if isinstance(advice, Advice) else load_advice(advice)
    place = None if isinstance(advice, Advice) else str(advice)
    repricer = Repricer.of(opened)
    asked = asked_of(opened, repricer.link, link, {**(requirements or {}), **limits})
    if portfolio is not None:
        _check_portfolio(portfolio, hysteresis, asked)
    chooser = _chooser(opened, repricer, asked, objective, require_split)
    return Looking(opened, asked, chooser, place).outlook(portfolio, hysteresis)


def _check_portfolio(count: int, hysteresis: float, asked: Asked) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise AdvisorError(f"A portfolio of {count!r} plans makes no sense.", "Ask for 1 or more.")
    if not 0 <= hysteresis <= 1:
        raise AdvisorError(f"A hysteresis of {hysteresis:g} makes no sense.", "It is a share, such as 5%.")
    if [axis.name for axis in asked.axes] != [LINK]:
        raise AdvisorError(
            "A portfolio serves a range of bandwidth, or a trace.",
            "Give --link 1..100Mbps or --link trace=FILE.csv, and each requirement one value.",
        )


def _chooser(advice: Advice, repricer: Repricer, asked: Asked, best: Any, require_split: bool | None) -> Chooser:
    search = None if advice.request is None else advice.request.search
    wanted = best if best is not None else "latency" if search is None else search.objective
    if wanted == IN_PYTHON:
        raise AdvisorError(
            "The objective of this advice was given in Python, which no file holds.", "Name one with --objective."
        )
    chooser = Chooser(
        recorded_plans.splits(advice, bool(repricer.link.compression)), recorded_plans.baselines(advice), repricer,
        _zone(advice, asked), row_of(wanted), None if search is None else search.confidence,
        (search is not None and search.require_split) if require_split is None else require_split,
    )  # fmt: skip
    _check_measured(chooser, asked)
    ends = [axis.low for axis in asked.axes if axis.name == LINK] + [a.high for a in asked.axes if a.name == LINK]
    return chooser.pruned([asked.link({LINK: end}) for end in ends] or [asked.base])


def _zone(advice: Advice, asked: Asked) -> dict[str, float]:
    """The zone's thresholds, which count where no leakage is limited."""
    given = None if advice.request is None else advice.request.search.thresholds
    leakage = asked.budgets.has_leakage or any(_leaks(axis) for axis in asked.axes)
    if given is not None and not isinstance(given, ZoneThresholds) and not leakage:
        raise AdvisorError(
            "The thresholds of this advice were given in Python, which no file holds.", "State --min-nmse instead."
        )
    section = advice.provenance.get("zone")
    baseline = section.get("mean_image_ssim") if isinstance(section, Mapping) else None
    known = isinstance(baseline, (int, float)) and -1 <= baseline <= 1
    thresholds = given if isinstance(given, ZoneThresholds) else ZoneThresholds()
    return thresholds.limits(float(baseline) if known and baseline is not None else math.nan)


def _leaks(axis: Axis) -> bool:
    return axis.name != LINK and REQUIREMENTS[axis.name].leakage


def _check_measured(chooser: Chooser, asked: Asked) -> None:
    """Refuse a requirement that no plan was ever measured for."""
    for name in (*asked.budgets.limits, *(axis.name for axis in asked.axes if axis.name != LINK)):
        row, found = REQUIREMENTS[name], [plan.found(REQUIREMENTS[name]) for plan in chooser.splits]
        if found and all(estimate is None or math.isnan(estimate.value) for estimate in found):
            raise AdvisorError(
                f"{row.option}: of no split of this advice the {row.label} was measured.",
                f"Ask for it first: advisor recommend --from ADVICE {row.option} …",
            )
