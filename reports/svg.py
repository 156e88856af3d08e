"""Matplotlib figures as inline SVG that follows the page: its colours, its fonts, its dark mode."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

PALETTE = {
    "ink": "#1c2430", "muted": "#5b6675", "grid": "#dfe3e8", "paper": "#fefefe",
    "edge": "#2f6db5", "link": "#e08a1e", "cloud": "#8a63b8",
    "score": "#0f7b6c", "ssim": "#b8336a", "quick": "#3f8fc4", "linear": "#8b7d3a",
    "zone": "#bfe5d8", "published": "#9aa5b1", "chosen": "#0b3d91", "limit": "#b3261e",
}  # fmt: skip
"""Role -> colour on light paper. Each is unique, so that the page can swap it for its own `var(--role)`."""

_STYLE = {
    "svg.fonttype": "none",  # real text: searchable, small, drawn in the page's font
    "svg.hashsalt": "partition-advisor",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": PALETTE["muted"],
    "axes.labelcolor": PALETTE["ink"],
    "axes.titlesize": 10.5,
    "axes.titlecolor": PALETTE["ink"],
    "axes.titlelocation": "left",
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.color": PALETTE["grid"],
    "text.color": PALETTE["ink"],
    "text.parse_math": False,  # a model's names may hold dollar signs
    "xtick.color": PALETTE["muted"],
    "ytick.color": PALETTE["muted"],
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
}

_ROLES = {colour: role for role, colour in PALETTE.items()}
_COLOUR = re.compile("#[0-9a-f]{6}")
_LONG = re.compile(r"-?\d+\.\d{3,}")
_REFERENCE = re.compile(r"#([\w-]+)")
_REFERRING = ("href", "clip-path")


def draw(build: Callable[[Figure], None], size: tuple[float, float], name: str, title: str, description: str) -> str:
    """Let `build` fill a figure of `size` inches and return it as one `<svg>` element whose ids start with `name`.

    The same figure gives the same bytes, and the user's matplotlib settings neither matter nor change.
    `title` and `description` are what a screen reader says.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        build(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _embed(buffer.getvalue(), name, title, description)


def legend(axes: Axes) -> None:
    """A legend beside the axes, where it hides no data."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5, labelspacing=0.7, handlelength=1.6)


def _embed(document: str, name: str, title: str, description: str) -> str:
    root = ElementTree.fromstring(document)
    _drop(root, {"metadata", "style"})  # a style sheet would leak into the page
    for element in root.iter():
        _plain_names(element)
        for key, value in element.attrib.items():
            element.set(key, _COLOUR.sub(_themed, value) if key == "style" else _LONG.sub(_rounded, value))
    _rename(root, name)
    for gone in ("width", "height"):
        root.attrib.pop(gone, None)
    root.set("role", "img")
    root.set("aria-label", f"{title}. {description}")
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _rename(root: ElementTree.Element, name: str) -> None:
    """Number the ids that are referred to and drop the others: ids must not clash with those of other figures."""
    order = dict.fromkeys(
        found for e in root.iter() for key in _REFERRING for found in _REFERENCE.findall(e.get(key, ""))
    )
    names = {old: f"{name}-{position}" for position, old in enumerate(order)}
    for element in root.iter():
        old = element.attrib.pop("id", None)
        if old in names:
            element.set("id", names[old])
        for key in _REFERRING:
            if key in element.attrib:
                element.set(key, _REFERENCE.sub(lambda match: f"#{names[match.group(1)]}", element.attrib[key]))


def _drop(element: ElementTree.Element, tags: set[str]) -> None:
    for child in list(element):
        if _local(child.tag) in tags:
            element.remove(child)
        else:
            _drop(child, tags)


def _plain_names(element: ElementTree.Element) -> None:
    element.tag = _local(element.tag)
    for key in list(element.attrib):
        if key.startswith("{"):
            element.set(_local(key), element.attrib.pop(key))


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _rounded(match: re.Match[str]) -> str:
    """Two decimals of a point: the layout's solver is not repeatable in the last bits."""
    return f"{float(match.group()):.2f}"


def _themed(match: re.Match[str]) -> str:
    role = _ROLES.get(match.group())
    return f"var(--{role})" if role else match.group()
