"""An advice in plain words, as plain strings: each report escapes and lays them out in its own way."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from advisor.advice import Advice
from advisor.plans import Evidence, Plan
from advisor.reports.content.chance import chance
from advisor.reports.content.quantities import NOT_MEASURED, quantity, show_estimate
from advisor.reports.content.text import clean, is_png, shorten
from advisor.support.safe_text import shell_words, without_secrets
from advisor.units import digits, show_duration
from advisor.verdicts import in_words

NAME_LENGTH = 60
CHANGED = {
    "edge weights": "the edge's weights", "cloud weights": "the cloud's weights", "app": "the app (encoder, decoder)",
}  # fmt: skip


def section(advice: Advice, key: str) -> Mapping[str, Any]:
    """One part of the provenance; absent parts are empty, a bare value counts as its `key`."""
    found = advice.provenance.get(key, {})
    return found if isinstance(found, Mapping) else {"key": found}


def place(advice: Advice, key: Literal["device", "link", "cloud"]) -> str:
    """What the advice calls its device, link or cloud."""
    row = section(advice, key)
    default = {"device": "the edge device", "link": "the link", "cloud": "the cloud"}[key]
    name, stands_for = row.get("key"), row.get("stands_for")
    if not name:
        return clean(stands_for or default)
    return clean(f"{name} ({stands_for})" if stands_for and stands_for != name else name)


def machine(advice: Advice, key: Literal["device", "link", "cloud"]) -> str:
    """The bare key of the device, link or cloud."""
    return clean(section(advice, key).get("key") or place(advice, key))


def plan_name(plan: Plan) -> str:
    """Cut(s) and defense in one phrase."""
    if plan.kind != "split":
        return in_words(plan)
    where = " … ".join(shorten(name, NAME_LENGTH) for name in plan.places)
    return where if plan.defense.name == "none" and plan.fitted is None else f"{where} + {plan.protection}"


def predicted(plan: Plan, name: str) -> str:
    """A predicted quantity with its interval; one that is absent or NaN is "not measured"."""
    return show_estimate(plan.predicted.get(name), name)


def attacks(advice: Advice) -> tuple[tuple[Evidence, str, tuple[tuple[str, str], ...]], ...]:
    """Every attack that was run: itself, what it attacked in words, and (quantity, what was found)."""
    found = []
    for item in advice.evidence:
        times = "" if item.repeats == 1 else f", {item.repeats} transmissions of each averaged"
        place = shorten(item.cut, NAME_LENGTH)
        title = f"{item.attack} ({item.budget}) at {place}, defense {item.defense}: {item.samples:,} inputs{times}"
        title += f" ({item.outdated})" if item.outdated else ""
        rows = tuple(
            (quantity(name).label, show_estimate(estimate, name) + chance(advice, name, estimate))
            for name, estimate in item.scores.items()
            if math.isfinite(estimate.value)
        )
        found.append((item, title, rows))
    return tuple(found)


def png(uri: str) -> str:
    """A picture's data URI; "" where it is no PNG."""
    return uri if is_png(uri) else ""


def command(advice: Advice) -> str:
    """The recorded command as a shell reads it; "" where none is recorded. Another program's is not shown.

    The advice may be a stranger's: what is shown is one call of advisor, each word quoted, whatever was recorded.
    """
    recorded = advice.provenance.get("command")
    if not recorded:
        return ""
    try:
        said = shlex.split(str(recorded))
    except ValueError:
        said = []
    if said[:1] != ["advisor"] or any(character in str(recorded) for character in "\0"):
        return "(what is recorded is no command of advisor, and is not shown)"
    return shell_words(without_secrets(word) for word in said)


def attack_lines(advice: Advice) -> tuple[str, ...]:
    """One line an attack, for text."""
    return tuple(
        f"{title}: {', '.join(f'{label} {value}' for label, value in rows)}. Threat model: {clean(item.threat)}"
        for item, title, rows in attacks(advice)
    )


