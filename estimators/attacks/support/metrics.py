"""How well an attack did: error, likeness, re-identification, accuracy; each with its interval over the samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from advisor.attack_versions import FIRST
from advisor.batches import first_scores
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.attacks.base import Recovered, ThreatModel
from advisor.estimators.attacks.support.floors import Floor, fixed, none
from advisor.estimators.statistics.ratios import ratio_of_means
from advisor.estimators.statistics.spread import proportion
from advisor.graph import PartitionGraph
from advisor.measures.images import GAUSSIAN_WINDOW, mse, psnr, ssim
from advisor.measures.perceptual import lpips
from advisor.value_range import ValueRange

SCORES = ("nmse", "mse", "ssim", "psnr", "lpips", "reidentified", "top1", "top5")


def _missing(reason: str) -> Estimate:
    return Estimate(math.nan, method=reason)


@dataclass(frozen=True, eq=False)
class AttackResult:
    """What an attack recovered.

    Attributes:
        nmse: squared error over that of predicting the attacker's mean; 0 is a perfect attack, 1 learnt nothing.
        mse: squared error per element, in squared input units.
        ssim: structural similarity, NaN where inputs are no images of at least 7×7 pixels.
        psnr: dB, over the range of the originals' values: 1 for inputs in [0, 1].
        reconstructions: `[N, ...]`, in the order of the attacked samples; `[N, classes]` scores or `[N, positions, k]`
            ids where these were after.
        originals: `[N, ...]`, what they should have been, at the reconstructed size.
        lpips: perceptual distance, 0 is the same picture; NaN where no network for it is at hand.
        reidentified: share of reconstructions that the model classifies as it does the original.
        top1, top5: share of labels or ids guessed right at once, or among five.
        name: of the attack.
        threat: what the attacker knows, has and may do.
        version: of the attack; a higher one attacks harder.
        budget: how hard it tried.
        repeats: transmissions of each input that it saw and averaged.
        rows: which of the given private samples were attacked.
        notes: what should be said beside the numbers.
        evidence: other numbers of the attack by name.
        members: of an attack that is the worst of several, the NMSE of each; NaN with its reason where it failed.
        which: the one of them that this result is of.
        source: what finds the floor, when it is asked for.
    """

    nmse: Estimate
    mse: Estimate
    ssim: Estimate
    psnr: Estimate
    reconstructions: Tensor
    originals: Tensor
    lpips: Estimate = field(default_factory=lambda: _missing("not measured"))
    reidentified: Estimate = field(default_factory=lambda: _missing("not measured"))
    top1: Estimate = field(default_factory=lambda: _missing("this attack reconstructs inputs"))
    top5: Estimate = field(default_factory=lambda: _missing("this attack reconstructs inputs"))
    name: str = "ka"
    threat: ThreatModel | None = None
    version: int = FIRST
    budget: str = "quick"
    repeats: int = 1
    rows: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    notes: tuple[str, ...] = ()
    evidence: dict[str, float] = field(default_factory=dict)
    members: dict[str, Estimate] = field(default_factory=dict)
    which: str = ""
    source: Floor = field(default_factory=lambda: fixed(none("it was not asked for")), repr=False)

    @property
    def floor(self) -> Estimate:
        """NMSE of the same attacker who has only the model's output; NaN with its reason for labels and ids.

        Found when first asked for, which takes an attack: `ka` of the same effort, seed and samples, on the output as
        it is computed from what is received.
        """
        return self.source.value

    @property
    def at_floor(self) -> bool:
        """Whether the payload gives no more away than the output: `nmse` is not below the floor's 90 % interval."""
        return self.nmse.value >= (self.floor.value if math.isnan(self.floor.low) else self.floor.low)

    @property
    def reported(self) -> Estimate:
        """The lesser of `nmse` and the floor: what counts, for a number above the floor is a failed attack."""
        return self.floor if self.floor.value < self.nmse.value else self.nmse

    @property
    def scores(self) -> dict[str, Estimate]:
        """All scores by name; those that this attack does not have are NaN and say why."""
        return {name: getattr(self, name) for name in SCORES}

    def ranked(self) -> tuple[int, int, int]:
        """Positions of the best, the median and the worst reconstruction by squared error."""
        order = mse(self.reconstructions, self.originals).argsort()
        return int(order[0]), int(order[len(order) // 2]), int(order[-1])


def score_inputs(found: Recovered, original: Tensor, mean: Tensor, images: bool) -> AttackResult:
    """Score reconstructions against the originals `[N, ...]`.

    Args:
        found: what the attack got back.
        original: what it should have been.
        mean: the attacker's mean, `[...]`: what NMSE divides by.
        images: whether they are images; these are clipped to the range of the originals first, unless the attack
            forbids it.

    Raises:
        NotMeasurableError: where a reconstruction is not finite: a failed attack says nothing about privacy.
    """
    back = found.inputs
    assert back is not None
    if back.shape != original.shape or not torch.isfinite(back).all():
        raise NotMeasurableError("the attack diverged: this says nothing about privacy")
    values = ValueRange.of(original)
    shown = values.clip(back) if images else back
    back = shown if found.clip else back
    squared = mse(back, original)
    similar, apart = (_missing("the inputs are no images of at least 7×7 pixels") for _ in range(2))
    evidence = dict(found.evidence)
    if images:
        apart = lpips(values.to_unit(shown), values.to_unit(original))
        if min(original.shape[-2:]) >= 7:
            similar = Estimate.of_mean(ssim(shown, original).numpy(), "1", "7×7 uniform window").within(-1.0, 1.0)
        if min(original.shape[-2:]) >= GAUSSIAN_WINDOW:
            evidence["ssim_gaussian"] = float(ssim(shown, original, gaussian=True).mean())
    return AttackResult(
        nmse=ratio_of_means(squared, mse(mean.expand_as(original), original)).within(0.0),
        mse=Estimate.of_mean(squared.numpy(), "x²", "per element, held-out samples").within(0.0),
        ssim=similar,
        psnr=Estimate.of_mean(psnr(back, original).numpy(), "dB", f"data range {values.width:g}"),
        reconstructions=back,
        originals=original,
        lpips=apart,
        notes=found.notes,
        evidence=evidence,
    )


def reidentification(graph: PartitionGraph, private: tuple[Tensor, ...], back: Tensor) -> Estimate:
    """Share of reconstructions that the model gives the class it gives the original; pictures are enlarged to fit."""
    if len(private) != 1:
        return _missing("the model takes several inputs")
    whole = back.to(private[0].dtype)
    if whole.dim() == 4 and whole.shape != private[0].shape:
        whole = F.interpolate(whole, size=private[0].shape[-2:], mode="bilinear", align_corners=False)
    truth, guess = first_scores(graph, private), first_scores(graph, (whole.reshape(private[0].shape),))
    if truth is None or guess is None or truth.dim() != 2 or truth.shape[1] < 2:
        return _missing("the model's output is no vector of class scores")
    return proportion(truth.argmax(1) == guess.argmax(1), "reconstructions that the model classifies as the original")


def score_labels(found: Recovered, labels: Tensor) -> AttackResult:
    """Score guesses `[N, classes]` of the labels `[N]`.

    Raises:
        NotMeasurableError: where a guess is not finite.
    """
    guesses = found.labels
    assert guesses is not None
    if not torch.isfinite(guesses).all():
        raise NotMeasurableError("the attack diverged: this says nothing about privacy")
    ranked = guesses.argsort(dim=1, descending=True, stable=True)
    commonest = float((labels == labels.mode().values).double().mean())
    top5 = _missing("there are no more than five classes")
    if guesses.shape[1] > 5:
        top5 = proportion((ranked[:, :5] == labels[:, None]).any(1), "labels among the five best guesses")
    right = proportion(ranked[:, 0] == labels, f"labels guessed; the commonest class alone: {commonest:.2f}")
    return _guessed(found, guesses, labels, right, top5, "this attack recovers labels")


def score_ids(found: Recovered, ids: Tensor) -> AttackResult:
    """Score guesses `[N, positions, k]` of the ids `[N, positions]`, by the share of right positions."""
    guesses = found.ids
    assert guesses is not None
    hits = guesses == ids[..., None]
    counts = torch.unique(ids, return_counts=True)[1].sort(descending=True).values

    def share(k: int) -> Estimate:
        """Of right positions with k guesses, beside what the k commonest ids would reach everywhere."""
        commonest = float(counts[:k].sum() / ids.numel())
        method = f"ids recovered, mean over positions, {k} guesses; the {k} commonest alone: {commonest:.3f}"
        return Estimate.of_mean(hits[..., :k].any(-1).double().mean(1).numpy(), "1", method).within(0.0, 1.0)

    top1, top5 = share(1), share(5)
    return _guessed(found, guesses, ids, top1, top5, "this attack recovers ids")


def _guessed(
    found: Recovered, guesses: Tensor, truth: Tensor, top1: Estimate, top5: Estimate, why: str
) -> AttackResult:
    missing = _missing(why)
    return AttackResult(
        missing, missing, missing, missing, guesses, truth, missing, missing, top1, top5,
        notes=found.notes, evidence=found.evidence,
    )  # fmt: skip
