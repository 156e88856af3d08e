"""Attacks on one cut, trained on what is really sent, the defense included. Attacks verify; they do not guess."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from advisor.batches import carried
from advisor.cuts import Cut
from advisor.defenses import Defense, NoDefense
from advisor.errors import AdvisorError, DataError
from advisor.estimate import Estimate
from advisor.estimators.alignment import BUDGETS, Inversion, invert
from advisor.estimators.study import pixels_of
from advisor.graph import PartitionGraph
from advisor.samples import split_holdout
from advisor.sweep import NotMeasurableError, Targets

ATTACKS: dict[str, Callable[..., Inversion]] = {"ka": invert}
"""The attacks by name. One more is one more file and one more entry."""


@dataclass(frozen=True, eq=False)
class AttackResult:
    """What an attack recovered.

    Attributes:
        nmse: squared error over that of predicting the attacker's mean; 0 is a perfect attack, 1 learnt nothing.
        mse: squared error per element, in squared input units.
        ssim: structural similarity, NaN where inputs are no images of at least 7×7 pixels.
        psnr: dB, data range 1.
        reconstructions: `[N, ...]`, in the order of the attacked samples.
        originals: `[N, ...]`, what they should have been, at the reconstructed size.
    """

    nmse: Estimate
    mse: Estimate
    ssim: Estimate
    psnr: Estimate
    reconstructions: Tensor
    originals: Tensor


def attack(
    graph: PartitionGraph,
    cut: Cut | int | str,
    x: Any,
    aux: Any = None,
    *,
    name: str = "ka",
    defense: Defense | None = None,
    budget: str = "quick",
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> AttackResult:
    """Attack one cut.

    Threat model of `ka`: black-box access to the edge half, and auxiliary samples like the private ones.

    Args:
        graph: the traced model.
        cut: a cut, its index or its name.
        x: private samples to reconstruct, `[N, ...]` or a tuple or dict of such.
        aux: samples the attacker learns from; None: it learns from a random three quarters of `x`, attacks the rest.
        name: which attack.
        defense: what happens to the tensor before it leaves; the attacker trains on what is really sent.
        budget: "quick" or "strong".
        seed: same seed, same answer.
        progress: called with the fraction done.

    Raises:
        AdvisorError: on an unknown attack or budget, or an attack that failed (which is never called private).
        DataError: when samples do not fit the model.
    """
    if name not in ATTACKS or budget not in BUDGETS:
        known = f"attacks {', '.join(ATTACKS)}; budgets {', '.join(BUDGETS)}"
        raise AdvisorError(f"There is no attack {name!r} with budget {budget!r}.", f"Known: {known}.")
    chosen = graph.cut(cut)
    private = graph.flat(x)
    if aux is None:
        learnt, scored = split_holdout(len(private[0]), seed)
        everything = private
    else:
        learning = graph.flat(aux)
        everything = tuple(torch.cat([a, b]) for a, b in zip(learning, private, strict=True))
        learnt, scored = torch.arange(len(learning[0])), torch.arange(len(learning[0]), len(everything[0]))
    if not any(t.dtype.is_floating_point for t in everything):
        raise DataError("The inputs are discrete: there are no pixels to reconstruct.", "Attack a model of numbers.")
    pixels, images, note = pixels_of(everything)
    unlabelled = torch.zeros(len(pixels), dtype=torch.long)
    targets = Targets(pixels, images, unlabelled, False, learnt, scored, 1, note)
    sent = defended(carried(graph, everything, 0, chosen.index), defense or NoDefense(), seed)
    try:
        found = ATTACKS[name](sent, targets, BUDGETS[budget], seed, tick=progress)
    except NotMeasurableError as error:
        raise AdvisorError(
            f"The attack failed: {error}.", "This says nothing about privacy; pass other samples."
        ) from None
    return _result(found, targets)


def defended(sent: tuple[Tensor, ...], defense: Defense, seed: int) -> tuple[Tensor, ...]:
    """What the cloud receives, each `[n, ...]` in its own dtype: defended, sent and restored."""
    generator = torch.Generator().manual_seed(seed)
    return defense.receive(defense.send(sent, generator), [z.dtype for z in sent])


def _result(found: Inversion, targets: Targets) -> AttackResult:
    missing = Estimate(float("nan"), method="the inputs are no images of at least 7×7 pixels")
    return AttackResult(
        nmse=found.nmse,
        mse=Estimate.of_mean(found.mse.numpy(), "x²", "inversion network, held-out samples"),
        ssim=missing if found.ssim is None else Estimate.of_mean(found.ssim.numpy(), "1", "7×7 uniform window"),
        psnr=Estimate.of_mean(found.psnr.numpy(), "dB", "data range 1"),
        reconstructions=found.reconstructions,
        originals=targets.pixels[targets.test],
    )