def zone_words(advice: Advice) -> str:
    """Where our zone lies and what set its edge."""
    thresholds = section(advice, "zone").get("thresholds")
    rule = f" (thresholds: {_inline(thresholds)})" if thresholds else ""
    if not advice.zone:
        return f"No cut of this model is in the golden partition zone{rule}."
    first, last = shorten(advice.zone[0], NAME_LENGTH), shorten(advice.zone[-1], NAME_LENGTH)
    where = first if len(advice.zone) == 1 else f"{first} to {last}"
    plural = "cut" if len(advice.zone) == 1 else "cuts"
    return f"Golden partition zone: {where}, {len(advice.zone)} {plural}{rule}."


def device_formats(advice: Advice) -> str:
    """Formats of files that the chosen device loads, with commas; "" when the advice does not say."""
    found = section(advice, "device").get("loads") or ""
    return ", ".join(map(str, found)) if isinstance(found, (list, tuple)) else str(found)


def loads(advice: Advice) -> str:
    """Which file the chosen device can load; "" when the advice does not say."""
    files = device_formats(advice)
    how = ": advisor split writes them with --format onnx" if files == "onnx" else ""
    return clean(f"{machine(advice, 'device')} loads {files} files{how}.") if files else ""


def facts(values: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Provenance, flattened to (dotted name, text)."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from facts(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(values, (list, tuple)):
        yield prefix, ", ".join(_inline(value) for value in values)
    else:
        seconds = prefix.startswith(("stages.", "told.")) or prefix.endswith("_s")
        is_number = isinstance(values, (int, float)) and not isinstance(values, bool)
        yield prefix, show_duration(values) if seconds and is_number and math.isfinite(values) else _inline(values)


def what_runs_where(advice: Advice, plan: Plan) -> str:
    """What to run where, in one sentence."""
    if plan.kind == "all-edge":
        return f"Run the whole model on {machine(advice, 'device')}; nothing is sent."
    if plan.kind == "local-head":
        where = shorten(plan.places[0], NAME_LENGTH)
        runs = f"Run the model up to {where} and a local head there on {machine(advice, 'device')}; nothing is sent."
        return f"{runs}{what_was_fitted(plan)}"
    if plan.kind == "all-cloud":
        return (
            f"Send the input as {plan.sends or 'it is'} over {machine(advice, 'link')} and run the model on "
            f"{machine(advice, 'cloud')}."
        )
    names = [shorten(name, NAME_LENGTH) for name in plan.places]
    sent = predicted(plan, "bytes")
    size = "the activation" if sent == NOT_MEASURED else f"{sent} an input"
    bare = plan.defense.name == "none" and plan.fitted is None
    how = "undefended" if bare else f"defended by {plan.protection}"
    rest = f"run up to {names[1]} there, and finish on the edge" if len(names) > 1 else "finish there"
    edge, link, cloud = machine(advice, "device"), machine(advice, "link"), machine(advice, "cloud")
    runs = f"Run the model up to {names[0]} on {edge}, send {size}, {how}, over {link} to {cloud}, and {rest}."
    return f"{runs}{what_was_fitted(plan)}"


def what_was_fitted(plan: Plan) -> str:
    """How long the fit took and who must change what, after a sentence; "" where nothing was fitted."""
    if plan.fitted is None:
        return ""
    briefly = ", briefly: advisor defend fits it longer" if plan.fitted.short else ""
    changed = [CHANGED.get(name, clean(name)) for name in plan.fitted.changes]
    owners = f" To deploy it, change {', '.join(changed)}." if changed else ""
    return f" It was fitted in {show_duration(plan.fitted.seconds)}{briefly}.{owners}"


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_inline(inner)}" for key, inner in value.items())
    if isinstance(value, float):
        return digits(value) if math.isfinite(value) else NOT_MEASURED
    return "not stated" if value is None else str(value)
