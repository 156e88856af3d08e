"""Reconstructions as PNG data URIs, for the report."""

from __future__ import annotations

import base64
import io

from torch import Tensor

from advisor.advice import Gallery
from advisor.cuts import Cut
from advisor.defenses import Defense
from advisor.estimators.attacks.support.metrics import AttackResult
from advisor.estimators.study.leakage_study import LeakageStudy
from advisor.plans import Evidence, Picture
from advisor.value_range import ValueRange

SHOWN = 6
MOST_CUTS = 40


def gallery(study: LeakageStudy, budget: str) -> Gallery:
    """Held-out originals beside what the quick attack recovered at each cut; empty where inputs are no images."""
    targets, cuts = study.targets, study.profile.cuts
    if not targets.images or not study.reconstructions:
        return Gallery(note="The inputs are no images, so there is nothing to show.")
    shown = [cut for cut in cuts if cut.name in study.reconstructions]
    if len(shown) > MOST_CUTS:
        shown = [cut for cut in shown if cut.block or cut.index in (0, len(cuts) - 1)]
    note = f"{budget} attack, held-out samples the attacker did not see; {targets.note}"
    return Gallery(
        tuple(data_uri(x, targets.range) for x in targets.pixels[targets.test][:SHOWN]),
        {c.name: tuple(data_uri(x, targets.range) for x in study.reconstructions[c.name][:SHOWN]) for c in shown},
        note,
    )


def evidence_of(
    found: AttackResult, cut: Cut, defense: Defense, pictures: bool = False, floor: bool = False
) -> Evidence:
    """An attack's result for the report.

    Args:
        found: what it found.
        cut, defense: what was attacked.
        pictures: whether to keep its best, median and worst picture beside the private inputs, where there are any.
        floor: whether to find the floor too, which may take another attack; that of several attacks is known.
    """
    least = found.floor if floor or found.members else None
    notes = found.notes
    if least is not None and least.value < found.nmse.value:
        notes = (*notes, f"the model's output alone is read to {least:.3f}: that counts, more is a failed attack")
    shown: tuple[Picture, ...] = ()
    if pictures and found.reconstructions.dim() == 4 and found.reconstructions.shape[1] in (1, 3, 4):
        names = ("best", "median", "worst")
        shown = tuple(_picture(found, name, i) for name, i in zip(names, found.ranked(), strict=True))
    return Evidence(
        attack=found.name, threat=str(found.threat or ""), budget=found.budget, cut=cut.name, defense=str(defense),
        scores=found.scores, samples=len(found.originals), repeats=found.repeats, notes=notes, pictures=shown,
        version=found.version, floor=least, members=found.members,
    )  # fmt: skip


def _picture(found: AttackResult, which: str, i: int) -> Picture:
    original, back = found.originals[i], found.reconstructions[i]
    error, values = float((original - back).square().mean()), ValueRange.of(found.originals)
    return Picture(which, data_uri(original, values), data_uri(back, values), f"squared error {error:.2g} per element")


def data_uri(image: Tensor, values: ValueRange) -> str:
    """An image `[c, h, w]` of values in that range, 1, 3 or 4 channels, as a PNG data URI."""
    from PIL import Image

    pixels = (values.to_unit(image.detach()).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
