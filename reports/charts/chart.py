"""What all charts share: a Vega-Lite spec with its words, colours of the page's style, layers over one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"


@dataclass(frozen=True)
class Chart:
    """One chart of the page.

    Attributes:
        name: for ids.
        title: its heading.
        spec: Vega-Lite, without a width; colours are variables of the page's style.
        words: what a screen reader says.
    """

    name: str
    title: str
    spec: Spec
    words: str


def role(name: str) -> str:
    """A colour of the page's style."""
    return f"var(--{name})"


def config() -> Spec:
    """Fonts and colours of every chart."""
    quiet = {"labelColor": role("muted"), "titleColor": role("muted"), "domainColor": role("line"), "labelLimit": 220,
             "tickColor": role("line"), "gridColor": role("grid"), "titleFontWeight": 500}  # fmt: skip
    return {
        "background": None, "font": "system-ui, sans-serif", "view": {"stroke": None},
        "axis": {**quiet, "labelFontSize": 11, "titleFontSize": 11.5},
        "legend": {**quiet, "labelColor": role("ink"), "orient": "top", "title": None, "labelFontSize": 11.5,
                   "columnPadding": 16, "symbolOpacity": 1, "symbolStrokeWidth": 2, "offset": 6},
        "title": {"color": role("muted"), "anchor": "start", "fontSize": 12, "fontWeight": 500, "offset": 6},
    }  # fmt: skip


def layered(height: int, layers: Sequence[Spec], x: Spec, words: str) -> Spec:
    """A spec of layers over one horizontal axis."""
    layers = [{**layer, "encoding": {**({} if "x" in layer["encoding"] else {"x": x}), **layer["encoding"]}}
              for layer in layers]  # fmt: skip
    return {"$schema": SCHEMA, "height": height, "width": "container", "description": words,
            "autosize": {"type": "fit-x", "contains": "padding"}, "config": config(), "layer": layers}  # fmt: skip
