"""Label leakage to an attacker who knows a few labels (as PMC: Fu et al., USENIX Security 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advisor.cut_view import ColumnSpec, CutView, Need
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.class_radius import label_words
from advisor.estimators.statistics.spread import proportion
from advisor.measures.gram_matrices import roles, sample_gram, squared_distances

FEW = 4
"""Labels a class that the attacker has: 40 for ten classes, as in the paper."""

NEIGHBOURS = 10
SPREAD = 0.9
"""Share of a sample's belief that comes from its neighbours."""


def spread_labels(affinity: Tensor, beliefs: Tensor, alpha: float = SPREAD) -> Tensor:
    """(1 - α) (I - α D^(-1/2) W D^(-1/2))⁻¹ Y: label spreading in closed form (Zhou et al. 2004, section 2).

    Args:
        affinity: `[n, n]` symmetric, non-negative, zero diagonal; a sample without neighbours keeps its own belief.
        beliefs: `[n, C]` one-hot rows for known labels, zero rows for the rest.
        alpha: between 0 and 1.
    """
    root = affinity.sum(1).clamp_min(1e-300).rsqrt()
    smooth = root[:, None] * affinity * root
    system = torch.eye(len(affinity), dtype=affinity.dtype) - alpha * smooth
    found: Tensor = (1 - alpha) * torch.linalg.solve(system, beliefs)
    return found


def neighbour_graph(gram: Tensor, count: int) -> Tensor:
    """`[n, n]` symmetric affinity of each sample's nearest others, 1 where either counts the other, by distance."""
    apart = squared_distances(gram).fill_diagonal_(torch.inf)
    nearest = apart.topk(min(count, len(gram) - 1), largest=False).indices
    chosen = torch.zeros_like(gram).scatter_(1, nearest, 1.0)
    return torch.maximum(chosen, chosen.T)


def few_of_each(labels: Tensor, candidates: Tensor, seed: int) -> Tensor:
    """Positions of at most `FEW` candidates a class, drawn at random."""
    order = candidates[torch.randperm(len(candidates), generator=torch.Generator().manual_seed(seed))]
    chosen = [order[labels[order] == c][:FEW] for c in torch.unique(labels[candidates])]
    return torch.cat(chosen)


@dataclass(frozen=True)
class FewLabels:
    """Held-out accuracy of label spreading from a few labels a class; lower is more private.

    The published attack fine-tunes the edge half and a head with MixMatch; this one leaves the features as they cross,
    so it is a lower limit of that attack, in milliseconds. Beside `label_leak`, whose attacker knows all labels of the
    training samples.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    columns: ClassVar[tuple[ColumnSpec, ...]] = (
        ColumnSpec(
            "label_leak_few", "1", "low", "measured",
            f"held-out accuracy of label spreading from {FEW} labels a class and unlabelled samples",
        ),
    )  # fmt: skip

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Attack one cut.

        Raises:
            NotMeasurableError: too few samples, or one class only.
        """
        train, test = roles(view.targets)
        labels = view.targets.labels
        known = few_of_each(labels, train, view.seed)
        classes, member = torch.unique(labels[known], return_inverse=True)
        if len(classes) < 2:
            raise NotMeasurableError("the samples to learn from are all of one class: there is no label to tell apart")
        beliefs = torch.zeros(len(labels), len(classes), dtype=torch.float64)
        beliefs[known, member] = 1.0
        found = spread_labels(neighbour_graph(sample_gram(view), NEIGHBOURS), beliefs)
        hits = classes[found[test].argmax(1)] == labels[test]
        words = f"label spreading from {len(known)} labels, {len(train) - len(known)} samples without; "
        return {"label_leak_few": proportion(hits, words + label_words(view.targets))}
