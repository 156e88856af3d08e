"""Tables, targets and the picture of the harness, from its kept rows; needs the extra `benchmarks`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from torch import nn

from benchmarks.defenses.measuring import Screened, Worst
from benchmarks.defenses.protocol import CUTS, VERSION

matplotlib.use("Agg")
from matplotlib import pyplot as plt

TARGETS = {"stage1.2.relu#2": (5.0, 0.35), "stage2.2.relu#2": (3.0, 0.50), "stage3.0.relu#2": (2.0, 0.60)}
"""Of `ridge` by the worst set: points of drop at most, NMSE at least."""
THUMBNAIL = 0.34
"""NMSE of a 4×4 thumbnail of CIFAR-10."""
HEAD = "| cut | method | σ | drop, pp | vs. tuned | NMSE quick | NMSE worst | by | SSIM | floor | edge MACs | bytes |"
Key = tuple[str, str, float]


def model() -> nn.Module:
    """The ResNet-20."""
    from common import resnet20

    return resnet20()


def written(screen: Sequence[Screened], worst: Sequence[Worst], folder: Path) -> str:
    """Write `results.md` and `results.png`; returns the text."""
    screen, worst = [s for s in screen if s.protocol == VERSION], [w for w in worst if w.protocol == VERSION]
    lines = [f"Protocol {VERSION}. {len(screen)} rows screened, {len(worst)} attacked by the worst set.", ""]
    lines += [*heads(screen), "", HEAD, "|---|---|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|"]
    lines += [line for cut in CUTS for line in _rows(cut, screen, worst)]
    lines += ["", *(target(cut, screen, worst) for cut in TARGETS)]
    text = "\n".join(lines) + "\n"
    (folder / "results.md").write_text(text, encoding="utf-8")
    picture(screen, folder / "results.png")
    return text


def heads(screen: Sequence[Screened]) -> list[str]:
    """At which cuts a split beats the local head of the same edge work, and by how much."""
    said = []
    for cut in CUTS:
        own = [s for s in screen if s.cut == cut and s.method == "local-head"]
        others = [s for s in screen if s.cut == cut and s.method != "local-head" and s.nmse >= THUMBNAIL]
        if own and others:
            best = min(others, key=lambda s: s.drop)
            head = statistics.mean(s.drop for s in own)
            verb = "beats" if best.drop < head else "loses to"
            said.append(
                f"- {cut}: the best split that hides more than a 4×4 thumbnail does ({best.method}, σ {best.level:g}; "
                f"NMSE of at least {THUMBNAIL} by the quick attack) {verb} the local head by "
                f"{abs(head - best.drop):.1f} pp (drops {best.drop:.1f} and {head:.1f} pp)."
            )
    return said


def _rows(cut: str, screen: Sequence[Screened], worst: Sequence[Worst]) -> list[str]:
    attacked = {(w.cut, w.method, w.level, w.seed): w for w in worst}
    tuned = [s.drop for s in screen if s.method == "tuned-bare" and s.cut == cut]
    lines = []
    for s in sorted((s for s in screen if s.cut == cut), key=lambda s: (s.method, s.level)):
        w = attacked.get((s.cut, s.method, s.level, s.seed))
        against = f"{s.drop - tuned[0]:.1f}" if tuned else ""
        hardest = [f"{w.nmse:.3f} ± {w.nmse_se:.3f}", w.by, f"{w.ssim:.2f}", f"{w.floor:.2f}"] if w else [""] * 4
        lines.append(
            f"| {s.cut} | {s.method} | {s.level:g} | {s.drop:.1f} ± {s.drop_se:.1f} | {against} "
            f"| {s.nmse:.3f} ± {s.nmse_se:.3f} | {' | '.join(hardest)} | {s.edge_macs:,.0f} | {s.bytes:,.0f} |"
        )
    return lines


def target(cut: str, screen: Sequence[Screened], worst: Sequence[Worst]) -> str:
    """Whether `ridge` reached what was wanted at a cut: its highest NMSE among the rows within the drop."""
    most, least = TARGETS[cut]
    drops = {(s.method, s.level, s.seed): s.drop for s in screen if s.cut == cut}
    own = [
        w for w in worst if w.cut == cut and w.method.startswith("ridge") and drops[w.method, w.level, w.seed] <= most
    ]
    wanted = f"{cut}: wanted a drop ≤ {most:g} pp with NMSE ≥ {least:g}"
    if not own:
        return f"- {wanted}; no row of `ridge` within the drop was attacked."
    best = max(own, key=lambda w: w.nmse)
    drop = drops[best.method, best.level, best.seed]
    return f"- {wanted}; reached {best.nmse:.3f} at {drop:.1f} pp (σ {best.level:g}, by {best.by})."


def picture(screen: Sequence[Screened], path: Path) -> None:
    """Accuracy lost against the error of the quick attack, a panel a cut, a line a method."""
    figure, panels = plt.subplots(1, len(CUTS), figsize=(4 * len(CUTS), 4), sharey=True)
    for cut, panel in zip(CUTS, panels, strict=True):
        methods = list(dict.fromkeys(s.method for s in screen if s.cut == cut))
        for method in methods:
            own = sorted((s for s in screen if s.cut == cut and s.method == method), key=lambda s: s.level)
            panel.plot([s.drop for s in own], [s.nmse for s in own], "o-", label=method, markersize=4)
        panel.set(title=cut, xlabel="accuracy drop, percentage points", ylim=(0, 1))
    panels[0].set_ylabel("NMSE of the quick attack (higher is more private)")
    shown = {label: line for panel in panels for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    panels[-1].legend(shown.values(), shown.keys(), fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)
